"""`run` and `worker`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from archiver.commands.invocation import FOR_WORK, at_work, faults, reading_again, settings_file, settings_of

if TYPE_CHECKING:
    from archiver.ports.runtime import EventLog
    from archiver.service.supervision import Hangup
    from archiver.settings import Settings


def run(context: typer.Context) -> None:
    """Run the daemon: take in the queue file, archive what is due, watch deadlines; until SIGTERM or SIGINT.

    A first signal drains (what fits into shutdown_grace), a second stops at once. SIGHUP reads the settings again.

    On a PostgreSQL ledger it takes ids in and defers jobs; `stem-archiver worker` does them. Several may run.

    Under systemd it tells how it fares, and feeds the watchdog while it makes progress.

    Exit codes: 0 after a signal; 2 settings; 3 the ledger failed, or has a daemon, or the
    store overwrites.

    Example: stem-archiver --config /etc/stem-archiver/archiver.toml run
    """
    _serve(context, "run")


def worker(context: typer.Context) -> None:
    """Work on the jobs that `run` defers on a PostgreSQL ledger; as many as you like, on any machine.

    Started and stopped at will: a first signal drains (what fits into shutdown_grace), a second stops at once.

    What a worker that was killed was at is taken up by the others within 15 seconds.

    Exit codes: 0 after a signal; 2 settings; 3 the ledger failed, or the store overwrites.

    Example: stem-archiver --config /etc/stem-archiver/archiver.toml worker
    """
    _serve(context, "worker")


def _serve(context: typer.Context, role: str) -> None:
    loaded = settings_of(context, *FOR_WORK)
    from archiver.app.adapters import alerts_of
    from archiver.app.assembly import Role
    from archiver.app.daemon import daemon
    from archiver.app.descriptors import raise_limit
    from archiver.logs import configure
    from archiver.service.alerts import ALERTS
    from archiver.service.shutdown import Shutdown
    from archiver.service.supervision import Hangup

    settings, alerts = loaded.settings, alerts_of(loaded.settings)
    notify = None if alerts is None else alerts.notify
    log = configure(settings.log.level, settings.log.format, secrets=settings.secrets(), notify=notify, alerted=ALERTS)
    raise_limit(log)
    shutdown, hangup = Shutdown(), Hangup()
    with (
        shutdown.on_signals(),
        hangup.on_signal(),
        faults(),
        daemon(settings, Role(role), log=log, alerts=alerts, asked=lambda: shutdown.asked) as process,
    ):
        at_work(lasts=True)
        with _page(settings, role, settings_file(context, loaded), log, hangup):
            process.run(shutdown, hangup, reading_again(context, loaded, *FOR_WORK))


def _page(
    settings: Settings, role: str, config: Path | None, log: EventLog, hangup: Hangup
) -> AbstractContextManager[None]:
    """Return what keeps the page at work beside `run`, where that is set."""
    if role != "run" or not settings.page.with_run:
        return nullcontext()
    from archiver.app.beside import page_beside

    return page_beside(config, log, hangup)
