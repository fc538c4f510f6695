"""`page`."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from archiver.commands.invocation import Exit, at_work, fail, faults, settings_of

if TYPE_CHECKING:
    from archiver.service.shutdown import Shutdown


BesideFlag = Annotated[bool, typer.Option("--beside", hidden=True, help="End when standard input does.")]


def page(context: typer.Context, beside: BesideFlag = False) -> None:
    """Serve a web page that shows the archive, on page.listen; until SIGTERM or SIGINT.

    It reads the ledger and the bucket, beside the running service or without. Needs the extra `page`.

    Prints a link that lets one browser in, once, for 12 hours: it is a secret. Elsewhere than on loopback the page
    needs a proxy with TLS before it, and page.token_file.

    Exit codes: 0 after a signal; 2 settings, no ledger, the extra is not installed, or the port is taken; 3 the ledger
    failed.

    Example: stem-archiver page
    """
    loaded = settings_of(context, "store.bucket")
    from archiver.logs import configure
    from archiver.service.shutdown import Shutdown

    settings, shutdown = loaded.settings, Shutdown()
    log = configure(settings.log.level, settings.log.format, secrets=settings.secrets())
    with shutdown.on_signals(), faults():
        from archiver.app.page import open_for_reading, serving
        from archiver.core.errors import LedgerAbsent

        try:
            ledger = open_for_reading(settings)
        except LedgerAbsent as absent:
            fail(str(absent), Exit.USAGE, "run it as the service's user and with its settings (--config FILE)")
        try:
            with serving(settings, log, ledger=ledger, config=loaded.config) as served:
                at_work()
                if beside:
                    _end_with_input(shutdown)
                typer.echo(f"the archive's page: {served.url}\nlets one browser in, once: {served.link}")
                while not shutdown.wait(3600):
                    pass
        finally:
            ledger.close()


def _end_with_input(shutdown: Shutdown) -> None:
    """Ask to end once standard input does: who started us is gone then, however it ended."""

    def wait() -> None:
        sys.stdin.buffer.read()
        shutdown.ask()

    threading.Thread(target=wait, name="input", daemon=True).start()
