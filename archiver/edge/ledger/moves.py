"""How a task or a stem changes state: through core.states, with a row of history and the totals moved."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from archiver.core.errors import LeaseLost
from archiver.core.model import Claim, StemName, TaskId
from archiver.core.states import (
    IllegalMove,
    StemEvent,
    StemState,
    TaskEvent,
    TaskState,
    step_stem,
    step_task,
)
from archiver.edge.ledger.rows import AnyRow
from archiver.edge.ledger.schema import history, stems, tallies, tasks
from archiver.ports import Stage

LEASE_ENDS: Mapping[str, None] = {"token": None, "owner": None, "leased_until": None}
"""The columns that give a task back."""


def hold(db: Connection, claim: Claim) -> AnyRow:
    """Return the claim's task, locked; raise LeaseLost when its token no longer holds it."""
    mine = (tasks.c.task_id == claim.task_id) & (tasks.c.token == claim.token)
    row = db.execute(select(tasks).where(mine).with_for_update()).first()
    if row is None:
        raise LeaseLost(f"task {claim.task_id} was taken over or ended meanwhile")
    return row


def stem_of(db: Connection, task_id: TaskId, name: StemName) -> AnyRow:
    """Return the stem's row; raise IllegalMove when the task has none of that name."""
    row = db.execute(select(stems).where(stems.c.task_id == task_id, stems.c.name == name)).first()
    if row is None:
        raise IllegalMove(f"task {task_id} has no stem {name}")
    return row


def change_task(db: Connection, task_id: TaskId, values: Mapping[str, Any]) -> None:
    """Write columns of a task that are not its state."""
    db.execute(update(tasks).where(tasks.c.task_id == task_id).values(**values))


def move_task(
    db: Connection, row: AnyRow, event: TaskEvent, *, at: datetime, detail: Mapping[str, object], **values: object
) -> None:
    """Let `event` happen to the task and write its other columns with it; raise IllegalMove."""
    after = step_task(row.state, event)
    change_task(db, row.task_id, {"state": after, **values})
    if after is row.state and _repeated(db, row.task_id, event, at, detail):
        return
    _record(db, row.task_id, None, (event, row.state, after), at, detail)


def move_stem(
    db: Connection, row: AnyRow, event: StemEvent, *, at: datetime, detail: Mapping[str, object], **values: object
) -> None:
    """Let `event` happen to the stem and write its other columns with it; raise IllegalMove."""
    after = step_stem(row.state, event)
    mine = (stems.c.task_id == row.task_id) & (stems.c.name == row.name)
    db.execute(update(stems).where(mine).values(state=after, **values))
    tally(db, row.state, -1)
    # An alias has no bytes of its own in the bucket.
    size = values.get("size")
    tally(db, after, 1, size if isinstance(size, int) and values.get("alias_of") is None else 0)
    _record(db, row.task_id, row.name, (event, row.state, after), at, detail)


def tally(db: Connection, state: StemState, count: int, size: int = 0) -> None:
    """Move the running totals."""
    more = {"stems": tallies.c.stems + count, "bytes": tallies.c.bytes + size}
    db.execute(update(tallies).where(tallies.c.state == state).values(more))


def stage_of(db: Connection, task_id: TaskId, state: TaskState, *, settled: bool) -> Stage:
    """Say which half of the path the task needs next, as its stems stand now."""
    wanted = stems.c.state == StemState.WANTED
    counts = db.execute(
        select(func.count().filter(wanted), func.count().filter(wanted & stems.c.url_cut)).where(
            stems.c.task_id == task_id
        )
    ).one()
    to_fetch, without_url = counts
    if state is TaskState.QUEUED or without_url or not (to_fetch or settled):
        return Stage.LIST
    return Stage.STORE


def _record(
    db: Connection,
    task_id: TaskId,
    stem: StemName | None,
    move: tuple[TaskEvent, TaskState, TaskState] | tuple[StemEvent, StemState, StemState],
    at: datetime,
    detail: Mapping[str, object],
) -> None:
    event, before, after = (word.value for word in move)
    row = {"task_id": task_id, "stem": stem, "at": at, "event": event, "before": before, "after": after}
    db.execute(insert(history).values(**row, detail=dict(detail)))


def _repeated(db: Connection, task_id: TaskId, event: TaskEvent, at: datetime, detail: Mapping[str, object]) -> bool:
    """Fold a move that repeats the last one into its row: a task is asked about for days."""
    last = db.execute(
        select(history.c.id, history.c.event, history.c.at, history.c.detail)
        .where(history.c.task_id == task_id, history.c.stem.is_(None))
        .order_by(history.c.id.desc())
        .limit(1)
    ).first()
    if last is None or last.event != event.value:
        return False
    times = {"times": last.detail.get("times", 1) + 1, "since": last.detail.get("since", last.at.isoformat())}
    db.execute(update(history).where(history.c.id == last.id).values(at=at, detail={**detail, **times}))
    return True
