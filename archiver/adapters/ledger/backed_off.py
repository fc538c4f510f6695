"""Tasks that backed off after a try that failed, by what failed them: found and brought forward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, select, update

from archiver.adapters.ledger.claimable import OPEN
from archiver.adapters.ledger.rows import AnyRow
from archiver.adapters.ledger.schema.keys import BACKED_OFF, FAILED_AT
from archiver.adapters.ledger.schema.tables import stems, tasks
from archiver.core.model import Subject, TaskId
from archiver.core.states import StemState

LOOKED_AT = 1000
"""Tasks of which one look chooses."""


def failed_at(subject: Subject | None) -> str | None:
    """Return what `waits_for` is of a task that the subject failed."""
    return None if subject is None else f"{FAILED_AT}{subject.key}"


def chosen(
    db: Connection, subjects: Collection[Subject] | None, *, after: datetime, each: int, but: Sequence[TaskId]
) -> Sequence[TaskId]:
    """Return so many of what each subject failed, None for all that failed some; see Pauses.bring_forward."""
    its = BACKED_OFF if subjects is None else tasks.c.waits_for.in_([failed_at(subject) for subject in subjects])
    waiting = and_(OPEN, its, tasks.c.not_before > after, tasks.c.token.is_(None), tasks.c.task_id.not_in(but))
    search = select(tasks.c.task_id, tasks.c.waits_for).where(waiting).order_by(tasks.c.not_before).limit(LOOKED_AT)
    return list(_some(db.execute(search).all(), each))


def bring_forward(db: Connection, ids: Sequence[TaskId], *, now: datetime) -> None:
    """Make those of the tasks due that still wait for their next try, with their stems."""
    mine = and_(OPEN, tasks.c.task_id.in_(ids), tasks.c.not_before > now, tasks.c.token.is_(None))
    unstored = and_(stems.c.task_id.in_(select(tasks.c.task_id).where(mine)), stems.c.state == StemState.WANTED)
    db.execute(update(stems).where(unstored).values(not_before=None))
    db.execute(update(tasks).where(mine).values(not_before=now))


def _some(rows: Sequence[AnyRow], each: int) -> Iterator[TaskId]:
    counts = Counter[str]()
    for row in rows:
        counts[row.waits_for] += 1
        if counts[row.waits_for] <= each:
            yield TaskId(row.task_id)
