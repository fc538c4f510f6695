"""The command line: every command, in the order in which --help lists them."""

from __future__ import annotations

import gc
import inspect
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from archiver import __version__
from archiver.commands import (
    backfill,
    control,
    demo,
    deploy,
    init,
    ledger,
    listing,
    manual,
    page,
    queue,
    rebuild,
    retrieval,
    run,
    settings,
    tasks,
    trimming,
    verify,
)
from archiver.commands.invocation import Call, Exit, Level, colorless, unforeseen
from archiver.commands.shape import Command, CommandLine, Group
from archiver.commands.streams import Streams

_HELP = (
    "Archives the stems an AI music provider made for you into S3 before they expire.\n\n"
    "Exit codes: 0 all done; 1 some task ended or stands without its audio archived, or, from health, the daemon is "
    "not alive; 2 usage or settings, or no ledger; 3 a paused dependency (bad key, no bucket) or a failing ledger "
    "stopped the work; 130 or 143 after a signal in backfill (0 for run)."
)


app = typer.Typer(
    name="stem-archiver",
    help=_HELP,
    cls=CommandLine,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

_COMMANDS: Mapping[str, Mapping[str, Callable[..., None]]] = {
    "Start here": {
        "demo": demo.demo,
        "init": init.init,
        "check": control.check,
        "man": manual.man,
    },
    "Archive": {
        "run": run.run,
        "worker": run.worker,
        "backfill": backfill.backfill,
        "enqueue": tasks.enqueue,
    },
    "Look": {
        "status": listing.status,
        "list": listing.list_tasks,
        "show": listing.show,
        "health": control.health,
    },
    "Decide": {
        "retry": tasks.retry,
        "ack": tasks.ack,
        "pause": control.pause,
        "resume": control.resume,
    },
    "Audio back": {
        "get": retrieval.get,
        "restore": retrieval.restore,
        "link": retrieval.link,
    },
    "Care": {
        "verify": verify.verify,
        "rebuild": rebuild.rebuild,
    },
}
"""The commands by group, in the order in which --help shows them."""

_GROUPS: Mapping[tuple[str, str, str], Mapping[str, Callable[..., None]]] = {
    ("Start here", "config", "Look at the settings: those in effect, and those there are."): {
        "show": settings.show,
        "validate": settings.validate,
        "example": deploy.example,
    },
    ("Start here", "deploy", "Print what runs the service for good."): {
        "show": deploy.show,
        "list": deploy.list_files,
    },
    ("Look", "page", ""): {
        "export": page.export,
    },
    ("Care", "ledger", "Look after the ledger as a whole."): {
        "migrate": ledger.migrate,
        "backup": ledger.backup,
        "restore": ledger.restore,
        "copy": ledger.copy,
        "trim": trimming.trim,
    },
    ("Care", "queue", "Look after the queue file."): {
        "rotate": queue.rotate,
    },
}
"""The commands of two words: by panel, first word and what its help says."""

_ALONE: Mapping[str, Callable[..., None]] = {"page": page.page}
"""The first words that are commands, too; their help is the command's."""

for panel, commands in _COMMANDS.items():
    for name, function in commands.items():
        app.command(name, cls=Command, rich_help_panel=panel)(function)
for (panel, word, said), commands in _GROUPS.items():
    alone = _ALONE.get(word)
    group = typer.Typer(help=said or inspect.getdoc(alone), cls=Group, no_args_is_help=alone is None, callback=alone)
    group.info.invoke_without_command = alone is not None
    app.add_typer(group, name=word, rich_help_panel=panel)
    for name, function in commands.items():
        group.command(name, cls=Command)(function)


def main() -> None:
    """Run the command line.

    The garbage collector rests until `at_work`: looking again and again through the half million lasting
    objects that a start makes, and once more at the end, would be a quarter of a start's CPU.
    """
    gc.disable()
    streams = Streams.take_over()
    if "--no-color" in sys.argv:  # help is printed before options are read
        colorless()
    try:
        with unforeseen():
            app()
    except SystemExit as ended:
        fault = streams.fault()
        if streams.out is not None and streams.out.is_unread:
            raise SystemExit(Exit.SIGNAL + signal.SIGPIPE) from None
        if fault is None:
            raise
        typer.echo(f"stem-archiver: standard output cannot be written: {fault.strerror}", err=True)
        raise SystemExit(ended.code or Exit.USAGE) from None
    finally:
        gc.freeze()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stem-archiver {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="The settings file (TOML); or $ARCHIVER_CONFIG."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, and of the log errors alone.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log all there is: log.level debug.")] = False,
    log_level: Annotated[
        Level | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error; see log.level.")
    ] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print without colour; or $NO_COLOR.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold what every command takes."""
    del version
    context.obj = Call(config, quiet, verbose, log_level)
    if no_color:
        colorless()
