"""Processes: who works on the ledger, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, exists, func, or_, select, update

from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.database.transactions import LedgerPart
from archiver.adapters.ledger.schema.tables import owners, processes
from archiver.core.reports import Process

REMEMBERED = timedelta(days=7)
"""The time for which a process that ended or died is remembered."""


_GONE = or_(processes.c.ended_at.is_not(None), ~exists().where(owners.c.owner == processes.c.owner))
"""Those that ended, or died and were struck off the record."""


class SqlProcesses(LedgerPart):
    """The Processes of `ports.ledger` in a SQL database. A power cut may undo what it writes: all processes end too."""

    def begin(self, owner: str, *, role: str, place: str, pid: int, now: datetime) -> None:
        """See Processes."""
        fresh = {"role": role, "place": place, "pid": pid, "since": now, "seen_at": now, "doing": "", "fault": ""}
        with self._db.write(passing=True) as db:
            db.execute(delete(processes).where(processes.c.seen_at < now - REMEMBERED))
            db.execute(insert(db, processes).values(owner=owner, **fresh).on_conflict_do_nothing())

    def note(self, owner: str, *, doing: str, looked_at: datetime | None, fault: str, now: datetime) -> None:
        """See Processes."""
        its = update(processes).where(processes.c.owner == owner)
        with self._db.write(passing=True) as db:
            db.execute(its.values(doing=doing, looked_at=looked_at, fault=fault, seen_at=now))

    def end(self, owner: str, *, now: datetime) -> None:
        """See Processes."""
        with self._db.write(passing=True) as db:
            db.execute(update(processes).where(processes.c.owner == owner).values(ended_at=now, seen_at=now))

    def ahead(self, *, now: datetime) -> timedelta:
        """See Processes."""
        with self._db.read() as db:
            latest = db.scalar(select(func.max(processes.c.seen_at)).where(_GONE))
        return timedelta() if latest is None else max(timedelta(), latest - now)

    def take_back(self, *, now: datetime) -> None:
        """See Processes."""
        its = update(processes).where(_GONE, processes.c.seen_at > now)
        with self._db.write(passing=True) as db:
            db.execute(its.values(seen_at=now))


def all_processes(db: Connection) -> Sequence[Process]:
    """Return all that are remembered, the latest first."""
    listed = (
        select(processes, owners.c.alive_until)
        .join(owners, owners.c.owner == processes.c.owner, isouter=True)
        .order_by(processes.c.since.desc(), processes.c.owner)
    )
    return [Process(**row) for row in db.execute(listed).mappings()]
