"""Progress of a task along its path: the answer, each stem, the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import assert_never

from sqlalchemy import Connection, bindparam, select

from archiver.adapters.ledger.answers import answer, note_tracks
from archiver.adapters.ledger.backed_off import failed_at
from archiver.adapters.ledger.claimable import NOW, Wanted, asked, claimable
from archiver.adapters.ledger.database.prepared import Prepared
from archiver.adapters.ledger.database.transactions import LedgerPart, Transactions, outage_retry
from archiver.adapters.ledger.leases import LEASE_ENDS
from archiver.adapters.ledger.listed import STEMS_THERE, Columns, list_stems, listing_detail, with_urls
from archiver.adapters.ledger.moves import (
    ITS_HOLD,
    ITS_STEM,
    StemMove,
    change_task,
    held,
    lock_for_stems,
    lock_task,
    move_stem,
    move_stems,
    move_task,
    stage,
    stage_of,
    stem_of,
)
from archiver.adapters.ledger.rows import AnyRow, claim_of, history_of, stem_row
from archiver.adapters.ledger.schema.keys import IS_LISTED, IS_QUEUED
from archiver.adapters.ledger.schema.tables import history, stems, tasks
from archiver.adapters.ledger.schema.types import UtcTime
from archiver.core import plan
from archiver.core.answered import first_asked
from archiver.core.chronicle import Chronicle
from archiver.core.model import (
    AccountName,
    Archived,
    Claim,
    Failed,
    Later,
    Lost,
    Missing,
    Outcome,
    Paused,
    Receipt,
    RecordInfo,
    Refused,
    Stage,
    StemName,
    StemRow,
    TaskId,
    Yielded,
)
from archiver.core.states import IllegalMove, StemEvent, StemState, TaskEvent, TaskState


class SqlProgress(LedgerPart):
    """The Progress of `ports.ledger` in a SQL database."""

    def __init__(self, db: Transactions) -> None:
        super().__init__(db)
        self._stored = db.group(_stored)

    @outage_retry
    def more_urgent_waits(
        self, claim: Claim, deadline: datetime, now: datetime, blocked_accounts: Collection[AccountName] = ()
    ) -> bool:
        """See Progress."""
        wanted = Wanted(some_blocked=bool(blocked_accounts))
        values = asked(self._db.longest_wait, now, blocked_accounts, its_task=claim.task_id, deadline=deadline)
        listed = "nearer deadline" if deadline > now else "any deadline"
        with self._db.read() as db:
            return any(_another(wanted, which).first(db, values) is not None for which in ("never asked about", listed))

    @outage_retry
    def listed(self, claim: Claim, record: RecordInfo, deadline: datetime, *, settled: bool, now: datetime) -> Claim:
        """See Progress."""
        with self._db.write() as db:
            task = lock_task(db, claim)
            list_stems(db, claim.task_id, record, now)
            note_tracks(db, claim.task_id, record)
            move_task(
                db,
                task,
                TaskEvent.LISTED if task.state is TaskState.QUEUED else TaskEvent.RELISTED,
                at=now,
                detail=listing_detail(task, record, settled=settled),
                **answer(task, record, now),
                deadline=deadline,
                urgency=plan.urgency(deadline, task.accepted_at),
                settled=settled,
                awaited=False,
                stage=stage_of(db, claim.task_id, TaskState.LISTED, settled=settled),
            )
            fresh = with_urls(claim_of(db, lock_task(db, claim)), record)
        self._db.checkpoint("ledger.listed")
        return fresh

    @outage_retry
    def stored(self, claim: Claim, receipts: Mapping[StemName, Receipt]) -> None:
        """See Progress."""
        self._stored.write(_Stored(claim, receipts))
        self._db.checkpoint("ledger.stem_stored")

    @outage_retry
    def stem_failed(
        self,
        claim: Claim,
        stem: StemName,
        *,
        event: StemEvent | None,
        reason: str,
        gone: bool,
        not_before: datetime | None,
        now: datetime,
    ) -> None:
        """See Progress."""
        with self._db.write() as db:
            task, row = lock_task(db, claim), stem_of(db, claim.task_id, stem)
            values = {
                "attempts": row.attempts + 1,
                "gone": row.gone + gone,
                "reason": reason,
                "not_before": not_before,
            }
            if event is not None:
                news = {} if _is_refused_again(db, row, event, reason) else {"acknowledged_at": None}
                move_stem(db, row, event, at=now, detail={"reason": reason}, **values)
                change_task(db, claim.task_id, {**_stage(db, task), **news})
            elif row.state is StemState.WANTED:
                ITS_STEM.write(db, {"its_task": claim.task_id, "its_name": stem, **values})
            else:
                raise IllegalMove(f"stem {stem} of task {claim.task_id} is {row.state}: nothing was to be tried")
        self._db.checkpoint("ledger.stem_failed")

    @outage_retry
    def stem_retried(self, claim: Claim, stem: StemName, *, now: datetime) -> StemRow:
        """See Progress."""
        with self._db.write() as db:
            task, row = lock_task(db, claim), stem_of(db, claim.task_id, stem)
            if row.state is not StemState.REFUSED:
                raise IllegalMove(f"stem {stem} of task {claim.task_id} is {row.state}: only an operator may retry it")
            move_stem(db, row, StemEvent.RETRIED, at=now, detail={"by": "schedule"}, not_before=None)
            change_task(db, claim.task_id, _stage(db, task))
            retried = stem_row(stem_of(db, claim.task_id, stem))
        self._db.checkpoint("ledger.stem_retried")
        return retried

    @outage_retry
    def chronicle(self, claim: Claim) -> Chronicle:
        """See Progress."""
        with self._db.read() as db:
            task = held(db, _CHRONICLED, claim)
            cut = frozenset(row.name for row in _CUT.all(db, {"its_task": claim.task_id}))
            return Chronicle(task.source, task.flag, task.first_asked_at, cut, history_of(db, claim.task_id))

    @outage_retry
    def confirm(self, claim: Claim) -> None:
        """See Progress."""
        with self._db.read() as db:
            held(db, _HELD, claim)

    @outage_retry
    def finish(self, claim: Claim, outcome: Outcome, *, record: RecordInfo | None, now: datetime) -> None:
        """See Progress."""
        with self._db.write() as db:
            _finish(db, lock_task(db, claim), outcome, record, now)
        self._db.checkpoint("ledger.finished")


_HELD = Prepared(select(tasks.c.task_id).where(*ITS_HOLD))
_CHRONICLED = Prepared(select(tasks.c.source, tasks.c.flag, tasks.c.first_asked_at).where(*ITS_HOLD))
_CUT = Prepared(select(stems.c.name).where(stems.c.task_id == bindparam("its_task"), stems.c.url_cut))


@cache
def _another(wanted: Wanted, which: str) -> Prepared:
    """Return the statement that finds a task that may be claimed beside `its_task`."""
    # By the range of urgencies in the index, however many were asked about before.
    fresh = (tasks.c.stage == Stage.LIST, tasks.c.urgency <= NOW)
    never_asked = (*fresh, IS_QUEUED, tasks.c.first_asked_at.is_(None), tasks.c.attempts == 0)
    listed = (IS_LISTED, tasks.c.deadline > NOW)
    conditions = {
        "never asked about": never_asked,
        "nearer deadline": (*listed, tasks.c.deadline < bindparam("deadline", type_=UtcTime)),
        "any deadline": listed,
    }
    another = tasks.c.task_id != bindparam("its_task")
    return Prepared(select(tasks.c.task_id).where(another, *conditions[which], claimable(wanted)).limit(1))


def _is_refused_again(db: Connection, row: AnyRow, event: StemEvent, reason: str) -> bool:
    """Return whether the stem was refused before, for the same reason, and was only looked at again by schedule."""
    if event is not StemEvent.REFUSED or reason != row.reason:
        return False
    its = (history.c.task_id == row.task_id, history.c.stem == row.name, history.c.event != StemEvent.MOVED)
    last = db.execute(select(history).where(*its).order_by(history.c.id.desc()).limit(1)).first()
    return last is not None and last.event == StemEvent.RETRIED and last.detail.get("by") == "schedule"


@dataclass(frozen=True, slots=True)
class _Stored:
    """Stems of a task whose objects are complete."""

    claim: Claim
    receipts: Mapping[StemName, Receipt]


_STEMS = Prepared(
    select(stems.c.task_id, stems.c.name, stems.c.state, stems.c.url_cut).where(
        stems.c.task_id == bindparam("its_task")
    )
)


def _stored(db: Connection, finished: Sequence[_Stored]) -> None:
    """Write down finished objects: successes, so their tasks' failures are forgotten."""
    # Task by task, as there are few at a time: a statement with a list of them takes as long as several without.
    moves = list[StemMove]()
    for each in finished:
        task = lock_for_stems(db, each.claim)
        rows = {row.name: row for row in _STEMS.all(db, {"its_task": task.task_id})}
        moves += [_store_move(rows.get(name), each.claim, name, receipt) for name, receipt in each.receipts.items()]
        left = [row for row in rows.values() if row.state is StemState.WANTED and row.name not in each.receipts]
        next_stage = stage(task.state, len(left), sum(row.url_cut for row in left), settled=task.settled)
        if task.attempts or task.stage is not next_stage:
            change_task(db, task.task_id, {"attempts": 0, "stage": next_stage})
    move_stems(db, moves)


def _store_move(row: AnyRow | None, claim: Claim, name: StemName, receipt: Receipt) -> StemMove:
    if row is None:
        raise IllegalMove(f"task {claim.task_id} has no stem {name}")
    return StemMove(
        row,
        StemEvent.STORED,
        at=receipt.stored_at,
        detail={"key": receipt.key, "bytes": receipt.size, "sha256": receipt.sha256},
        values={
            "key": receipt.key,
            "size": receipt.size,
            "sha256": receipt.sha256,
            "etag": receipt.etag,
            "content_type": receipt.content_type,
            "stored_at": receipt.stored_at,
            "alias_of": receipt.alias_of,
            "attempts": 0,
            "not_before": None,
            "reason": receipt.doubt,
        },
    )


def _stage(db: Connection, task: AnyRow) -> Columns:
    stage = stage_of(db, task.task_id, task.state, settled=task.settled)
    return {"stage": stage, "urgency": plan.urgency(task.deadline, task.accepted_at)}


def _finish(db: Connection, task: AnyRow, outcome: Outcome, record: RecordInfo | None, now: datetime) -> None:
    if task.deaths and not isinstance(outcome, Paused | Yielded):
        # A try that came to its end took nobody down; one that was given back proves nothing.
        change_task(db, task.task_id, {"deaths": 0})
    match outcome:
        case Archived():
            size = _check_stems(db, task, only={StemState.STORED}, one_of=StemState.STORED)
            # From here on record-info.json holds the answer.
            answered = {**answer(task, record, now), "document": "", "bytes_stored": size}
            _end(db, task, TaskEvent.ALL_STORED, "", now, answered)
        case Lost(reason=reason):
            # Of one that was adopted by its objects alone nobody knows whether there were more.
            one_of = None if _is_adopted(db, task.task_id) else StemState.LOST
            size = _check_stems(db, task, only={StemState.STORED, StemState.LOST}, one_of=one_of)
            answered = {**answer(task, record, now), "bytes_stored": size}
            _end(db, task, TaskEvent.STEMS_LOST, reason, now, answered)
        case Failed(reason=reason):
            _end(db, task, TaskEvent.PROVIDER_FAILED, reason, now, answer(task, record, now))
        case Missing(reason=reason):
            _end(db, task, TaskEvent.NEVER_SEEN, reason, now, answer(task, record, now))
        case Later():
            _postpone(db, task, outcome, record, now)
        case Refused(reason=reason, at=at):
            if task.state is not TaskState.LISTED:
                raise IllegalMove(f"task {task.task_id} is {task.state}: it has no stems to refuse")
            values = {"not_before": at, "awaited": False, "reason": reason}
            change_task(db, task.task_id, {**answer(task, record, now), **values, **LEASE_ENDS})
        case Paused(at=at) | Yielded(at=at):
            subjects = (outcome.subject,) if isinstance(outcome, Paused) else outcome.waits_for
            waits_for = " ".join(subject.key for subject in subjects) or None
            put_off = {} if at is None else {"not_before": at, "awaited": False, "waits_for": waits_for}
            change_task(db, task.task_id, {**answer(task, record, now), **put_off, **LEASE_ENDS})
        case _:
            assert_never(outcome)


def _is_adopted(db: Connection, task_id: TaskId) -> bool:
    its = (history.c.task_id == task_id, history.c.stem.is_(None), history.c.event == TaskEvent.ADOPTED.value)
    return db.execute(select(history.c.id).where(*its).limit(1)).first() is not None


def _check_stems(db: Connection, task: AnyRow, *, only: set[StemState], one_of: StemState | None) -> int:
    """Return the bytes that are stored of it; an alias has none of its own.

    Raises IllegalMove unless every stem is in one of the states `only`, and at least one in `one_of`, if given. A
    settled task may have none at all: nothing of it was wanted.
    """
    rows = STEMS_THERE.all(db, {"its_task": task.task_id})
    counts = Counter(row.state for row in rows)
    is_empty = not counts and task.settled and one_of is StemState.STORED
    lacks = not counts if one_of is None else one_of not in counts
    if not counts.keys() <= only or (lacks and not is_empty):
        standing = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"
        raise IllegalMove(f"task {task.task_id} cannot end so with these stems: {standing}")
    return sum(row.size for row in rows if row.state is StemState.STORED and row.alias_of is None)


def _end(db: Connection, task: AnyRow, event: TaskEvent, reason: str, now: datetime, answered: Columns) -> None:
    ended = {"ended_at": now, "not_before": None, "awaited": False, "reason": reason}
    detail = {"reason": reason} if reason else {}
    move_task(db, task, event, at=now, detail=detail, **answered, **ended, **LEASE_ENDS)


def _postpone(db: Connection, task: AnyRow, later: Later, record: RecordInfo | None, now: datetime) -> None:
    values = {
        **answer(task, record, now),
        "not_before": later.at,
        "awaited": not later.fault,
        "reason": later.reason,
        "waits_for": failed_at(later.failed_at),
        **LEASE_ENDS,
    }
    if task.stage is Stage.LIST and (task.state is TaskState.QUEUED or not later.fault):
        values["urgency"] = plan.urgency_of_asked(now)
    if later.fault:
        change_task(db, task.task_id, {**values, "attempts": task.attempts + 1})
        return
    values |= {"asks": task.asks + 1, "first_asked_at": first_asked(task.first_asked_at, record, now)}
    if task.state is TaskState.QUEUED:
        move_task(db, task, TaskEvent.NOT_READY, at=now, detail={"reason": later.reason}, **values)
    else:
        change_task(db, task.task_id, values)
