"""Put-off tasks, by why they are: how many, and the oldest of each, along their index."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, func, not_, select, true

from archiver.adapters.ledger.attention import WITH_REFUSED
from archiver.adapters.ledger.schema.keys import PUT_OFF, SINCE, WHY, literally
from archiver.adapters.ledger.schema.tables import tasks
from archiver.core.model import TaskId
from archiver.core.put_off import PutOff, Why


def put_off(db: Connection) -> tuple[PutOff, ...]:
    """Return the tasks that are put off, not for a pause, and have no refused stem."""
    return tuple(each for why in Why for each in _put_off(db, why))


def _put_off(db: Connection, why: Why) -> Iterator[PutOff]:
    its = (PUT_OFF, literally(why.value) == WHY, not_(WITH_REFUSED) if why is Why.FAILING else true())
    oldest = select(tasks.c.task_id, tasks.c.reason, SINCE.label("since")).where(*its).order_by(SINCE, tasks.c.task_id)
    if row := db.execute(oldest.limit(1)).first():
        count = db.scalar(select(func.count()).select_from(tasks).where(*its)) or 0
        yield PutOff(why, count, TaskId(row.task_id), row.since, row.reason)
