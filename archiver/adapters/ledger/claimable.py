"""Claimable tasks: who may be claimed, said once, for all statements that look for such tasks.

Such a statement is made once for each form in which it is asked, as making one takes longer than running it;
`asked` gives it its values.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, or_

from archiver.adapters.ledger.schema.keys import CLEAR, IS_QUEUED
from archiver.adapters.ledger.schema.tables import QUARANTINED, enlisted, tasks
from archiver.adapters.ledger.schema.types import UtcTime
from archiver.core import plan
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Stage

NOW, _FAR = bindparam("now", type_=UtcTime), bindparam("far", type_=UtcTime)
_YOUNG_FROM = bindparam("young_from", type_=UtcTime)

OPEN = tasks.c.ended_at.is_(None)
"""Tasks that have not ended. Worded as the partial indexes are, so that they are used."""

DUE = or_(tasks.c.not_before <= NOW, tasks.c.not_before > _FAR)
"""Tasks whose time has come. A task without not_before waits for an operator."""

FREE = or_(tasks.c.leased_until.is_(None), tasks.c.leased_until <= NOW, tasks.c.leased_until > _FAR)
"""Tasks that nobody works on, or whose lease has run out."""

ENLISTED = exists().where(enlisted.c.owner == bindparam("me"), enlisted.c.task_id == tasks.c.task_id)
"""Tasks that the owner `me` named its own."""

NOT_BLOCKED = or_(
    tasks.c.stage == Stage.STORE,
    func.coalesce(tasks.c.account, DEFAULT_ACCOUNT).not_in(bindparam("blocked", expanding=True)),
)
"""All tasks but those that must be asked about with a blocked account."""


DUE_LONG = or_(tasks.c.not_before <= bindparam("alone_from", type_=UtcTime), tasks.c.not_before > _FAR)
"""Tasks that are due since the time from which on a quarantined one may be tried."""


class Quarantine(Enum):
    """The place of quarantined tasks in a search."""

    OUT = auto()
    ONLY = auto()
    ALSO = auto()


class Part(Enum):
    """A part of the tasks that must be asked about; each is a range of urgencies, and so of the index."""

    LINKS = auto()
    """Their links are needed by a deadline that is still to come."""
    NEWEST = auto()
    """Never asked about, and accepted last: a flood of older ones must not keep it waiting."""
    YOUNG = auto()
    """Never asked about, and accepted a moment ago: among these the oldest is the first."""
    NEVER_ASKED = auto()
    ASKED = auto()
    """Not ready when they were last asked about, in that order."""


_IN_PART = {
    Part.LINKS: and_(tasks.c.urgency > NOW, tasks.c.urgency < plan.ASKED_AGAIN),
    Part.NEWEST: tasks.c.urgency <= NOW,
    Part.YOUNG: and_(tasks.c.urgency > _YOUNG_FROM, tasks.c.urgency <= NOW),
    Part.NEVER_ASKED: tasks.c.urgency <= NOW,
    Part.ASKED: tasks.c.urgency >= plan.ASKED_AGAIN,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The claimable tasks that are wanted."""

    stage: Stage | None = None
    fresh_only: bool = False
    """Leaves LISTED ones out."""
    some_blocked: bool = False
    """Leaves those out that must be asked about with an account of `blocked`."""
    quarantine: Quarantine = Quarantine.OUT
    untried: bool = False
    """Leaves those out of which a try has failed."""
    or_tried: bool = True
    """Takes them after all, where no other is left."""
    latest: bool = False
    """Begins with the least urgent."""
    part: Part | None = None
    """Takes quarantined ones that are due since `alone_from`."""


def claimable(wanted: Wanted, due: ColumnElement[bool] = DUE) -> ColumnElement[bool]:
    """Return the condition that a task may be claimed, or may be as soon as it is `due`."""
    conditions = [OPEN, FREE, due]
    conditions += [tasks.c.stage == wanted.stage] if wanted.stage is not None else []
    conditions += [_IN_PART[wanted.part]] if wanted.part is not None else []
    conditions += [IS_QUEUED] if wanted.fresh_only else []
    conditions += [tasks.c.attempts == 0] if wanted.untried else []
    conditions += [tasks.c.urgency > _YOUNG_FROM] if wanted.part is Part.NEWEST and not wanted.or_tried else []
    alone = and_(QUARANTINED, DUE_LONG)
    by_quarantine = {Quarantine.OUT: CLEAR, Quarantine.ONLY: alone, Quarantine.ALSO: or_(CLEAR, alone)}
    conditions.append(by_quarantine[wanted.quarantine])
    conditions += [NOT_BLOCKED] if wanted.some_blocked else []
    return and_(*conditions)


def asked(
    longest_wait: timedelta, now: datetime, blocked: Collection[AccountName] = (), **others: object
) -> dict[str, Any]:
    """Return the values that the statements are run with.

    A time farther ahead than `longest_wait` was written while the clock was wrong.
    """
    return {"now": now, "young_from": now - plan.YOUNG, "far": now + longest_wait, "blocked": list(blocked), **others}
