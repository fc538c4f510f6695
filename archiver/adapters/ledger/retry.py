"""The operator's retry: what is stuck starts over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, exists, select

from archiver.adapters.ledger.claimable import OPEN
from archiver.adapters.ledger.leases import LEASE_ENDS
from archiver.adapters.ledger.moves import move_stem, move_tasks, stage_of
from archiver.adapters.ledger.rows import AnyRow, chunks
from archiver.adapters.ledger.schema.tables import NOT_ARCHIVED, QUARANTINED, stems, tasks
from archiver.core import plan
from archiver.core.model import TaskId
from archiver.core.states import OPEN_TASK_STATES, StemEvent, StemState, TaskEvent, TaskState

_STUCK = (StemState.REFUSED, StemState.LOST)


def retry(db: Connection, ids: Sequence[TaskId] | None, *, now: datetime) -> Sequence[TaskId]:
    """Put what is stuck back to work; return which tasks, of the others nothing is changed."""
    rows = {row.task_id: row for row in _stuck(db, ids)}.values()
    # All stems first: two transactions that lock the counts of stems and tasks crosswise would stop each other.
    for row in rows:
        _retry_stems(db, row, now)
    detail = {"by": "operator"}
    move_tasks(db, ((row, _afresh(db, row, now)) for row in rows), TaskEvent.RETRIED, at=now, detail=detail)
    return [TaskId(row.task_id) for row in rows]


def _stuck(db: Connection, ids: Sequence[TaskId] | None) -> Iterable[AnyRow]:
    stuck_stem = exists().where(stems.c.task_id == tasks.c.task_id, stems.c.state.in_(_STUCK))
    # Three queries, each with its index, where one with OR would read every archived task.
    ended = and_(NOT_ARCHIVED, tasks.c.state.in_(set(TaskState) - OPEN_TASK_STATES - {TaskState.ARCHIVED}))
    held_up = and_(OPEN, tasks.c.state == TaskState.LISTED, stuck_stem)
    for group in (ended, held_up, QUARANTINED):
        query = select(tasks).where(group).order_by(tasks.c.task_id)
        if ids is None:
            yield from db.execute(query).all()
            continue
        for chunk in chunks(dict.fromkeys(ids)):
            yield from db.execute(query.where(tasks.c.task_id.in_(chunk))).all()


def _retry_stems(db: Connection, row: AnyRow, now: datetime) -> None:
    query = select(stems).where(stems.c.task_id == row.task_id, stems.c.state != StemState.STORED)
    afresh = {"attempts": 0, "gone": 0, "not_before": None, "reason": ""}
    for stem in db.execute(query).all():
        if stem.state in _STUCK:
            move_stem(db, stem, StemEvent.RETRIED, at=now, detail={"by": "operator"}, **afresh)


def _afresh(db: Connection, row: AnyRow, now: datetime) -> Mapping[str, object]:
    """Return the columns of a task that starts over: the age of a MISSING one too, else it would end at once.

    A lease ends with it: whoever works on the task now has seen it as it was.
    """
    reopened = row.state is not TaskState.LISTED
    values: dict[str, object] = {}
    if reopened:
        values |= {"first_asked_at": None, "settled": False, "ended_at": None, "bytes_stored": None}
    if row.state is TaskState.MISSING:
        # No record of the kind that was named knew it: perhaps one of another does.
        values |= {"kind": None, "hint": row.kind}
    state = TaskState.QUEUED if reopened else TaskState.LISTED
    return {
        **values,
        **dict.fromkeys(("asks", "attempts", "deaths"), 0),
        "not_before": now,
        "awaited": False,
        "reason": "",
        "urgency": plan.urgency(row.deadline, row.accepted_at),
        "stage": stage_of(db, row.task_id, state, settled=row.settled),
        **LEASE_ENDS,
    }
