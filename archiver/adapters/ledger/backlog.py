"""The backlog: the stems that are still wanted, by the deadline of their task, to the minute."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from archiver.adapters.ledger.schema.keys import HAS_DEADLINE, UNSTORED, literally, minute_of
from archiver.adapters.ledger.schema.tables import stems, tasks

_WANTED = (
    select(func.count())
    .where(stems.c.task_id == tasks.c.task_id, UNSTORED, stems.c.state == literally("wanted"))
    .correlate(tasks)
    .scalar_subquery()
)
# No join: SQLite would begin it with the stems, and read those of all that was ever archived.
_BY_MINUTE = (
    select(func.min(tasks.c.deadline), func.sum(_WANTED)).where(HAS_DEADLINE).group_by(minute_of(tasks.c.deadline))
)


def backlog(
    db: Connection, unlisted: Sequence[tuple[datetime, int]], retention: timedelta
) -> Sequence[tuple[datetime, int]]:
    """Return the first deadline of each minute, the earliest first, with the number of stems that are wanted by then.

    A task of which no stem is known counts as one; of which no deadline is known, `retention` counts as it.
    """
    listed = [(deadline, int(count)) for deadline, count in db.execute(_BY_MINUTE) if count]
    return sorted([*listed, *((begun + retention, count) for begun, count in unlisted)])
