"""A record as the ledger keeps it: the stems that it lists, and the move that tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, insert, select

from archiver.adapters.ledger.database.prepared import Prepared
from archiver.adapters.ledger.moves import ITS_STEM, StemMove, move_stems, tally
from archiver.adapters.ledger.rows import AnyRow
from archiver.adapters.ledger.schema.tables import stems
from archiver.core.model import Claim, RecordInfo, StemSource, TaskId
from archiver.core.records.again import MOVED_FROM, identity_of, is_identity
from archiver.core.states import StemEvent, StemState, TaskState

Columns = Mapping[str, object]
"""Values, by the names of columns."""

MOST_NAMED = 20
"""Things left out that one move names; the manifest has them all."""


def listing_detail(task: AnyRow, record: RecordInfo, *, settled: bool) -> dict[str, object]:
    """Return the details of the move; what the record leaves out is named in the first one."""
    named = [f"{left.field} ({left.kind})" for left in record.left_out[:MOST_NAMED]]
    more = len(record.left_out) - len(named)
    left_out = ", ".join([*named, f"{more} more"] if more else named)
    first = bool(left_out) and task.state is TaskState.QUEUED
    detail = {"flag": record.flag, "stems": len(record.stems), "settled": settled}
    return detail | {"not_taken": left_out} if first else detail


def list_stems(db: Connection, task_id: TaskId, record: RecordInfo, now: datetime) -> None:
    """Insert the stems that are new, and renew the sources of those that are not stored.

    Where a final record has such a one elsewhere, a row of history keeps the address of before.
    """
    sources, is_final = record.stems, record.phase.is_final
    rows = {row.name: row for row in STEMS_THERE.all(db, {"its_task": task_id})}
    fresh = [{"task_id": task_id, "name": new.name, **_NEW, **_source(new)} for new in sources if new.name not in rows]
    if fresh:
        _NEW_STEMS.write(db, *fresh)
        tally(db, (StemState.WANTED, len(fresh), 0))
    moved = []
    for source in sources:
        row = rows.get(source.name)
        # A stored stem keeps the URL that its bytes came from.
        if row is None or row.state is StemState.STORED:
            continue
        values = _source(source)
        if is_final and is_identity(row.shown_url) and row.shown_url != values["shown_url"]:
            moved.append(StemMove(row, StemEvent.MOVED, at=now, detail={MOVED_FROM: row.shown_url}, values=values))
        else:
            ITS_STEM.write(db, {"its_task": task_id, "its_name": source.name, **values})
    if moved:
        move_stems(db, moved)


_NEW: Columns = {"state": StemState.WANTED, "attempts": 0, "gone": 0, "reason": ""}


def _source(source: StemSource) -> dict[str, object]:
    shown = identity_of(source)
    return {
        "shown_url": shown,
        "url_cut": bool(source.url) and shown != source.url,
        "field": source.field,
        "duration": source.duration,
        "media": source.media,
    }


def with_urls(claim: Claim, record: RecordInfo) -> Claim:
    """Return the claim with the addresses as the record has them: those that are kept nowhere too."""
    urls = {source.name: source.url for source in record.stems}
    return replace(claim, stems=tuple(replace(row, url=urls.get(row.name, row.url)) for row in claim.stems))


_THERE: Final = (stems.c.task_id, stems.c.name, stems.c.state, stems.c.size, stems.c.alias_of, stems.c.shown_url)
STEMS_THERE = Prepared(select(*_THERE).where(stems.c.task_id == bindparam("its_task")))
_NEW_STEMS = Prepared(insert(stems))
