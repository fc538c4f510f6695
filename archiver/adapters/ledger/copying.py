"""Copying of a whole ledger from one database into another, empty one, of whatever kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, exists, func, or_, select

from archiver.adapters.ledger.database.base import Database
from archiver.adapters.ledger.database.faults import translated
from archiver.adapters.ledger.every_row import OnCopied, compare, fill, lock, rows_of, take_time
from archiver.adapters.ledger.schema.standing import task_counts
from archiver.adapters.ledger.schema.tables import (
    metadata,
    owners,
    permits,
    processes,
    proofs,
    rates,
    tallies,
    tasks,
    writers,
)
from archiver.core.errors import LedgerFault
from archiver.ports.runtime import unobserved

TABLES = tuple(table for table in metadata.sorted_tables if table not in {writers, rates, permits, processes, proofs})
"""All that a ledger knows, what is referred to first. The others are of processes only, or found out anew."""
_COUNTED = (tallies, task_counts)
"""Those that are in an empty ledger, too."""


def copy(source: Database, target: Database, *, now: datetime, progress: OnCopied) -> Mapping[str, int]:
    """Copy every row, compare all of it, and commit; return the number of rows by table.

    The source, which nobody may be working on, is brought to the present schema and else left as it is. The target
    must be empty; it is written in one transaction. Raises LedgerFault, with nothing copied.
    """
    with translated(source.where):
        if not source.stands():
            raise LedgerFault(f"there is no ledger at {source.where}", "name the one to copy first, then the new one")
        source.prepare(unobserved)
    with translated(target.where):
        target.prepare(unobserved)
    both = f"{target.where} (copied from {source.where})"
    with translated(both), target.writing() as new, source.reading() as old:
        take_time(old)
        take_time(new)
        _refuse_busy(old, source.where, now)
        lock(new, [table.name for table in TABLES])
        _refuse_full(new, target.where)
        for counted in _COUNTED:
            new.execute(delete(counted))
        tables = {table.name: table for table in TABLES}
        counts = fill(new, tables, rows_of(old, tables), progress)
        compare(rows_of(old, tables), rows_of(new, tables), target.where)
    return counts


def _refuse_busy(old: Connection, where: str, now: datetime) -> None:
    working = or_(
        exists().where(owners.c.alive_until > now),
        exists().where(tasks.c.leased_until > now),
    )
    if not old.scalar(select(working)):
        return
    until = old.scalar(select(func.max(owners.c.alive_until))) or old.scalar(select(func.max(tasks.c.leased_until)))
    raise LedgerFault(
        f"the ledger {where} is being worked on",
        "stop `run` and `backfill` on every machine. What was killed counts as working "
        f"until {until:%Y-%m-%d %H:%M:%S} UTC, or until the service was started and stopped once more",
    )


def _refuse_full(new: Connection, where: str) -> None:
    filled = [table.name for table in TABLES if table not in _COUNTED and new.scalar(select(exists(table.select())))]
    if filled or new.scalar(select(exists().where(tallies.c.stems > 0))):
        raise LedgerFault(
            f"the ledger {where} is not empty ({', '.join(filled or ['tallies'])})",
            "copy into a new database; what is in this one was left as it is",
        )
