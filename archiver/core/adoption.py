"""Objects that no manifest names: which of them are ours, and the receipt that they are given. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from archiver.core.model import Receipt, Stage, StemName, StemRow, TaskId
from archiver.core.records.kinds.names import Media
from archiver.core.reports import Moved
from archiver.core.states import StemEvent, StemState, TaskState
from archiver.core.whole_task import WholeTask

SIDECARS: Final = frozenset({"manifest.json", "record-info.json"})
_SHA256, _STEM, _TASK = "sha256", "stem", "task-id"


@dataclass(frozen=True, slots=True)
class AdoptedObject:
    """An object that was read whole, and is ours by its metadata."""

    stem: StemName
    receipt: Receipt
    media: Media = Media.AUDIO


def stem_named(metadata: Mapping[str, str], task: TaskId) -> StemName | None:
    """Return the stem that an object's metadata says it is, where it is of this task; None for a foreign object."""
    stem = metadata.get(_STEM, "")
    return StemName(stem) if stem and metadata.get(_TASK) == task else None


def damage(metadata: Mapping[str, str], checksums: Mapping[str, str], sha256: str, crc32: int) -> str:
    """Return why bytes with these sums are not those that were stored; empty where nothing says so."""
    if metadata.get(_SHA256, sha256) != sha256:
        return "its bytes are not those that its metadata names"
    if checksums.get("ChecksumType") == "COMPOSITE":
        return ""
    found = {"ChecksumSHA256": bytes.fromhex(sha256), "ChecksumCRC32": crc32.to_bytes(4, "big")}
    for name, value in found.items():
        if (text := checksums.get(name)) and _decoded(text) not in (None, value):
            return f"its bytes are not those that the store's {name.removeprefix('Checksum')} names"
    return ""


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def adopting(task: TaskId, objects: Iterable[AdoptedObject], known: WholeTask | None, *, now: datetime) -> WholeTask:
    """Return the task with those objects stored: the one that a backup knew, or a new one that is asked about now."""
    whole = known or _new(task, objects := tuple(objects), now)
    rows = {row.name: row for row in whole.stems}
    lines: list[Moved] = []
    for each in objects:
        before = rows.get(each.stem)
        if before is not None and before.state is StemState.STORED:
            continue
        rows[each.stem] = _row(each, before)
        lines.append(_line(each, StemState.WANTED if before is None else before.state, now))
    stems = tuple(sorted(rows.values(), key=lambda row: row.name))
    return _with(whole, stems, (*whole.history, *lines))


def _new(task: TaskId, objects: Sequence[AdoptedObject], now: datetime) -> WholeTask:
    accepted_at = min((each.receipt.stored_at for each in objects), default=now)
    return WholeTask(task, TaskState.QUEUED, min(accepted_at, now), source="rebuilt", not_before=now, stage=Stage.LIST)


def _with(whole: WholeTask, stems: tuple[StemRow, ...], lines: tuple[Moved, ...]) -> WholeTask:
    is_fetched = whole.state is TaskState.LISTED and not any(row.state is StemState.WANTED for row in stems)
    stage = (Stage.STORE if whole.settled else Stage.LIST) if is_fetched else whole.stage
    return replace(whole, stems=stems, history=lines, stage=stage)


def _row(found: AdoptedObject, before: StemRow | None) -> StemRow:
    row = StemRow(found.stem, StemState.STORED, "", "", "", media=found.media) if before is None else before
    return replace(row, state=StemState.STORED, receipt=found.receipt, attempts=0, not_before=None, reason="")


def _line(found: AdoptedObject, before: StemState, now: datetime) -> Moved:
    receipt = found.receipt
    detail = {"key": receipt.key, "bytes": receipt.size, "sha256": receipt.sha256, "by": "recovery"}
    return Moved(now, found.stem, StemEvent.STORED.value, before.value, StemState.STORED.value, detail)
