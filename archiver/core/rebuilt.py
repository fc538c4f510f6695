"""A task as its manifest has it, and where that tells too little, its record: column by column. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from archiver.core.answered import is_id
from archiver.core.chronicle import LEFT_OUT
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.manifest_read import Manifest, ManifestEvent, ManifestStem
from archiver.core.model import DEFAULT_ACCOUNT, Receipt, RecordInfo, Stage, StemName, StemRow
from archiver.core.records.facts import Parent
from archiver.core.records.facts_of import names_task
from archiver.core.records.kinds.names import KindName, Media
from archiver.core.records.record import record_in
from archiver.core.reports import Moved
from archiver.core.said import title_of
from archiver.core.states import StemEvent, StemState, TaskState
from archiver.core.text import is_address
from archiver.core.whole_task import WholeTask

REBUILT: Final = "rebuilt"
"""The source of a task of which no manifest tells any."""

_LONGEST_WORD: Final = 16
_LONGEST_KIND: Final = 32
_MOST_TRIES: Final = (1 << 31) - 1
_UNTOLD: Final = frozenset(
    {
        *("source", "account", "first_asked_at", "ended_at", "history", "flag", "reason"),
        *(f"stems.{column}" for column in ("url_cut", "attempts", "gone", "not_before")),
        "not_before",
    }
)
"""Columns that no manifest of format 1 tells."""
_SETTLED: Final = {TaskState.ARCHIVED, TaskState.LOST, TaskState.LISTED}
_ENDS_WITH: Final = {
    TaskState.ARCHIVED: {StemState.STORED},
    TaskState.LOST: {StemState.STORED, StemState.LOST},
    TaskState.LISTED: {StemState.STORED, StemState.LOST, StemState.REFUSED},
}
"""The states of stems that a task may have whose manifest tells that state."""


def rebuilt(manifest: Manifest, folder: str, record: bytes | None = None) -> WholeTask:
    """Return the task of a manifest that stands in `folder`, which ends in "/"; raise ManifestBroken.

    Its objects have the names that the manifest gives them beside itself. `record` is record-info.json, if there is
    one: it is needed unless the task is archived, and of format 1.
    """
    state, stems = _state(manifest), tuple(sorted((_stem(each, folder) for each in manifest.stems), key=_name))
    if not {row.state for row in stems} <= _ENDS_WITH.get(state, set(StemState)):
        raise ManifestBroken(f"it says {state.value}, and not of its stems")
    if manifest.accepted_at is None or (state is TaskState.LISTED and manifest.deadline is None):
        raise ManifestBroken("it lacks a time that every task has")
    document = "" if record is None else record.decode(errors="replace")
    read = record_in(document, _kind(manifest)) if manifest.format == 1 and document else None
    return WholeTask(
        task_id=manifest.task_id,
        state=state,
        accepted_at=manifest.accepted_at,
        source=REBUILT if manifest.source is None else manifest.source,
        account=manifest.account or DEFAULT_ACCOUNT,
        first_asked_at=manifest.first_asked_at,
        created_at=manifest.created_at,
        completed_at=manifest.completed_at,
        deadline=manifest.deadline,
        ended_at=None if state is TaskState.LISTED else manifest.ended_at,
        not_before=_earliest(stems) if state is TaskState.LISTED else None,
        stage=Stage.STORE if state in _SETTLED else Stage.LIST,
        settled=state in _SETTLED,
        flag=(read.flag if read else "") if manifest.flag is None else manifest.flag,
        reason=_reason(state, stems) if manifest.reason is None else manifest.reason,
        document="" if state is TaskState.ARCHIVED else document,
        kind=_short(manifest.kind, _LONGEST_KIND) or None,
        title=title_of(manifest.title),
        parent=manifest.parent,
        track=_track(manifest, read),
        stems=stems,
        history=_moves(manifest.events, stems),
        tracks={each.id: title_of(each.title) for each in manifest.tracks if is_id(each.id)} or None,
        untold=_untold(manifest),
    )


def needs_record(manifest: Manifest) -> bool:
    """Return whether the record is needed beside the manifest."""
    return manifest.format == 1 or manifest.state != TaskState.ARCHIVED


def _state(manifest: Manifest) -> TaskState:
    try:
        state = TaskState(manifest.state)
    except ValueError:
        raise ManifestBroken("a later version wrote it: it names a state that is not known here") from None
    if state is TaskState.QUEUED:
        raise ManifestBroken("it tells a state that no manifest tells")
    return state


def _stem(stem: ManifestStem, folder: str) -> StemRow:
    try:
        state, media = StemState(stem.state), Media(stem.media)
    except ValueError:
        raise ManifestBroken("a later version wrote it: it says of a stem what is not known here") from None
    if max(stem.attempts, stem.gone) > _MOST_TRIES or "?" in stem.source_url:
        raise ManifestBroken("it says of a stem what no ledger can hold")
    address = is_address(stem.source_url)
    # A link that is asked for without need costs a question; one that is used without its query, an answer of "gone".
    cut = address and state is not StemState.STORED if stem.url_cut is None else stem.url_cut
    return StemRow(
        name=stem.name,
        state=state,
        url=None if cut else stem.source_url if address else "",
        url_shown=stem.source_url,
        field=stem.field,
        duration=stem.duration,
        attempts=stem.attempts,
        gone=stem.gone,
        not_before=stem.not_before,
        reason=stem.doubt if stem.is_stored else stem.reason,
        receipt=_receipt(stem, folder) if stem.is_stored else None,
        media=media,
    )


def _receipt(stem: ManifestStem, folder: str) -> Receipt:
    if stem.path_fault or not stem.size or stem.stored_at is None:
        raise ManifestBroken(f"of a stored stem it cannot be told where it is: {stem.path_fault or 'it has no time'}")
    return Receipt(
        key=f"{folder}{stem.path}",
        size=stem.size,
        sha256=stem.sha256,
        etag=stem.etag,
        content_type=stem.content_type,
        stored_at=stem.stored_at,
        alias_of=stem.alias_of,
        doubt=stem.doubt,
    )


def _untold(manifest: Manifest) -> frozenset[str]:
    if manifest.format == 1:
        return _UNTOLD
    return frozenset({"history"} if any(event.event == LEFT_OUT for event in manifest.events) else ())


def _moves(events: Sequence[ManifestEvent], stems: Sequence[StemRow]) -> tuple[Moved, ...]:
    receipts = {row.name: row.receipt for row in stems}
    return tuple(_moved(event, receipts) for event in events)


def _moved(event: ManifestEvent, receipts: Mapping[StemName, Receipt | None]) -> Moved:
    """Return the line of history that an event is; several that were folded are one, as the ledger folds them."""
    for word in (event.event, event.before, event.after):
        _short(word, _LONGEST_WORD)
    detail = dict(event.detail or {})
    if event.until is not None:
        detail |= {"times": event.times, "since": event.at.isoformat()}
    if event.event == StemEvent.STORED and event.stem is not None:
        detail = _stored(receipts.get(event.stem)) | detail
    return Moved(event.until or event.at, event.stem, event.event, event.before, event.after, detail)


def _stored(receipt: Receipt | None) -> dict[str, object]:
    if receipt is None:
        raise ManifestBroken("it tells that a stem was stored, and not where")
    return {"key": receipt.key, "bytes": receipt.size, "sha256": receipt.sha256}


def _earliest(stems: Sequence[StemRow]) -> datetime | None:
    return min((row.not_before for row in stems if row.not_before is not None), default=None)


def _reason(state: TaskState, stems: Sequence[StemRow]) -> str:
    """Return the reason that such an end has; see archiver.pipeline.attempt."""
    if state is TaskState.LOST:
        return ", ".join(f"{row.name} ({row.reason})" for row in stems if row.state is StemState.LOST)
    refused = [row.reason for row in stems if row.state is StemState.REFUSED]
    return refused[0] if state is TaskState.LISTED and refused else ""


def _track(manifest: Manifest, read: RecordInfo | None) -> str | None:
    """Return the first track that it was made from."""
    parents: Sequence[Parent] = manifest.made_from or (read.facts.parents if read else ())
    named = (each.id for each in parents if not names_task(each.field))
    return next((each for each in named if is_id(each) and each != manifest.task_id), None)


def _kind(manifest: Manifest) -> KindName:
    return KindName(manifest.kind) if manifest.kind in set(KindName) else KindName.SEPARATION


def _short(word: str, most: int) -> str:
    if len(word) > most:
        raise ManifestBroken("a word of it is longer than any that is known")
    return word


def _name(row: StemRow) -> str:
    return row.name
