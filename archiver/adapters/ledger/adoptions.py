"""Adoptions: what the bucket tells of a task, written down under its lease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from archiver.adapters.ledger.database.transactions import LedgerPart, outage_retry
from archiver.adapters.ledger.moves import (
    change_task,
    lock_task,
    move_stem,
    move_task,
    recount,
    stage_of,
    stem_of,
    tally,
)
from archiver.adapters.ledger.rebuilds import stem_values, tally_stems, track_values
from archiver.adapters.ledger.rows import AnyRow, claim_of, history_of
from archiver.adapters.ledger.schema.tables import history, stems, tracks
from archiver.core import plan
from archiver.core.model import DEFAULT_ACCOUNT, Claim, Receipt, StemRow
from archiver.core.reports import Moved
from archiver.core.states import IllegalMove, StemEvent, StemState, TaskEvent, TaskState, step_task
from archiver.core.whole_task import WholeTask

_WITH_AUDIO = {TaskState.ARCHIVED, TaskState.LOST, TaskState.LISTED}
_ENDS = {TaskEvent.ALL_STORED.value, TaskEvent.STEMS_LOST.value}


class SqlAdoptions(LedgerPart):
    """The Adoptions of `ports.adoption` in a SQL database."""

    @outage_retry
    def take(self, claim: Claim, whole: WholeTask, *, now: datetime) -> Claim:
        """See Adoptions."""
        with self._db.write() as db:
            task = lock_task(db, claim)
            known = db.execute(select(stems.c.name).where(stems.c.task_id == claim.task_id).limit(1)).first()
            if task.state is not TaskState.QUEUED or known is not None:
                raise IllegalMove(f"task {claim.task_id} is {task.state}, or has stems: it has a memory of its own")
            _take(db, task, whole, now)
            taken = claim_of(db, lock_task(db, claim))
        self._db.checkpoint("ledger.listed")
        return taken

    @outage_retry
    def adopt(self, claim: Claim, found: Sequence[StemRow], *, now: datetime) -> Claim:
        """See Adoptions."""
        with self._db.write() as db:
            task = lock_task(db, claim)
            for row in found:
                _adopt(db, claim, row, now)
            settled = task.settled
            if task.state is TaskState.QUEUED:
                settled, deadline = True, task.deadline or task.accepted_at
                urgency = plan.urgency(deadline, task.accepted_at)
                values = {"settled": True, "deadline": deadline, "urgency": urgency, "awaited": False}
                move_task(db, task, TaskEvent.ADOPTED, at=now, detail={"stems": len(found)}, **values)
            stage = stage_of(db, claim.task_id, TaskState.LISTED, settled=settled)
            change_task(db, claim.task_id, {"stage": stage, "attempts": 0})
            taken = claim_of(db, lock_task(db, claim))
        self._db.checkpoint("ledger.stem_stored")
        return replace(taken, document=claim.document or taken.document)


def _take(db: Connection, task: AnyRow, whole: WholeTask, now: datetime) -> None:
    of = whole.task_id
    _take_history(db, task, whole, now)
    if whole.state in _WITH_AUDIO:
        _insert_stems(db, whole)
        change_task(db, of, _with_audio(db, task, whole))
        recount(db, {task.state: -1, TaskState.LISTED: 1})
    else:
        change_task(db, of, _without(task, whole))


def _take_history(db: Connection, task: AnyRow, whole: WholeTask, now: datetime) -> None:
    """Add what the ledger does not know of the manifest's history; the same once more changes nothing."""
    own = history_of(db, whole.task_id)
    known = {(each.at, each.stem, each.event) for each in own}
    lines = [each for each in whole.history if (each.at, each.stem, each.event) not in known]
    if whole.state not in _WITH_AUDIO:
        lines += [_asked_again(whole, now)] if lines else []
    elif not whole.history:
        after = step_task(TaskState.QUEUED, TaskEvent.ADOPTED)
        detail = {"stems": len(whole.stems)}
        lines.append(Moved(now, None, TaskEvent.ADOPTED.value, task.state.value, after.value, detail))
    elif lines and lines[-1].event in _ENDS:
        lines.pop()  # it is written with the end
    if lines:
        db.execute(delete(history).where(history.c.task_id == whole.task_id))
        whole_history = sorted([*lines, *own], key=lambda each: each.at) if own else lines
        db.execute(insert(history), [_line(whole, moved) for moved in whole_history])


def _asked_again(whole: WholeTask, now: datetime) -> Moved:
    after = step_task(whole.state, TaskEvent.RETRIED)
    return Moved(now, None, TaskEvent.RETRIED.value, whole.state.value, after.value, {"by": "adoption"})


def _insert_stems(db: Connection, whole: WholeTask) -> None:
    rows = [stem_values(whole.task_id, row) for row in whole.stems]
    if rows:
        db.execute(insert(stems), rows)
        tally_stems(db, whole.stems)
    names = [track_values(whole, *each) for each in (whole.tracks or {}).items()]
    known = db.execute(select(tracks.c.track).where(tracks.c.task_id == whole.task_id)).scalars().all()
    if fresh := [each for each in names if each["track"] not in known]:
        db.execute(insert(tracks), fresh)


def _common(task: AnyRow, whole: WholeTask) -> dict[str, object]:
    named = {
        "account": None if whole.account == DEFAULT_ACCOUNT else whole.account,
        "kind": whole.kind or task.kind,
        "title": whole.title or task.title,
        "parent": whole.parent or task.parent,
        "track": whole.track or task.track,
    }
    as_it_is = ("source", "accepted_at", "created_at", "completed_at", "flag", "document")
    return {**named, **{name: getattr(whole, name) for name in as_it_is}}


def _with_audio(db: Connection, task: AnyRow, whole: WholeTask) -> dict[str, object]:
    deadline = whole.deadline or whole.accepted_at
    return {
        **_common(task, whole),
        "state": TaskState.LISTED,
        "first_asked_at": whole.first_asked_at,
        "deadline": deadline,
        "urgency": plan.urgency(deadline, whole.accepted_at),
        "settled": True,
        "awaited": False,
        "reason": whole.reason,
        "stage": stage_of(db, whole.task_id, TaskState.LISTED, settled=True),
    }


def _without(task: AnyRow, whole: WholeTask) -> dict[str, object]:
    """Return the columns of a task that is asked about again, by the account and as the kind that were named now."""
    kept = {"account": task.account, "kind": task.kind}
    urgency = plan.urgency(whole.deadline, whole.accepted_at)
    return {**_common(task, whole), **kept, "deadline": whole.deadline, "urgency": urgency}


def _adopt(db: Connection, claim: Claim, row: StemRow, now: datetime) -> None:
    receipt = row.receipt
    if receipt is None:
        raise IllegalMove(f"stem {row.name} of task {claim.task_id} has no receipt")
    its = (stems.c.task_id == claim.task_id, stems.c.name == row.name)
    if db.execute(select(stems.c.name).where(*its)).first() is None:
        wanted = replace(row, state=StemState.WANTED, receipt=None, attempts=0, gone=0, not_before=None, reason="")
        db.execute(insert(stems), [stem_values(claim.task_id, wanted)])
        tally(db, (StemState.WANTED, 1, 0))
    detail = {"key": receipt.key, "bytes": receipt.size, "sha256": receipt.sha256}
    values = {**_received(receipt), "attempts": 0, "not_before": None, "reason": receipt.doubt}
    move_stem(db, stem_of(db, claim.task_id, row.name), StemEvent.ADOPTED, at=now, detail=detail, **values)


def _received(receipt: Receipt) -> dict[str, object]:
    columns = ("key", "size", "sha256", "etag", "content_type", "stored_at", "alias_of")
    return {name: getattr(receipt, name) for name in columns}


def _line(whole: WholeTask, moved: Moved) -> dict[str, object]:
    words = {name: getattr(moved, name) for name in ("stem", "at", "event", "before", "after")}
    return {"task_id": whole.task_id, **words, "detail": dict(moved.detail)}
