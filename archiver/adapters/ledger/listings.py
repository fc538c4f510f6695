"""Listings: any page of a million tasks, along an index, after a bounded look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, select

from archiver.adapters.ledger.attention import Near
from archiver.adapters.ledger.database.transactions import LedgerPart, Transactions, outage_retry
from archiver.adapters.ledger.listing import COLUMNS, listed_task
from archiver.adapters.ledger.rows import count_tasks, stems_of
from archiver.adapters.ledger.schema.tables import tasks
from archiver.adapters.ledger.ways import NARROW, Met, Way, way_of
from archiver.core.listing import TaskCount, TaskFilter, TaskOnPage, TaskOrder, TaskPage, TaskPlace
from archiver.core.model import StemRow, TaskId
from archiver.core.trimming import Trimmed
from archiver.ports.listing import COUNTED, PAGE, Moment

LOOKED_AT = 2_500
"""Tasks that are looked at for one page, or to count."""


class SqlListings(LedgerPart):
    """The Listings of `ports.listing` in a SQL database.

    Looks at `looked_at` tasks for one page, and sorts up to `narrow`, where an index finds them that knows no order.
    """

    def __init__(self, db: Transactions, *, looked_at: int = LOOKED_AT, narrow: int = NARROW) -> None:
        super().__init__(db)
        self._looked_at = looked_at
        self._narrow = narrow

    @outage_retry
    def page(
        self,
        wanted: TaskFilter,
        order: TaskOrder,
        moment: Moment,
        *,
        start: TaskPlace | None = None,
        back: bool = False,
        size: int = PAGE,
    ) -> TaskPage:
        """See Listings."""
        with self._db.read() as db:
            way = way_of(db, wanted, order, _near(moment), back=back, narrow=self._narrow)
            found, last = self._look(db, way, start, size)
            rows = _rows(db, found[:size])
        full = len(found) > size
        on = _place(found[size - 1]) if full else last
        if back:
            return TaskPage(rows[::-1], _place(found[0]) if found else start, on, full or on is None)
        return TaskPage(rows, on, None if start is None else _place(found[0]) if found else start, full or on is None)

    @outage_retry
    def count(self, wanted: TaskFilter, moment: Moment) -> TaskCount:
        """See Listings."""
        with self._db.read() as db:
            if wanted == TaskFilter(states=wanted.states):
                counts = count_tasks(db)
                return TaskCount(sum(counts.get(state, 0) for state in set(wanted.states)), is_exact=True)
            way = way_of(db, wanted, TaskOrder.NEWEST, _near(moment), back=False, narrow=self._narrow)
            most = COUNTED if way.fits is None else self._looked_at
            return TaskCount(*way.count(db, most))

    def _look(self, db: Connection, way: Way, start: TaskPlace | None, size: int) -> tuple[list[Met], TaskPlace | None]:
        """Return the tasks that fit, one more than `size` if there are, and where to go on from, None at the end."""
        found: list[Met] = []
        # Most often a few are enough.
        for most in (size + 1, self._looked_at):
            found += way.next(db, start, most, size + 1 - len(found))
            if len(found) > size or (last := way.end(db, start, most)) is None:
                return found, None
            start = _place(last)
        return found, start


def _near(moment: Moment) -> Near:
    by: datetime = moment.now + moment.at_risk
    return Near(by, moment.retention)


def _place(met: Met) -> TaskPlace:
    return TaskPlace(met.key, met.task_id)


_SHOWN = [*COLUMNS, *(tasks.c[name] for name in ("created_at", "trimmed_stems", "trimmed_bytes", "folder_digest"))]


def _rows(db: Connection, met: Sequence[Met]) -> tuple[TaskOnPage, ...]:
    ids = [TaskId(each.task_id) for each in met]
    found = db.execute(select(*_SHOWN).where(tasks.c.task_id.in_(ids))).mappings()
    rows = {row["task_id"]: row for row in found}
    its_stems = stems_of(db, ids)
    return tuple(_row(rows[each], its_stems[each]) for each in ids)


def _row(row: RowMapping, its_stems: tuple[StemRow, ...]) -> TaskOnPage:
    digest = row["folder_digest"]
    trimmed = None if digest is None else Trimmed(row["trimmed_stems"], row["trimmed_bytes"], digest)
    return TaskOnPage(listed_task(row), row["created_at"], its_stems, trimmed)
