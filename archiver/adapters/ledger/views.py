"""What the operator sees and does: show, status, retry."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, exists, func, not_, or_, select, true

from archiver.adapters.ledger.leases import due, enlisted_by, free, of_others, open_tasks
from archiver.adapters.ledger.moves import LEASE_ENDS, move_stem, move_task, stage_of
from archiver.adapters.ledger.pauses import all_pauses
from archiver.adapters.ledger.rows import AnyRow, chunks, history_of, stems_of, task_row
from archiver.adapters.ledger.schema.tables import enlisted, rejects, stems, tallies, tasks
from archiver.core import plan
from archiver.core.model import AccountName, Reject, Stage, TaskId
from archiver.core.reports import AtRisk, OpenWork, Overview, TaskRow
from archiver.core.states import OPEN_TASK_STATES, StemEvent, StemState, TaskEvent, TaskState

SHOWN = 20
"""Rows of a kind that `overview` lists."""

PACE_WINDOW = timedelta(hours=1)

_STUCK = (StemState.REFUSED, StemState.LOST)


def show(db: Connection, task_id: TaskId) -> TaskRow | None:
    """One task with all there is to know of it."""
    row = db.execute(select(tasks).where(tasks.c.task_id == task_id)).first()
    return None if row is None else task_row(row, stems_of(db, [task_id])[task_id], history_of(db, task_id))


def unfinished(db: Connection, owner: str, *, limit: int) -> Sequence[TaskRow]:
    """What the owner enlisted and is not archived, the most urgent first."""
    rows = db.execute(
        select(tasks)
        .join(enlisted, enlisted.c.task_id == tasks.c.task_id)
        .where(enlisted.c.owner == owner, tasks.c.state != TaskState.ARCHIVED)
        .order_by(tasks.c.urgency, tasks.c.task_id)
        .limit(limit)
    ).all()
    its_stems = stems_of(db, [row.task_id for row in rows])
    return [task_row(row, its_stems[row.task_id]) for row in rows]


def open_work(db: Connection, owner: str | None, barred: Collection[AccountName]) -> OpenWork:
    """Open tasks that will go on by themselves."""
    wanted = and_(open_tasks(), tasks.c.not_before.is_not(None))
    goes_on = or_(tasks.c.stage == Stage.STORE, of_others(barred)) if barred else true()
    count, next_retry, next_ask, nearest = db.execute(
        select(
            func.count(),
            func.min(tasks.c.not_before).filter(not_(tasks.c.awaited), goes_on),
            func.min(tasks.c.not_before).filter(tasks.c.awaited, goes_on),
            func.min(tasks.c.deadline),
        )
        .select_from(tasks)
        .where(wanted if owner is None else and_(wanted, enlisted_by(owner)))
    ).one()
    return OpenWork(count, next_retry, next_ask, nearest)


def overview(db: Connection, *, now: datetime, at_risk: timedelta) -> Overview:
    """Everything `status` says, of one moment."""
    endangered = and_(open_tasks(), tasks.c.deadline < now + at_risk, _lacks_a_stem())
    its_tasks = dict.fromkeys(TaskState, 0) | _count_tasks(db)
    totals = db.execute(select(tallies)).all()
    working, ready, next_due = db.execute(
        select(
            func.count().filter(not_(free(now))),
            func.count().filter(due(now), free(now)),
            func.min(tasks.c.not_before).filter(not_(due(now)), free(now)),
        ).where(open_tasks())
    ).one()
    archived = tasks.c.state == TaskState.ARCHIVED
    pace = _stems_an_hour(db, now, stems_stored=_stored(totals), archived=its_tasks[TaskState.ARCHIVED])
    return Overview(
        tasks=its_tasks,
        stems={row.state: row.stems for row in totals},
        bytes_stored=sum(row.bytes for row in totals),
        due=ready,
        working=working,
        next_due=next_due,
        nearest_deadline=db.scalar(select(func.min(tasks.c.deadline)).where(open_tasks())),
        at_risk_count=db.scalar(select(func.count()).select_from(tasks).where(endangered)) or 0,
        at_risk=_at_risk(db, endangered),
        pauses=all_pauses(db),
        rejected_lines=db.scalar(select(func.count()).select_from(rejects)) or 0,
        rejects=_last_rejects(db),
        last_archived_at=db.scalar(select(func.max(tasks.c.ended_at)).where(archived)),
        stems_an_hour=pace,
        forecast_late=None if pace is None else plan.forecast(_backlog(db), pace / PACE_WINDOW.total_seconds(), now),
    )


def _stored(totals: Sequence[AnyRow]) -> int:
    return sum(row.stems for row in totals if row.state is StemState.STORED)


def _stems_an_hour(db: Connection, now: datetime, *, stems_stored: int, archived: int) -> float | None:
    """The tasks that ended archived within the hour, times the stems that a task has on average.

    None without any, unless work has been waiting for all that time: then the pace is really nought.
    """
    recent = and_(tasks.c.state == TaskState.ARCHIVED, tasks.c.ended_at > now - PACE_WINDOW)
    ended = db.scalar(select(func.count()).select_from(tasks).where(recent)) or 0
    if ended:
        return ended * stems_stored / archived
    waiting = and_(open_tasks(), tasks.c.accepted_at < now - PACE_WINDOW, due(now))
    return 0.0 if db.scalar(select(exists().where(waiting))) else None


def _backlog(db: Connection) -> list[tuple[datetime, int]]:
    """Stems still wanted, by their task's deadline."""
    query = (
        select(tasks.c.deadline, func.count())
        .join(stems, stems.c.task_id == tasks.c.task_id)
        .where(open_tasks(), tasks.c.deadline.is_not(None), stems.c.state == StemState.WANTED)
        .group_by(tasks.c.deadline)
    )
    return [(deadline, count) for deadline, count in db.execute(query)]


def _count_tasks(db: Connection) -> dict[TaskState, int]:
    rows = db.execute(select(tasks.c.state, func.count()).group_by(tasks.c.state))
    return {state: count for state, count in rows}  # noqa: C416 - dict(rows) does not type-check


def _lacks_a_stem() -> ColumnElement[bool]:
    """Tasks with a stem that is not stored, or of which no stem is known yet."""
    its_stems = exists().where(stems.c.task_id == tasks.c.task_id)
    return or_(its_stems.where(stems.c.state != StemState.STORED), not_(its_stems))


def _at_risk(db: Connection, endangered: ColumnElement[bool]) -> tuple[AtRisk, ...]:
    rows = db.execute(
        select(tasks.c.task_id, tasks.c.deadline, tasks.c.reason)
        .where(endangered)
        .order_by(tasks.c.deadline, tasks.c.task_id)
        .limit(SHOWN)
    ).all()
    its_stems = stems_of(db, [row.task_id for row in rows])
    return tuple(
        AtRisk(
            task_id=row.task_id,
            deadline=row.deadline,
            missing_stems=sum(stem.state is not StemState.STORED for stem in its_stems[row.task_id]),
            reason=row.reason or next((stem.reason for stem in its_stems[row.task_id] if stem.reason), ""),
        )
        for row in rows
    )


def _last_rejects(db: Connection) -> tuple[Reject, ...]:
    rows = db.execute(select(rejects).order_by(rejects.c.id.desc()).limit(SHOWN)).all()
    return tuple(Reject(row.path, row.offset, row.excerpt, row.reason) for row in reversed(rows))


def retry(db: Connection, ids: Sequence[TaskId] | None, *, now: datetime) -> Sequence[TaskId]:
    """Put what is stuck back to work; return which tasks, of the others nothing is changed."""
    rows = list(_stuck(db, ids))
    for row in rows:
        _retry_task(db, row, now)
    return [TaskId(row.task_id) for row in rows]


def _stuck(db: Connection, ids: Sequence[TaskId] | None) -> Iterable[AnyRow]:
    stuck_stem = exists().where(stems.c.task_id == tasks.c.task_id, stems.c.state.in_(_STUCK))
    # Two queries, each with its index, where one with OR would read every archived task.
    ended = tasks.c.state.in_(set(TaskState) - OPEN_TASK_STATES - {TaskState.ARCHIVED})
    held_up = and_(open_tasks(), tasks.c.state == TaskState.LISTED, stuck_stem)
    for group in (ended, held_up):
        query = select(tasks).where(group).order_by(tasks.c.task_id)
        if ids is None:
            yield from db.execute(query).all()
            continue
        for chunk in chunks(dict.fromkeys(ids)):
            yield from db.execute(query.where(tasks.c.task_id.in_(chunk))).all()


def _retry_task(db: Connection, row: AnyRow, now: datetime) -> None:
    """Start over: counters and the age of a MISSING task too, else it would end again at once.

    A lease ends with it: whoever works on the task now has seen it as it was.
    """
    query = select(stems).where(stems.c.task_id == row.task_id, stems.c.state != StemState.STORED)
    afresh = {"attempts": 0, "gone": 0, "not_before": None, "reason": ""}
    for stem in db.execute(query).all():
        if stem.state in _STUCK:
            move_stem(db, stem, StemEvent.RETRIED, at=now, detail={"by": "operator"}, **afresh)
    reopened = row.state is not TaskState.LISTED
    values: dict[str, object] = {"first_asked_at": None, "settled": False, "ended_at": None} if reopened else {}
    state = TaskState.QUEUED if reopened else TaskState.LISTED
    move_task(
        db,
        row,
        TaskEvent.RETRIED,
        at=now,
        detail={"by": "operator"},
        **values,
        not_before=now,
        awaited=False,
        asks=0,
        attempts=0,
        reason="",
        urgency=plan.urgency(row.deadline, row.accepted_at),
        stage=stage_of(db, row.task_id, state, settled=row.settled),
        **LEASE_ENDS,
    )
