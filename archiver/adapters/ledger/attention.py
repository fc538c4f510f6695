"""Attention: the tasks that need a person, as `core.attention` names them, found along their indexes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    exists,
    func,
    not_,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy import literal_column as literally

from archiver.adapters.ledger.claimable import OPEN
from archiver.adapters.ledger.rows import AnyRow, chunks, stems_of
from archiver.adapters.ledger.schema.keys import BEGUN, CLEAR, HAS_DEADLINE, UNLISTED, UNSTORED
from archiver.adapters.ledger.schema.tables import QUARANTINED, UNARCHIVED, stems, tasks
from archiver.adapters.ledger.unlisted import count_unlisted, first_unlisted, unlisted_before
from archiver.core.attention import ENDS, Need, NeedyTask
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, TaskId

PAGE = 500
"""Tasks that are held in memory where all are listed."""

_UNSEEN = and_(OPEN, tasks.c.acknowledged_at.is_(None))
_REFUSED = stems.c.state == literally("'refused'")
WITH_REFUSED = tasks.c.task_id.in_(select(stems.c.task_id).where(_REFUSED))
"""Tasks with a stem that is refused."""
_HAS_REFUSED = exists().where(stems.c.task_id == tasks.c.task_id, _REFUSED)


_AT_MOST_AT_RISK = and_(tasks.c.acknowledged_at.is_(None), CLEAR, not_(_HAS_REFUSED))


@dataclass(frozen=True, slots=True)
class Near:
    """The moment by which a deadline is near, and how long audio is kept where no deadline is known."""

    by: datetime
    retention: timedelta

    @property
    def begun_before(self) -> datetime:
        """The moment before which an open task began whose deadline, which is not known, is near."""
        return self.by - self.retention

    @property
    def known(self) -> ColumnElement[bool]:
        """The condition that an open task lacks a stem, and has a known deadline that is near."""
        return and_(OPEN, tasks.c.deadline < self.by, _lacks_a_stem())

    @property
    def endangered(self) -> ColumnElement[bool]:
        """The same of any open task."""
        return or_(self.known, unlisted_before(self.begun_before))

    def deadline(self, row: AnyRow) -> datetime | None:
        """Return the deadline that the open task is taken to have, or the one it had."""
        if row.deadline is not None or row.ended_at is not None:
            return row.deadline  # type: ignore[no-any-return]  # a row's columns have no types
        return row.begun + self.retention  # type: ignore[no-any-return]


def _lacks_a_stem() -> ColumnElement[bool]:
    """Return the condition that a task has a stem that is not stored, or of which no stem is known yet."""
    its_stems = exists().where(stems.c.task_id == tasks.c.task_id)
    return or_(its_stems.where(UNSTORED), not_(its_stems))


def _group(need: Need, near: Near) -> ColumnElement[bool]:
    """Return the condition that this is the reason why a task needs a person."""
    if need in ENDS:
        return and_(UNARCHIVED, tasks.c.state == ENDS[need])
    groups = {
        Need.QUARANTINED: and_(QUARANTINED, tasks.c.acknowledged_at.is_(None)),
        Need.REFUSED: and_(_UNSEEN, CLEAR, WITH_REFUSED),
        Need.AT_RISK: and_(near.endangered, _AT_MOST_AT_RISK),
    }
    return groups[need]


def each_need(near: Near) -> list[ColumnElement[bool]]:
    """Return the condition of each reason why a task needs a person; each has its index."""
    return [_group(need, near) for need in Need]


def stands_so(need: Need, near: Near) -> ColumnElement[bool]:
    """Return the condition that it would be a reason why a task needs a person, acknowledged or not."""
    if need in ENDS:
        return tasks.c.state == ENDS[need]
    groups = {Need.QUARANTINED: QUARANTINED, Need.REFUSED: and_(OPEN, WITH_REFUSED), Need.AT_RISK: near.endangered}
    return groups[need]


def count(db: Connection, near: Near) -> tuple[Mapping[Need, int], int]:
    """Return how many tasks need a person, by the reason, and how many are at risk, acknowledged or not."""
    rows = db.execute(select(tasks.c.state, func.count()).where(UNARCHIVED).group_by(tasks.c.state))
    ended = {state: number for state, number in rows}  # noqa: C416 - dict(rows) does not type-check
    counts = {need: ended.get(state, 0) for need, state in ENDS.items()}
    for need in (Need.QUARANTINED, Need.REFUSED):
        counts[need] = db.scalar(select(func.count()).select_from(tasks).where(_group(need, near))) or 0
    at_risk = select(func.count(), func.count().filter(_AT_MOST_AT_RISK)).select_from(tasks).where(near.known)
    endangered, needing = db.execute(at_risk).one()
    unlisted, unseen = count_unlisted(db, near.begun_before)
    counts[Need.AT_RISK] = needing + unseen
    return counts, endangered + unlisted


_COLUMNS = (
    *(
        tasks.c[name]
        for name in ("task_id", "state", "account", "deadline", "reason", "accepted_at", "ended_at", "title")
    ),
    BEGUN.label("begun"),
)


def first(db: Connection, near: Near, counts: Mapping[Need, int], limit: int) -> tuple[NeedyTask, ...]:
    """Return the first tasks that need a person: open ones by deadline, then the ended ones, the latest first.

    `counts` says how many there are; where that is none, none is looked for.
    """
    found = _first_open(db, near, counts, limit)
    ended: list[tuple[datetime, NeedyTask]] = []
    for need in [need for need in ENDS if counts[need]] if len(found) < limit else ():
        latest = (tasks.c.ended_at.desc(), tasks.c.task_id)
        rows = db.execute(select(*_COLUMNS).where(_group(need, near)).order_by(*latest).limit(limit)).all()
        ended += zip([row.ended_at for row in rows], _read(db, need, near, rows), strict=True)
    ended.sort(key=lambda pair: pair[0], reverse=True)
    return tuple([*found, *(task for _, task in ended)][:limit])


def _first_open(db: Connection, near: Near, counts: Mapping[Need, int], limit: int) -> list[NeedyTask]:
    found: list[NeedyTask] = []
    by_deadline = (tasks.c.deadline, tasks.c.task_id)
    groups = {need: _group(need, near) for need in (Need.QUARANTINED, Need.REFUSED)}
    groups[Need.AT_RISK] = and_(near.known, _AT_MOST_AT_RISK)
    for need in [need for need in groups if counts[need]]:
        search = select(*_COLUMNS).where(groups[need], HAS_DEADLINE).order_by(*by_deadline).limit(limit)
        found += _read(db, need, near, db.execute(search).all())
    if counts[Need.QUARANTINED]:
        search = select(*_COLUMNS).where(groups[Need.QUARANTINED], UNLISTED).order_by(BEGUN).limit(limit)
        found += _read(db, Need.QUARANTINED, near, db.execute(search).all())
    search = select(*_COLUMNS).where(tasks.c.acknowledged_at.is_(None), CLEAR)
    rows = first_unlisted(db, search, near.begun_before, limit)
    found += _read(db, Need.AT_RISK, near, rows)
    return sorted(found, key=lambda task: (task.deadline is None, task.deadline, task.task_id))


Key = tuple[Any, ...]
"""The place of a task in the order in which all are listed."""


def page(db: Connection, need: Need, near: Near, after: Key) -> tuple[Sequence[NeedyTask], Key]:
    """Return the next tasks of that reason, in an order of their own, and the place behind them; () at the end."""
    order = (tasks.c.ended_at, tasks.c.task_id) if need in ENDS else (tasks.c.task_id,)
    search = select(*_COLUMNS).where(_group(need, near)).order_by(*order).limit(PAGE)
    if after:
        search = search.where(tuple_(*order) > tuple_(*after, types=[column.type for column in order]))
    rows = db.execute(search).all()
    key = tuple(getattr(rows[-1], column.name) for column in order) if len(rows) == PAGE else ()
    return _read(db, need, near, rows), key


def _read(db: Connection, need: Need, near: Near, rows: Sequence[AnyRow]) -> list[NeedyTask]:
    its_stems = stems_of(db, [TaskId(row.task_id) for row in rows])
    return [
        NeedyTask(
            task_id=TaskId(row.task_id),
            need=need,
            state=row.state,
            account=AccountName(row.account or DEFAULT_ACCOUNT),
            deadline=near.deadline(row),
            reason=row.reason or next((stem.reason for stem in its_stems[row.task_id] if stem.reason), ""),
            title=row.title or "",
        )
        for row in rows
    ]


# ---------------------------------------------------------------------- acknowledging


def acknowledge(db: Connection, ids: Sequence[TaskId], near: Near, now: datetime) -> list[TaskId]:
    """Acknowledge those of `ids` that need a person; return which."""
    needy = or_(*(_group(need, near) for need in Need))
    done: list[TaskId] = []
    for chunk in chunks(dict.fromkeys(ids)):
        found = db.execute(select(tasks.c.task_id).where(tasks.c.task_id.in_(chunk), needy)).scalars().all()
        db.execute(update(tasks).where(tasks.c.task_id.in_(found)).values(acknowledged_at=now))
        done += found
    return done


def acknowledge_all(db: Connection, needs: Collection[Need], near: Near, now: datetime) -> int:
    """Acknowledge all that need a person for one of these reasons; return how many."""
    return sum(
        db.execute(update(tasks).where(_group(need, near)).values(acknowledged_at=now)).rowcount for need in needs
    )
