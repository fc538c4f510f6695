"""Put-off tasks, by why they are: one look at all open tasks, and one for the oldest of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, not_, or_, select, type_coerce

from archiver.adapters.ledger.attention import WITH_REFUSED
from archiver.adapters.ledger.backed_off import FAILED_AT
from archiver.adapters.ledger.claimable import CLEAR, OPEN
from archiver.adapters.ledger.schema.tables import tasks
from archiver.adapters.ledger.schema.types import UtcTime
from archiver.core.model import TaskId
from archiver.core.put_off import UNKNOWN_YET, PutOff, Why

_UNKNOWN = tasks.c.reason.startswith(UNKNOWN_YET, autoescape=True)
_WHY: Mapping[Why, ColumnElement[bool]] = {
    Why.UNKNOWN: _UNKNOWN,
    Why.NOT_READY: and_(tasks.c.awaited, not_(_UNKNOWN)),
    Why.FAILING: and_(not_(tasks.c.awaited), not_(_UNKNOWN), not_(WITH_REFUSED)),
}
_PUT_OFF = and_(OPEN, CLEAR, tasks.c.reason != "", or_(tasks.c.waits_for.is_(None), FAILED_AT))
_SINCE = type_coerce(func.coalesce(tasks.c.first_asked_at, tasks.c.accepted_at), UtcTime)

# Not grouped by the reason: of a million tasks that takes three times as long.
_COUNTS = select(
    *(func.count().filter(_WHY[why]) for why in Why),
    *(func.min(_SINCE).filter(_WHY[why]) for why in Why),
).where(_PUT_OFF)


def put_off(db: Connection) -> tuple[PutOff, ...]:
    """Return the tasks that are put off, not for a pause, and have no refused stem."""
    return tuple(_put_off(db))


def _put_off(db: Connection) -> Iterator[PutOff]:
    row = db.execute(_COUNTS).one()
    for why, count, since in zip(Why, row[: len(Why)], row[len(Why) :], strict=True):
        if isinstance(since, datetime):
            oldest = select(tasks.c.task_id, tasks.c.reason).where(_PUT_OFF, _WHY[why], _SINCE.in_([since])).limit(1)
            task_id, reason = db.execute(oldest).one()
            yield PutOff(why, count, TaskId(task_id), since, reason)
