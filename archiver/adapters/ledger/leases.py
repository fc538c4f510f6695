"""Who works on what: claims, and how they are prolonged and given back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import product
from typing import Any, TypeAlias

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    not_,
    or_,
    select,
    true,
    union,
    update,
)

from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.intake import dismiss
from archiver.adapters.ledger.moves import LEASE_ENDS
from archiver.adapters.ledger.rows import AnyRow, chunks, claim_of
from archiver.adapters.ledger.schema.tables import UtcTime, enlisted, owners, tasks
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Claim, Due, Stage, TaskId
from archiver.core.plan import CLOCK_SET_BACK
from archiver.core.states import TaskState

Moment: TypeAlias = "datetime | BindParameter[datetime]"


def open_tasks() -> ColumnElement[bool]:
    """Tasks that have not ended. Worded as the partial indexes are, so that they are used."""
    return tasks.c.ended_at.is_(None)


def free(now: datetime) -> ColumnElement[bool]:
    """Tasks that nobody works on, or whose lease has run out."""
    return _free(now, now + CLOCK_SET_BACK)


def _free(now: Moment, far: Moment) -> ColumnElement[bool]:
    until = tasks.c.leased_until
    return or_(until.is_(None), until <= now, until > far)


def due(now: datetime) -> ColumnElement[bool]:
    """Tasks whose time has come. A task without not_before waits for an operator."""
    return _due(now, now + CLOCK_SET_BACK)


def _due(now: Moment, far: Moment) -> ColumnElement[bool]:
    return or_(tasks.c.not_before <= now, tasks.c.not_before > far)


def enlisted_by(owner: str | BindParameter[str]) -> ColumnElement[bool]:
    """Tasks that the owner named its own."""
    return exists().where(enlisted.c.owner == owner, enlisted.c.task_id == tasks.c.task_id)


def claim(
    db: Connection,
    *,
    owner: str,
    token: str,
    now: datetime,
    lease: timedelta,
    stage: Stage | None,
    enlisted_only: bool,
    fresh_only: bool,
    barred: Collection[AccountName],
) -> Claim | None:
    """Lease the most urgent due task under `token`, or None."""
    stages = tuple(Stage) if stage is None else (stage,)
    asked = {"now": now, "far": now + CLOCK_SET_BACK, "me": owner, "barred": list(barred)}
    found = [
        row
        for each in stages
        if (row := _next(db, each, asked, enlisted_only=enlisted_only, fresh_only=fresh_only)) is not None
    ]
    if not found:
        return None
    best = min(found, key=lambda row: (_expired(row, now), row.urgency, row.task_id))
    lease_it = {"its_task": best.task_id, "token": token, "owner": owner, "leased_until": now + lease}
    return claim_of(db, db.execute(_LEASE, lease_it).one())


def _next(
    db: Connection, stage: Stage, asked: Mapping[str, Any], *, enlisted_only: bool, fresh_only: bool
) -> AnyRow | None:
    """The task with the nearest deadline; one whose deadline has passed only when no other is left.

    An expired task can hardly be saved by haste, and would cost others their chance.
    """
    some_barred = stage is Stage.LIST and bool(asked["barred"])
    row = db.execute(_SEARCHES[stage, enlisted_only, fresh_only, False, some_barred], asked).first()
    if row is None or stage is Stage.LIST or row.urgency > asked["now"]:
        return row
    return db.execute(_SEARCHES[stage, enlisted_only, fresh_only, True, some_barred], asked).first() or row


def _expired(row: AnyRow, now: datetime) -> bool:
    return row.deadline is not None and row.deadline <= now


def next_deadline(db: Connection, *, owner: str, now: datetime, enlisted_only: bool) -> datetime | None:
    """The deadline of what a claim for Stage.STORE would take, None unless that is still to come."""
    asked = {"now": now, "far": now + CLOCK_SET_BACK, "me": owner}
    row = db.execute(_TO_STORE[enlisted_only], asked).first()
    return None if row is None else row.deadline


def of_others(barred: Collection[AccountName] | BindParameter[Any]) -> ColumnElement[bool]:
    """Tasks of all accounts but those."""
    return func.coalesce(tasks.c.account, DEFAULT_ACCOUNT).not_in(barred)


def _search(stage: Stage, enlisted_only: bool, fresh_only: bool, in_time: bool, some_barred: bool) -> Select[Any]:
    """The most urgent task to be had; `now`, `far`, `me` and `barred` are filled in when it is run."""
    now, far = bindparam("now", type_=UtcTime), bindparam("far", type_=UtcTime)
    wanted = [open_tasks(), tasks.c.stage == stage, _due(now, far), _free(now, far)]
    wanted += [enlisted_by(bindparam("me"))] if enlisted_only else []
    wanted += [tasks.c.state == TaskState.QUEUED] if fresh_only else []
    wanted += [tasks.c.urgency > now] if in_time else []
    wanted += [of_others(bindparam("barred", expanding=True))] if some_barred else []
    return (
        select(tasks.c.task_id, tasks.c.urgency, tasks.c.deadline)
        .where(*wanted)
        .order_by(tasks.c.urgency, tasks.c.task_id)
        .limit(1)
    )


_EITHER = (False, True)
# Written once: making such a statement costs more than running it.
_SEARCHES = {
    asked: _search(*asked).with_for_update(skip_locked=True)
    for asked in product(Stage, _EITHER, _EITHER, _EITHER, _EITHER)
}
_TO_STORE = {
    enlisted_only: _search(Stage.STORE, enlisted_only, fresh_only=False, in_time=True, some_barred=False)
    for enlisted_only in _EITHER
}
_LEASE = (
    update(tasks)
    .where(tasks.c.task_id == bindparam("its_task"))
    .values({name: bindparam(name) for name in ("token", "owner", "leased_until")})
    .returning(*tasks.c)
)


_THIS = (
    select(tasks.c.task_id)
    .where(
        tasks.c.task_id == bindparam("its_task"),
        open_tasks(),
        tasks.c.stage.in_(bindparam("stages", expanding=True)),
        _due(bindparam("now", type_=UtcTime), bindparam("far", type_=UtcTime)),
        _free(bindparam("now", type_=UtcTime), bindparam("far", type_=UtcTime)),
        or_(tasks.c.state == TaskState.QUEUED, not_(bindparam("fresh_only", type_=Boolean))),
        or_(tasks.c.stage == Stage.STORE, of_others(bindparam("barred", expanding=True))),
    )
    .with_for_update(skip_locked=True)
)


def claim_task(
    db: Connection,
    task_id: TaskId,
    *,
    owner: str,
    token: str,
    now: datetime,
    lease: timedelta,
    stages: Sequence[Stage],
    fresh_only: bool,
    barred: Collection[AccountName],
) -> Claim | None:
    """Lease this task under `token`, or None."""
    asked = {"its_task": task_id, "now": now, "far": now + CLOCK_SET_BACK}
    asked |= {"stages": list(stages), "fresh_only": fresh_only, "barred": list(barred)}
    if db.execute(_THIS, asked).first() is None:
        return None
    lease_it = {"its_task": task_id, "token": token, "owner": owner, "leased_until": now + lease}
    return claim_of(db, db.execute(_LEASE, lease_it).one())


def upcoming(
    db: Connection,
    stage: Stage,
    *,
    now: datetime,
    until: datetime,
    limit: int,
    fresh_only: bool,
    barred: Collection[AccountName],
) -> list[Due]:
    """The most urgent `limit` tasks that are due, in the order of claims, and as many that will be by `until`."""
    wanted = [open_tasks(), tasks.c.stage == stage, free(now)]
    wanted += [tasks.c.state == TaskState.QUEUED] if fresh_only else []
    wanted += [of_others(barred)] if barred and stage is Stage.LIST else []
    search = (
        select(tasks.c.task_id, tasks.c.stage, tasks.c.urgency, tasks.c.deadline, tasks.c.not_before)
        .where(*wanted)
        .order_by(tasks.c.urgency, tasks.c.task_id)
    )
    in_time = tasks.c.urgency > now
    found: list[AnyRow] = []
    for each in (in_time, not_(in_time)) if stage is Stage.STORE else (true(),):
        found += db.execute(search.where(due(now), each).limit(limit - len(found)))
    if until > now:
        found += db.execute(search.where(tasks.c.not_before > now, tasks.c.not_before <= until).limit(limit))
    return [Due(TaskId(row.task_id), row.stage, row.urgency, row.deadline, row.not_before) for row in found]


def _waiting(which: ColumnElement[bool], some_barred: bool) -> Select[Any]:
    """Any task that could be claimed but `its_task`; `now`, `far` and `barred` are filled in when it is run."""
    now, far = bindparam("now", type_=UtcTime), bindparam("far", type_=UtcTime)
    wanted = [open_tasks(), which, tasks.c.task_id != bindparam("its_task"), _due(now, far), _free(now, far)]
    if some_barred:
        wanted.append(or_(tasks.c.stage == Stage.STORE, of_others(bindparam("barred", expanding=True))))
    return select(tasks.c.task_id).where(*wanted).limit(1)


_LISTED = and_(tasks.c.state == TaskState.LISTED, tasks.c.deadline > bindparam("now", type_=UtcTime))
_LISTED_BEFORE = and_(_LISTED, tasks.c.deadline < bindparam("deadline", type_=UtcTime))
_UNKNOWN = and_(tasks.c.state == TaskState.QUEUED, tasks.c.first_asked_at.is_(None), tasks.c.attempts == 0)
_WAITING_LISTED, _WAITING_BEFORE, _WAITING_UNKNOWN = (
    {some_barred: _waiting(which, some_barred) for some_barred in _EITHER}
    for which in (_LISTED, _LISTED_BEFORE, _UNKNOWN)
)


def more_urgent_waits(
    db: Connection, mine: Claim, deadline: datetime, now: datetime, barred: Collection[AccountName]
) -> bool:
    """Whether a task could be claimed that was never asked about, or has an earlier deadline that is not past.

    Once mine has passed, any that has not is more urgent.
    """
    asked = {"now": now, "far": now + CLOCK_SET_BACK, "its_task": mine.task_id, "barred": list(barred)}
    some_barred = bool(barred)
    if db.execute(_WAITING_UNKNOWN[some_barred], asked).first() is not None:
        return True
    if deadline > now:
        return db.execute(_WAITING_BEFORE[some_barred], {**asked, "deadline": deadline}).first() is not None
    return db.execute(_WAITING_LISTED[some_barred], asked).first() is not None


def wake(db: Connection, ids: Sequence[TaskId], *, now: datetime) -> Sequence[TaskId]:
    """Make due what waits for the provider; return that, and what is being asked about now."""
    woken: list[TaskId] = []
    for chunk in chunks(ids):
        named = and_(open_tasks(), tasks.c.task_id.in_(chunk))
        waiting = and_(named, free(now), tasks.c.awaited)
        db.execute(update(tasks).where(waiting, tasks.c.not_before > now).values(not_before=now))
        asked = and_(named, not_(free(now)), not_(tasks.c.settled))
        woken += db.execute(select(tasks.c.task_id).where(or_(waiting, asked))).scalars()
    return woken


def renew(db: Connection, owner: str, *, now: datetime, lease: timedelta) -> bool:
    """Prolong all leases of `owner` and its own life; False when it was not on record any more, or not yet."""
    db.execute(update(tasks).where(tasks.c.owner == owner).values(leased_until=now + lease))
    alive = {"alive_until": now + lease}
    if db.execute(update(owners).where(owners.c.owner == owner).values(**alive)).rowcount:
        return True
    db.execute(insert(db, owners).values(owner=owner, **alive).on_conflict_do_nothing())
    return False


def release(db: Connection, owner: str) -> int:
    """End all leases of `owner`, forget its list and strike it off the record."""
    ended = db.execute(update(tasks).where(tasks.c.owner == owner).values(**LEASE_ENDS))
    dismiss(db, owner)
    db.execute(delete(owners).where(owners.c.owner == owner))
    return ended.rowcount


def release_silent(db: Connection, silent: Iterable[str], *, now: datetime) -> list[str]:
    """Release those owners that neither renewed nor claimed in time, and return them; their rows are locked first."""
    gone = []
    for owner in silent:
        renewed = db.execute(select(owners.c.alive_until).where(owners.c.owner == owner).with_for_update()).scalar()
        claimed = db.execute(select(func.max(tasks.c.leased_until)).where(tasks.c.owner == owner)).scalar()
        if not any(until and now < until <= now + CLOCK_SET_BACK for until in (renewed, claimed)):
            release(db, owner)
            gone.append(owner)
    return gone


def on_record(db: Connection) -> set[str]:
    """Everyone who signed on, and was neither released nor taken for dead."""
    return set(db.execute(select(owners.c.owner)).scalars())


def known_owners(db: Connection) -> list[str]:
    """Everyone who holds a lease, has a list or signed on."""
    holding = select(tasks.c.owner).where(tasks.c.owner.is_not(None))
    return sorted(db.execute(union(holding, select(enlisted.c.owner), select(owners.c.owner))).scalars())
