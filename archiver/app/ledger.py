"""The ledger, opened as the settings say: all that most commands need of the outside."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import timedelta

from archiver.adapters.ledger import SqlLedger, copy, database_of, probe, schema_of
from archiver.app.clock import utc_now
from archiver.app.extras import extra
from archiver.core.errors import LedgerFault
from archiver.core.plan import longest_wait
from archiver.core.reports import Finding
from archiver.core.room import LedgerRoom
from archiver.ports.runtime import PATIENCE, Checkpoint, EventLog, unobserved
from archiver.settings import Settings
from archiver.settings.rules import SQLITE

READERS = 2
"""Connections of one that only reads the ledger, at most."""

READ_WITHIN = timedelta(seconds=2)
"""The time that a statement of such a one may take, and its wait for a server."""


def open_ledger(
    settings: Settings,
    checkpoint: Checkpoint = unobserved,
    patience: timedelta = PATIENCE,
    log: EventLog | None = None,
    *,
    create: bool = True,
) -> SqlLedger:
    """Open the ledger and, where needed, migrate it; create it where there is none, or raise LedgerAbsent.

    Raises LedgerFault, or SettingsFault without its driver.
    """

    def notify(away: LedgerFault) -> None:
        if log is not None:
            log.warning("ledger.away", error=str(away), hint=away.hint)

    longest = longest_wait(settings.schedule.pending_max, settings.schedule.retry_max)
    with extra("ledger.url", "cluster"):
        return SqlLedger.open(
            settings.ledger.url,
            checkpoint=checkpoint,
            patience=patience,
            notify=notify,
            longest_wait=longest,
            create=create,
        )


def open_for_reading(settings: Settings) -> SqlLedger:
    """Open the ledger to read it; raise LedgerAbsent, LedgerFault, or SettingsFault without its driver."""
    longest = longest_wait(settings.schedule.pending_max, settings.schedule.retry_max)
    with extra("ledger.url", "cluster"):
        return SqlLedger.open_for_reading(
            settings.ledger.url, patience=READ_WITHIN, connections=READERS, longest_wait=longest
        )


def ledger_room(settings: Settings, ledger: SqlLedger) -> LedgerRoom | None:
    """Return the room that a ledger in a file has; None for one on a server. Raises LedgerFault, OSError."""
    file = settings.ledger_file()
    if file is None:
        return None
    beside = file.with_name(f"{file.name}-wal")
    size = file.stat().st_size + (beside.stat().st_size if beside.exists() else 0)
    disk = os.statvfs(file.parent)
    return LedgerRoom(size, disk.f_bavail * disk.f_frsize, ledger.trimming.reusable() or 0)


def on_server(settings: Settings) -> bool:
    """Return whether processes on other machines may be at work on the same ledger."""
    return not settings.ledger.url.startswith(SQLITE)


def probe_ledger(settings: Settings) -> Iterator[Finding]:
    """Look at the server that the ledger is on; raise SettingsFault without its driver."""
    with extra("ledger.url", "cluster"), closing(database_of(settings.ledger.url)) as database:
        yield from probe(database)


def migrate_ledger(settings: Settings) -> tuple[str | None, str | None]:
    """Make the ledger, or bring it up to date, its queue of jobs too; return the schema before and after.

    Raises LedgerFault, with all as it was, or SettingsFault without its driver.
    """
    with extra("ledger.url", "cluster"), closing(database_of(settings.ledger.url)) as database:
        before = schema_of(database)
        open_ledger(settings).close()
        return before, schema_of(database)


def copy_ledger(source: str, target: str, progress: Callable[[str, int], None]) -> Mapping[str, int]:
    """Copy the ledger at one URL into the empty one at another; return the number of rows by table.

    Raises LedgerFault, with nothing copied, or SettingsFault without the driver.
    """
    with extra("a PostgreSQL ledger", "cluster"):
        old, new = database_of(source), database_of(target)
    try:
        return copy(old, new, now=utc_now(), progress=progress)
    finally:
        new.close()
        old.close()
