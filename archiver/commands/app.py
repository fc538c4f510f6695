"""The command line: every command, in the order in which --help lists them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from archiver import __version__
from archiver.commands import (
    backfill,
    control,
    demo,
    ledger,
    listing,
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
from archiver.commands.invocation import Exit, unforeseen
from archiver.commands.streams import Streams

_HELP = (
    "Archives the stems an AI music provider made for you into S3 before they expire.\n\n"
    "Exit codes: 0 all done; 1 some task ended or stands without its audio archived, or, from health, the daemon is "
    "not alive; 2 usage or settings, or no ledger; 3 a paused dependency (bad key, no bucket) or a failing ledger "
    "stopped the work; 130 or 143 after a signal in backfill (0 for run)."
)


def config_first(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with --config and its file first, wherever they stand."""
    first: list[str] = []
    rest: list[str] = []
    left = iter(words)
    for word in left:
        if word == "--":
            rest += [word, *left]
        elif word in {"--config", "-c"}:
            first += [word, *islice(left, 1)]
        elif word.startswith("--config="):
            first.append(word)
        else:
            rest.append(word)
    return first + rest


app = typer.Typer(
    name="stem-archiver",
    help=_HELP,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Look at the settings in effect.", no_args_is_help=True)
app.add_typer(config_app, name="config")
ledger_app = typer.Typer(help="Look after the ledger as a whole.", no_args_is_help=True)
app.add_typer(ledger_app, name="ledger")
queue_app = typer.Typer(help="Look after the queue file.", no_args_is_help=True)
app.add_typer(queue_app, name="queue")

for command in (
    run.run,
    run.worker,
    backfill.backfill,
    tasks.enqueue,
    listing.status,
    listing.show,
    tasks.retry,
    tasks.ack,
    retrieval.get,
    retrieval.restore,
    retrieval.link,
    rebuild.rebuild,
    verify.verify,
    page.page,
    control.pause,
    control.resume,
    control.health,
    control.check,
    demo.demo,
):
    app.command()(command)
app.command("list")(listing.list_tasks)
config_app.command("show")(settings.show)
config_app.command("validate")(settings.validate)
ledger_app.command("backup")(ledger.backup)
ledger_app.command("restore")(ledger.restore)
ledger_app.command("copy")(ledger.copy)
ledger_app.command("trim")(trimming.trim)
queue_app.command("rotate")(queue.rotate)


def main() -> None:
    """Run the command line.

    The garbage collector rests until `at_work`: looking again and again through the half million lasting
    objects that a start makes, and once more at the end, would be a quarter of a start's CPU.
    """
    gc.disable()
    streams = Streams.take_over()
    try:
        with unforeseen():
            app(config_first(sys.argv[1:]))
    except SystemExit as ended:
        if (fault := streams.fault()) is None:
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
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold the settings file for the command."""
    del version
    context.obj = config
