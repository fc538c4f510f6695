"""`page` and `page export`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.commands.invocation import Exit, at_work, fail, faults, heeding, reading_again, settings_of

if TYPE_CHECKING:
    from archiver.adapters.ledger import SqlLedger
    from archiver.service.shutdown import Shutdown
    from archiver.settings import Settings

_LOOKS_EVERY = 5.0
"""Seconds between two looks at the files of keys, credentials and certificates."""

BesideFlag = Annotated[bool, typer.Option("--beside", hidden=True, help="End when standard input does.")]


def page(context: typer.Context, beside: BesideFlag = False) -> None:
    """Serve a web page that shows the archive, on page.listen; until SIGTERM or SIGINT.

    It reads the ledger and the bucket, beside the running service or without. Needs the extra `page`.

    SIGHUP reads token, credentials and certificates again, unless at a terminal: there it ends the page.

    Prints a link that lets one browser in, once, for 12 hours: it is a secret. Elsewhere than on loopback the page
    needs a proxy with TLS before it, and page.token_file.

    Exit codes: 0 after a signal; 2 settings, no ledger, the extra is not installed, or the port is taken; 3 the ledger
    failed.

    Example: stem-archiver page
    """
    if context.invoked_subcommand is not None:
        return
    loaded = settings_of(context, "store.bucket")
    from archiver.app.rotation import FileWatch
    from archiver.logs import configure
    from archiver.service.shutdown import Shutdown
    from archiver.service.supervision import Hangup

    settings, shutdown, hangup = loaded.settings, Shutdown(), Hangup()
    files = FileWatch.of(settings)
    log = configure(settings.log.level, settings.log.format, secrets=settings.secrets())
    with shutdown.on_signals(), hangup.on_signal() if beside else heeding(hangup), faults():
        from archiver.app.page import rotation_of, serving

        with (
            _ledger(settings) as ledger,
            serving(settings, log, ledger=ledger, config=loaded.config) as served,
        ):
            at_work()
            if beside:
                _end_with_input(shutdown)
            typer.echo(f"the archive's page: {served.url}\nlets one browser in, once: {served.link}")
            rotate = rotation_of(settings, served, hangup, files, reading_again(context, loaded, "store.bucket"), log)
            while not shutdown.wait(_LOOKS_EVERY):
                rotate()


@contextmanager
def _ledger(settings: Settings) -> Iterator[SqlLedger]:
    """Open the ledger to read it while this lasts; end where there is none."""
    from archiver.app.ledger import open_for_reading
    from archiver.core.errors import LedgerAbsent

    try:
        ledger = open_for_reading(settings)
    except LedgerAbsent as absent:
        hint = f"run it as the service's user and with its settings (--config FILE); {absent.hint}"
        fail(str(absent), Exit.USAGE, hint)
    with closing(ledger):
        yield ledger


def export(
    context: typer.Context,
    into: Annotated[Path, typer.Argument(metavar="DIR", help="A directory that is empty, or not there yet.")],
    restored: Annotated[
        Path | None,
        typer.Option("--restored", metavar="DIR", help="Where restore writes, or wrote, the audio; by default DIR."),
    ] = None,
) -> None:
    """Write a copy of the page that needs no program, and no script: overview and the 10,000 newest tasks.

    It links to the files that `restore DIR` writes, before or after. Opened from a disk, each stem plays by itself;
    served by any web server that gives ranges of files, they play together. It holds no secret. DIR stands there only
    once the copy is whole.

    Exit codes: 0 written; 1 written, but the stems of some task could not be read; 2 settings, DIR is not empty, no
    ledger, or the extra `page` is not installed; 3 the ledger or the disk; 130, 143 signal.

    Example: stem-archiver page export /mnt/disk/stems; stem-archiver restore /mnt/disk/stems
    """
    loaded = settings_of(context, "store.bucket")
    from archiver.commands.format import counted
    from archiver.commands.halts import breaks, quiet_log
    from archiver.service.shutdown import Shutdown

    settings, shutdown = loaded.settings, Shutdown()
    with shutdown.on_signals(), faults(), breaks(shutdown):
        from archiver.app.page_copy import copy_page

        with _ledger(settings) as ledger:
            copied = copy_page(
                settings, quiet_log(settings), ledger, into, restored=restored, stopped=lambda: shutdown.asked
            )
    left_out = f"; {counted(copied.left_out, 'older one')} left out" if copied.left_out else ""
    typer.echo(f"{into / 'index.html'}: {counted(copied.tasks, 'task')}{left_out}")
    if copied.unread:
        fail(f"the stems of {counted(copied.unread, 'trimmed task')} could not be read", Exit.UNARCHIVED, _UNREAD)


_UNREAD = "their manifests could not be had from the bucket: remove the copy, and make it again once they can"


def _end_with_input(shutdown: Shutdown) -> None:
    """Ask to end once standard input does: who started us is gone then, however it ended."""

    def wait() -> None:
        sys.stdin.buffer.read()
        shutdown.ask()

    threading.Thread(target=wait, name="input", daemon=True).start()
