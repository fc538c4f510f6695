"""A task after an answer of the provider: what the answer leaves out stays as it was. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from archiver.core.model import Claim, Phase, RecordInfo, TaskId, task_id
from archiver.core.said import title_of


def answered(claim: Claim, record: RecordInfo | None) -> Claim:
    """Return what is known of the task after that answer, as the ledger will have it."""
    if record is None:
        return claim
    return replace(
        claim,
        created_at=record.created_at or claim.created_at,
        completed_at=record.completed_at or claim.completed_at,
        document=record.document or claim.document,
        kind=claim.kind or (None if record.phase is Phase.ABSENT else record.kind),
        title=claim.title or title_of(record.facts.title),
        parent=claim.parent or parent_in(claim.task_id, record),
    )


def parent_in(of: TaskId, record: RecordInfo, *, is_task: bool = True) -> TaskId | None:
    """Return the first task, or track, that the record says it was made from."""
    named = (parent.id for parent in record.facts.parents if parent.is_task is is_task)
    return next((TaskId(each) for each in named if is_id(each) and each != of), None)


def is_id(text: str) -> bool:
    """Return whether that can be an id."""
    try:
        return bool(task_id(text))
    except ValueError:
        return False


def first_asked(before: datetime | None, record: RecordInfo | None, now: datetime) -> datetime:
    """Return when the task was first asked about; by the provider's clock where ours is behind, and never later on."""
    at_most = max(now, (record and record.answered_at) or now)
    return at_most if before is None else min(before, at_most)
