"""The backlog: the stems that are still wanted, by the deadline of their task."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from archiver.adapters.ledger.claimable import OPEN
from archiver.adapters.ledger.schema.tables import stems, tasks
from archiver.core.states import StemState

_WANTED = (
    select(func.count())
    .where(stems.c.task_id == tasks.c.task_id, stems.c.state == StemState.WANTED)
    .correlate(tasks)
    .scalar_subquery()
)
# No join: SQLite would begin it with the stems, and read those of all that was ever archived.
_BY_DEADLINE = (
    select(tasks.c.deadline, func.sum(_WANTED))
    .where(OPEN, tasks.c.deadline.is_not(None))
    .group_by(tasks.c.deadline)
    .order_by(tasks.c.deadline)
)


def wanted_by_deadline(db: Connection) -> Sequence[tuple[datetime, int]]:
    """Return each deadline of open tasks, the earliest first, with the number of stems that are wanted by then."""
    return [(deadline, int(count)) for deadline, count in db.execute(_BY_DEADLINE) if count]
