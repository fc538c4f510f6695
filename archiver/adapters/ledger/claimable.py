"""Claimable tasks: who may be claimed, and which of them is the most urgent.

`claimable` says who may be claimed; every statement that looks for such tasks is made of it. A statement is made
once for each form in which it is asked, as making one takes longer than running it; `asked` gives the values.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Select, and_, bindparam, exists, func, not_, or_, select

from archiver.adapters.ledger.rows import AnyRow
from archiver.adapters.ledger.schema.tables import UtcTime, enlisted, tasks
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Claim, Due, Stage, TaskId
from archiver.core.plan import CLOCK_SET_BACK
from archiver.core.states import TaskState

_NOW, _FAR, _UNTIL = (bindparam(name, type_=UtcTime) for name in ("now", "far", "until"))

OPEN = tasks.c.ended_at.is_(None)
"""Tasks that have not ended. Worded as the partial indexes are, so that they are used."""

DUE = or_(tasks.c.not_before <= _NOW, tasks.c.not_before > _FAR)
"""Tasks whose time has come. A task without not_before waits for an operator."""

FREE = or_(tasks.c.leased_until.is_(None), tasks.c.leased_until <= _NOW, tasks.c.leased_until > _FAR)
"""Tasks that nobody works on, or whose lease has run out."""

ENLISTED = exists().where(enlisted.c.owner == bindparam("me"), enlisted.c.task_id == tasks.c.task_id)
"""Tasks that the owner `me` named its own."""

NOT_BLOCKED = or_(
    tasks.c.stage == Stage.STORE,
    func.coalesce(tasks.c.account, DEFAULT_ACCOUNT).not_in(bindparam("blocked", expanding=True)),
)
"""All tasks but those that must be asked about with a blocked account."""

_SOON = and_(tasks.c.not_before > _NOW, tasks.c.not_before <= _UNTIL)
_IN_TIME = tasks.c.urgency > _NOW


@dataclass(frozen=True, slots=True)
class Wanted:
    """The claimable tasks that are wanted."""

    stage: Stage | None = None
    fresh_only: bool = False
    """Leaves LISTED ones out."""
    some_blocked: bool = False
    """Leaves those out that must be asked about with an account of `blocked`."""


def claimable(wanted: Wanted, due: ColumnElement[bool] = DUE) -> ColumnElement[bool]:
    """Return the condition that a task may be claimed, or may be as soon as it is `due`."""
    conditions = [OPEN, FREE, due]
    conditions += [tasks.c.stage == wanted.stage] if wanted.stage is not None else []
    conditions += [tasks.c.state == TaskState.QUEUED] if wanted.fresh_only else []
    conditions += [NOT_BLOCKED] if wanted.some_blocked else []
    return and_(*conditions)


def asked(now: datetime, blocked: Collection[AccountName] = (), **others: object) -> dict[str, Any]:
    """Return the values that the statements are run with; a time beyond `far` was written while the clock was wrong."""
    return {"now": now, "far": now + CLOCK_SET_BACK, "blocked": list(blocked), **others}


@cache
def _search(wanted: Wanted, *, enlisted_only: bool, in_time: bool, lock: bool) -> Select[Any]:
    conditions = [claimable(wanted)]
    conditions += [ENLISTED] if enlisted_only else []
    conditions += [_IN_TIME] if in_time else []
    columns = (tasks.c.task_id, tasks.c.urgency, tasks.c.deadline)
    search = select(*columns).where(*conditions).order_by(tasks.c.urgency, tasks.c.task_id).limit(1)
    return search.with_for_update(skip_locked=True) if lock else search


def most_urgent(
    db: Connection,
    stages: Collection[Stage],
    *,
    owner: str,
    now: datetime,
    enlisted_only: bool,
    fresh_only: bool,
    blocked: Collection[AccountName],
) -> TaskId | None:
    """Return the task that a claim takes, locked.

    The nearest deadline goes first; one that has passed only where no other is left. An expired task can hardly
    be saved by haste, and would cost others their chance.
    """
    values = asked(now, blocked, me=owner)
    found = []
    for stage in stages:
        wanted = Wanted(stage, fresh_only, bool(blocked))
        row = db.execute(_search(wanted, enlisted_only=enlisted_only, in_time=False, lock=True), values).first()
        if row is not None and stage is Stage.STORE and row.urgency <= now:
            in_time = _search(wanted, enlisted_only=enlisted_only, in_time=True, lock=True)
            row = db.execute(in_time, values).first() or row
        found += [] if row is None else [row]
    best = min(found, key=lambda row: (_has_expired(row, now), row.urgency, row.task_id), default=None)
    return None if best is None else TaskId(best.task_id)


def _has_expired(row: AnyRow, now: datetime) -> bool:
    return row.deadline is not None and row.deadline <= now


def next_deadline(db: Connection, *, owner: str, now: datetime, enlisted_only: bool) -> datetime | None:
    """Return the deadline of the task that a claim for Stage.STORE would take; None unless that is still to come."""
    search = _search(Wanted(Stage.STORE), enlisted_only=enlisted_only, in_time=True, lock=False)
    row = db.execute(search, asked(now, me=owner)).first()
    return None if row is None else row.deadline


@cache
def _this_one(wanted: Wanted) -> Select[Any]:
    its = (tasks.c.task_id == bindparam("its_task"), tasks.c.stage.in_(bindparam("stages", expanding=True)))
    return select(tasks.c.task_id).where(*its, claimable(wanted)).with_for_update(skip_locked=True)


def lock_if_claimable(
    db: Connection,
    task_id: TaskId,
    stages: Sequence[Stage],
    *,
    now: datetime,
    fresh_only: bool,
    blocked: Collection[AccountName],
) -> bool:
    """Lock the task, and return True, where a claim could take it for any of `stages`."""
    values = asked(now, blocked, its_task=task_id, stages=list(stages))
    wanted = Wanted(fresh_only=fresh_only, some_blocked=bool(blocked))
    return db.execute(_this_one(wanted), values).first() is not None


@cache
def _upcoming(wanted: Wanted, which: str) -> Select[Any]:
    conditions = {
        "due": (claimable(wanted),),
        "due in time": (claimable(wanted), _IN_TIME),
        "due and expired": (claimable(wanted), not_(_IN_TIME)),
        "due soon": (claimable(wanted, _SOON),),
    }
    return (
        select(tasks.c.task_id, tasks.c.stage, tasks.c.urgency, tasks.c.deadline, tasks.c.not_before)
        .where(*conditions[which])
        .order_by(tasks.c.urgency, tasks.c.task_id)
        .limit(bindparam("most", type_=Integer))
    )


def upcoming(
    db: Connection,
    stage: Stage,
    *,
    now: datetime,
    until: datetime,
    limit: int,
    fresh_only: bool,
    blocked: Collection[AccountName],
) -> list[Due]:
    """Return the most urgent `limit` tasks that are due, in the order of claims, and as many due by `until`."""
    wanted = Wanted(stage, fresh_only, bool(blocked))
    values = asked(now, blocked, until=until)
    found: list[AnyRow] = []
    for which in ("due in time", "due and expired") if stage is Stage.STORE else ("due",):
        found += db.execute(_upcoming(wanted, which), {**values, "most": limit - len(found)})
    if until > now:
        found += db.execute(_upcoming(wanted, "due soon"), {**values, "most": limit})
    return [Due(TaskId(row.task_id), row.stage, row.urgency, row.deadline, row.not_before) for row in found]


@cache
def _another(wanted: Wanted, which: str) -> Select[Any]:
    listed = and_(tasks.c.state == TaskState.LISTED, tasks.c.deadline > _NOW)
    conditions = {
        "never asked about": (
            tasks.c.state == TaskState.QUEUED,
            tasks.c.first_asked_at.is_(None),
            tasks.c.attempts == 0,
        ),
        "nearer deadline": (listed, tasks.c.deadline < bindparam("deadline", type_=UtcTime)),
        "any deadline": (listed,),
    }
    another = tasks.c.task_id != bindparam("its_task")
    return select(tasks.c.task_id).where(another, *conditions[which], claimable(wanted)).limit(1)


def more_urgent_waits(
    db: Connection, mine: Claim, deadline: datetime, *, now: datetime, blocked: Collection[AccountName]
) -> bool:
    """Return whether a task could be claimed that was never asked about, or has an earlier deadline still to come.

    Once mine has passed, any that has not is more urgent.
    """
    values = asked(now, blocked, its_task=mine.task_id, deadline=deadline)
    wanted = Wanted(some_blocked=bool(blocked))
    listed = "nearer deadline" if deadline > now else "any deadline"
    return any(
        db.execute(_another(wanted, which), values).first() is not None for which in ("never asked about", listed)
    )
