"""Answers of the provider, as the columns of a task that they fill."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.rows import AnyRow
from archiver.adapters.ledger.schema.tables import tracks
from archiver.core.answered import first_asked, is_id, parent_in
from archiver.core.model import Phase, RecordInfo, TaskId
from archiver.core.said import title_of
from archiver.core.settling import saying


def answer(task: AnyRow, record: RecordInfo | None, now: datetime) -> dict[str, object]:
    """Return the columns that an answer fills; what it leaves out stays as it was.

    The kind that first knows the task is the one that it is asked about as from then on.
    """
    if record is None:
        return {}
    says = saying(record)
    return {
        "first_asked_at": first_asked(task.first_asked_at, record, now),
        "created_at": record.created_at or task.created_at,
        "completed_at": record.completed_at or task.completed_at,
        "flag": record.flag or task.flag,
        "document": record.document or task.document,
        "kind": task.kind or (None if record.phase is Phase.ABSENT else record.kind.value),
        "title": task.title or title_of(record.facts.title) or None,
        "parent": task.parent or parent_in(task.task_id, record),
        "track": parent_in(task.task_id, record, is_task=False) or task.track,
        "saying": says,
        "said_since": task.said_since if says == task.saying else now,
    }


def note_tracks(db: Connection, of: TaskId, record: RecordInfo) -> None:
    """Keep the tracks that the record names: what is made from one names it, and not the task."""
    named = {each.id: title_of(each.title) for each in record.facts.tracks if is_id(each.id)}
    if named:
        rows = [{"track": track, "task_id": of, "title": title} for track, title in named.items()]
        db.execute(insert(db, tracks).on_conflict_do_nothing(), rows)
