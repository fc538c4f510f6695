"""Moves of tasks and stems: each through core.states, with a row of history and the totals moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from archiver.adapters.ledger.database.prepared import Prepared
from archiver.adapters.ledger.rows import AnyRow
from archiver.adapters.ledger.schema.standing import task_counts
from archiver.adapters.ledger.schema.tables import history, stems, tallies, tasks
from archiver.core.errors import LeaseLost
from archiver.core.model import Claim, Stage, StemName, TaskId
from archiver.core.states import (
    IllegalMove,
    StemEvent,
    StemState,
    TaskEvent,
    TaskState,
    step_stem,
    step_task,
)

ITS_HOLD = (tasks.c.task_id == bindparam("its_task"), tasks.c.token == bindparam("its_token"))
"""Finds the task of a claim while its token holds it; for statements that `held` runs."""
# Written once: making a statement costs as much as running it.
_MINE = Prepared(select(tasks).where(*ITS_HOLD).with_for_update())
_CLAIMED = Prepared(
    select(tasks.c.task_id, tasks.c.state, tasks.c.settled, tasks.c.attempts, tasks.c.stage)
    .where(*ITS_HOLD)
    .with_for_update()
)
_ITS_TASK = Prepared(update(tasks).where(tasks.c.task_id == bindparam("its_task")))
ITS_STEM = Prepared(
    update(stems).where(stems.c.task_id == bindparam("its_task"), stems.c.name == bindparam("its_name"))
)
"""Writes columns of one stem."""
_WANTED = stems.c.state == StemState.WANTED
_TO_FETCH = Prepared(
    select(
        func.count().filter(_WANTED).label("to_fetch"),
        func.count().filter(_WANTED & stems.c.url_cut).label("without_url"),
    ).where(stems.c.task_id == bindparam("its_task"))
)
_NEW_LINE = Prepared(insert(history))
_TALLY = Prepared(
    update(tallies)
    .where(tallies.c.state == bindparam("its_state"))
    .values(stems=tallies.c.stems + bindparam("count"), bytes=tallies.c.bytes + bindparam("size"))
)
_RECOUNT = Prepared(
    update(task_counts)
    .where(task_counts.c.state == bindparam("its_state"))
    .values(tasks=task_counts.c.tasks + bindparam("count"))
)

_NO_NEWS = (TaskEvent.NOT_READY, TaskEvent.LISTED, TaskEvent.RELISTED)
"""Events of which an operator who acknowledged a task need not know."""


def held(db: Connection, its: Prepared, claim: Claim) -> AnyRow:
    """Return what `its` selects of the claim's task; raise LeaseLost when its token no longer holds it."""
    row = its.first(db, {"its_task": claim.task_id, "its_token": claim.token})
    if row is None:
        raise LeaseLost(f"task {claim.task_id} was taken over or ended meanwhile")
    return row


def lock_task(db: Connection, claim: Claim) -> AnyRow:
    """Return the claim's task, locked; raise LeaseLost as `held` does."""
    return held(db, _MINE, claim)


def stem_of(db: Connection, task_id: TaskId, name: StemName) -> AnyRow:
    """Return the stem's row; raise IllegalMove when the task has none of that name."""
    row = db.execute(select(stems).where(stems.c.task_id == task_id, stems.c.name == name)).first()
    if row is None:
        raise IllegalMove(f"task {task_id} has no stem {name}")
    return row


def lock_for_stems(db: Connection, claim: Claim) -> AnyRow:
    """Return what the moves of its stems ask of the claim's task, locked; raise LeaseLost as `held` does."""
    return held(db, _CLAIMED, claim)


def change_task(db: Connection, task_id: TaskId, values: Mapping[str, Any]) -> None:
    """Write columns of a task that are not its state."""
    _ITS_TASK.write(db, {"its_task": task_id, **values})


def move_task(
    db: Connection, row: AnyRow, event: TaskEvent, *, at: datetime, detail: Mapping[str, object], **values: object
) -> None:
    """Let `event` happen to the task and write its other columns with it; raise IllegalMove."""
    recount(db, _move_task(db, row, event, at, detail, values))


def move_tasks(
    db: Connection,
    moves: Iterable[tuple[AnyRow, Mapping[str, object]]],
    event: TaskEvent,
    *,
    at: datetime,
    detail: Mapping[str, object],
) -> None:
    """Let `event` happen to many tasks, each with its other columns; raise IllegalMove."""
    counts: Counter[TaskState] = Counter()
    for row, values in moves:
        counts.update(_move_task(db, row, event, at, detail, values))
    recount(db, counts)


def _move_task(
    db: Connection,
    row: AnyRow,
    event: TaskEvent,
    at: datetime,
    detail: Mapping[str, object],
    values: Mapping[str, object],
) -> Mapping[TaskState, int]:
    """Return by how many the count of each state changes."""
    after = step_task(row.state, event)
    news: dict[str, object] = {} if event in _NO_NEWS else {"acknowledged_at": None}
    change_task(db, row.task_id, {"state": after, **news, **values})
    if after is row.state and _repeated(db, row.task_id, event, at, detail):
        return {}
    _NEW_LINE.write(db, _line(row.task_id, None, (event, row.state, after), at, detail))
    return {} if after is row.state else {row.state: -1, after: 1}


def recount(db: Connection, changes: Mapping[TaskState, int]) -> None:
    """Move the running counts of tasks by so many of each state; always after those of stems, see `tally`."""
    in_order = [{"its_state": state, "count": count} for state, count in sorted(changes.items()) if count]
    if in_order:
        _RECOUNT.write(db, *in_order)


@dataclass(frozen=True, slots=True)
class StemMove:
    """An event that happens to a stem, and the other columns that are written with it."""

    row: AnyRow
    event: StemEvent
    at: datetime
    detail: Mapping[str, object]
    values: Mapping[str, object]

    @property
    def size(self) -> int:
        """Bytes that it adds to the bucket; an alias has none of its own there."""
        size = self.values.get("size")
        return size if isinstance(size, int) and self.values.get("alias_of") is None else 0


def move_stem(
    db: Connection, row: AnyRow, event: StemEvent, *, at: datetime, detail: Mapping[str, object], **values: object
) -> None:
    """Let `event` happen to the stem and write its other columns with it; raise IllegalMove."""
    move_stems(db, [StemMove(row, event, at, detail, values)])


def move_stems(db: Connection, moves: Sequence[StemMove]) -> None:
    """Let all of `moves`, which write the same columns, happen; raise IllegalMove."""
    rows, lines = [], []
    counts: Counter[StemState] = Counter()
    for move in moves:
        before, after = move.row.state, step_stem(move.row.state, move.event)
        rows.append({"its_task": move.row.task_id, "its_name": move.row.name, "state": after, **move.values})
        lines.append(_line(move.row.task_id, move.row.name, (move.event, before, after), move.at, move.detail))
        counts[before] -= 1
        counts[after] += 1
    ITS_STEM.write(db, *rows)
    size = sum(move.size for move in moves)
    tally(db, *((state, count, size if count > 0 else 0) for state, count in counts.items()))
    _NEW_LINE.write(db, *lines)


def tally(db: Connection, *changes: tuple[StemState, int, int]) -> None:
    """Move the running totals of each state by so many stems and bytes."""
    # Always in one order: two transactions that lock them crosswise would stop each other.
    in_order = sorted(changes)
    _TALLY.write(db, *({"its_state": state, "count": count, "size": size} for state, count, size in in_order))


def stage_of(db: Connection, task_id: TaskId, state: TaskState, *, settled: bool) -> Stage:
    """Say which half of the path the task needs next, as its stems stand now."""
    (row,) = _TO_FETCH.all(db, {"its_task": task_id})
    return stage(state, row.to_fetch, row.without_url, settled=settled)


def stage(state: TaskState, to_fetch: int, without_url: int, *, settled: bool) -> Stage:
    """Say the same of a task with so many stems to fetch, so many of them without a whole URL."""
    if state is TaskState.QUEUED or not (to_fetch or settled):
        return Stage.LIST
    return Stage.LIST if to_fetch and to_fetch == without_url else Stage.STORE


def _line(
    task_id: TaskId,
    stem: StemName | None,
    move: tuple[TaskEvent, TaskState, TaskState] | tuple[StemEvent, StemState, StemState],
    at: datetime,
    detail: Mapping[str, object],
) -> dict[str, object]:
    """Return a row of `history`."""
    event, before, after = (word.value for word in move)
    row = {"task_id": task_id, "stem": stem, "at": at, "event": event, "before": before, "after": after}
    return {**row, "detail": dict(detail)}


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
