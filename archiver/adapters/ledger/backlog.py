"""The backlog: the stems that are still wanted, by the deadline of their task, to the minute."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Connection, func, select, type_coerce

from archiver.adapters.ledger.claimable import OPEN
from archiver.adapters.ledger.schema.tables import stems, tasks
from archiver.adapters.ledger.unlisted import MINUTE, Unlisted
from archiver.core.states import StemState

_WANTED = (
    select(func.count())
    .where(stems.c.task_id == tasks.c.task_id, stems.c.state == StemState.WANTED)
    .correlate(tasks)
    .scalar_subquery()
)
# No join: SQLite would begin it with the stems, and read those of all that was ever archived.
_BY_MINUTE = (
    select(func.min(tasks.c.deadline), func.sum(_WANTED))
    .where(OPEN, tasks.c.deadline.is_not(None))
    .group_by(type_coerce(tasks.c.deadline, BigInteger) // MINUTE)
)


def backlog(db: Connection, unlisted: Sequence[Unlisted], retention: timedelta) -> Sequence[tuple[datetime, int]]:
    """Return the first deadline of each minute, the earliest first, with the number of stems that are wanted by then.

    A task of which no stem is known counts as one; of which no deadline is known, `retention` counts as it.
    """
    listed = [(deadline, int(count)) for deadline, count in db.execute(_BY_MINUTE) if count]
    return sorted([*listed, *((each.begun + retention, each.count) for each in unlisted)])
