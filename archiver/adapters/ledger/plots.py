"""Series over time: what the page draws."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, ColumnElement, func, select, text, type_coerce

from archiver.adapters.ledger.database.transactions import LedgerPart, outage_retry
from archiver.adapters.ledger.reports import overview_of
from archiver.adapters.ledger.schema.tables import UNTRIMMED, history, tasks
from archiver.core.model import TaskId
from archiver.core.reports import Moved, Overview
from archiver.core.states import TaskState
from archiver.ports.plots import Series

_QUARTER = timedelta(minutes=15)
_HOUR = 60 * 60 * 1_000_000
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_WRITTEN = text("SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END")


class SqlPlots(LedgerPart):
    """The Plots of `ports.plots` in a SQL database."""

    @outage_retry
    def overview(self, *, now: datetime, at_risk: timedelta, retention: timedelta) -> tuple[Overview, Series]:
        """See Plots."""
        with self._db.read() as db:
            seen, wanted = overview_of(db, now, at_risk, retention, self._db.longest_wait)
        quarters: dict[int, tuple[datetime, int]] = {}
        for deadline, count in wanted:
            first, before = quarters.get(quarter := (deadline - _NEVER) // _QUARTER, (deadline, 0))
            quarters[quarter] = first, before + count
        return seen, list(quarters.values())

    @outage_retry
    def archived(self, *, since: datetime) -> Series:
        """See Plots."""
        recent = (UNTRIMMED, tasks.c.ended_at > since, tasks.c.state == TaskState.ARCHIVED)
        query = select(func.min(tasks.c.ended_at), func.count()).where(*recent).group_by(_by(tasks.c.ended_at, _HOUR))
        with self._db.read() as db:
            return sorted((at, count) for at, count in db.execute(query))

    @outage_retry
    def moves(self, *, most: int) -> Sequence[tuple[TaskId, Moved]]:
        """See Plots."""
        with self._db.read() as db:
            found = db.execute(select(history).order_by(history.c.id.desc()).limit(most)).all()
        return [
            (TaskId(row.task_id), Moved(row.at, row.stem, row.event, row.before, row.after, row.detail))
            for row in found
        ]

    @outage_retry
    def changes(self) -> str:
        """See Plots."""
        with self._db.read() as db:
            if db.dialect.name == "postgresql":
                return str(db.scalar(_WRITTEN))
        return "-".join(_marks(self._db.where))


def _by(moment: ColumnElement[datetime | None], span: int) -> ColumnElement[int]:
    return type_coerce(moment, BigInteger) // span


def _marks(path: str) -> Iterator[str]:
    for name in (path, f"{path}-wal"):
        try:
            found = os.stat(name)  # noqa: PTH116 - a name, as SQLite makes it
        except FileNotFoundError:
            continue
        yield f"{found.st_mtime_ns:x}.{found.st_size:x}"
