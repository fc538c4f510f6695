"""A record as the ledger keeps it: the stems that it lists, and the move that tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection, bindparam, insert, select

from archiver.adapters.ledger.database.prepared import Prepared
from archiver.adapters.ledger.moves import ITS_STEM, tally
from archiver.adapters.ledger.rows import AnyRow
from archiver.adapters.ledger.schema.tables import stems
from archiver.core.model import Claim, RecordInfo, StemSource, TaskId
from archiver.core.records.again import identity_of
from archiver.core.states import StemState, TaskState

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


def list_stems(db: Connection, task_id: TaskId, sources: tuple[StemSource, ...]) -> None:
    """Insert the stems that are new, and renew the sources of those that are not stored."""
    states = {row.name: row.state for row in STATES_OF_STEMS.all(db, {"its_task": task_id})}
    fresh = [
        {"task_id": task_id, "name": new.name, **_NEW, **_source(new)} for new in sources if new.name not in states
    ]
    if fresh:
        _NEW_STEMS.write(db, *fresh)
        tally(db, (StemState.WANTED, len(fresh), 0))
    for source in sources:
        # A stored stem keeps the URL that its bytes came from.
        if states.get(source.name, StemState.STORED) is not StemState.STORED:
            ITS_STEM.write(db, {"its_task": task_id, "its_name": source.name, **_source(source)})


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


STATES_OF_STEMS = Prepared(
    select(stems.c.name, stems.c.state, stems.c.size, stems.c.alias_of).where(stems.c.task_id == bindparam("its_task"))
)
_NEW_STEMS = Prepared(insert(stems))
