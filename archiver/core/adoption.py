"""Objects that no manifest names: which of them are ours, and the receipt that they are given. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from archiver.core.keys import path_in
from archiver.core.manifest_fields import plain_name_fault
from archiver.core.model import Receipt, Stage, StemName, StemRow, TaskId
from archiver.core.records.kinds.names import Media
from archiver.core.records.kinds.table import KINDS
from archiver.core.reports import Moved
from archiver.core.states import StemEvent, StemState, TaskState
from archiver.core.whole_task import WholeTask

HEAD: Final = 128 * 1024
"""Bytes by which the format of any file is known."""
_SHA256, _BEGIN, _STEM, _TASK = "sha256", "sha256-begin", "stem", "task-id"
_BEGINS: Final = re.compile(r"(\d{1,12}):([0-9a-f]{64})")
_LONGEST_NAME: Final = 100
_UNPROVEN: Final = "nothing proves that it is whole"


@dataclass(frozen=True, slots=True)
class AdoptedObject:
    """An object that was read whole, and is ours by its metadata."""

    stem: StemName
    receipt: Receipt
    media: Media = Media.AUDIO


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """An object that says that it is a stem, and is not taken for one."""

    key: str
    reason: str


@dataclass(slots=True)
class FolderObjects:
    """The objects in a task's folder that no manifest names."""

    adopted: list[AdoptedObject] = field(default_factory=list)
    left: list[LeftAlone] = field(default_factory=list)
    foreign: int = 0
    """Objects that are not ours."""
    has_record: bool = False
    """True where the task's record stands there."""
    requests: int = 0

    @property
    def is_ours(self) -> bool:
        """True where anything in the folder is."""
        return bool(self.adopted or self.left or self.has_record)


@dataclass(frozen=True, slots=True)
class Known:
    """Facts about a task before its folder is looked at."""

    kind: str | None = None
    stems: Mapping[StemName, StemRow] = field(default_factory=dict)

    @classmethod
    def of(cls, task: WholeTask | None, folder: str) -> Known:
        """Return what a backup knows of it; what it has stored elsewhere is looked for in this folder."""
        return cls() if task is None else cls(task.kind, {row.name: _stored_in(row, folder) for row in task.stems})

    @property
    def stored(self) -> frozenset[StemName]:
        """The stems that need no object any more."""
        return frozenset(name for name, row in self.stems.items() if row.state is StemState.STORED)

    def media(self, stem: StemName) -> tuple[Media, ...]:
        """Return the classes of files that the stem may be of: its own, else those of the task's kind."""
        if (row := self.stems.get(stem)) is not None:
            return (row.media,)
        kind = next((kind for name, kind in KINDS.items() if name == self.kind), None)
        return tuple(Media) if kind is None else kind.media

    def duration(self, stem: StemName) -> float | None:
        """Return the seconds of sound that the record names; None where it names none."""
        row = self.stems.get(stem)
        return row.duration if row is not None and row.media is Media.AUDIO else None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A whole object, as far as its format and wholeness are judged by it."""

    head: bytes
    """Its first bytes, HEAD or all."""
    size: int
    extension: str
    content_type: str
    is_proven: bool = False
    """True where its metadata names the hash that it has."""


class Sums:
    """The sums of one object, as its bytes go by; and whether they are those that its metadata names."""

    def __init__(self, metadata: Mapping[str, str]) -> None:
        self._named = metadata.get(_SHA256, "")
        begins = _BEGINS.fullmatch(metadata.get(_BEGIN, ""))
        self._begin_left, self._begin_named = (int(begins[1]), begins[2]) if begins else (0, "")
        self._sha256, self._begin = hashlib.sha256(), hashlib.sha256()
        self._head = bytearray()
        self.crc32 = self.size = 0

    def update(self, block: memoryview) -> None:
        """Take the next bytes."""
        self._sha256.update(block)
        self.crc32, self.size = zlib.crc32(block, self.crc32), self.size + len(block)
        if self._begin_left:
            begin = block[: self._begin_left]
            self._begin.update(begin)
            self._begin_left -= len(begin)
        if len(self._head) < HEAD:
            self._head += block[: HEAD - len(self._head)]

    @property
    def sha256(self) -> str:
        """Lower-case hex of all bytes."""
        return self._sha256.hexdigest()

    @property
    def head(self) -> bytes:
        """The first bytes, HEAD at most."""
        return bytes(self._head)

    @property
    def is_proven(self) -> bool:
        """True where the metadata names this very hash: of all bytes, or, of an upload in parts, of the first."""
        if self._named:
            return self._named == self.sha256
        return bool(self._begin_named) and not self._begin_left and self._begin.hexdigest() == self._begin_named

    def damage(self, checksums: Mapping[str, str]) -> str:
        """Return why the bytes are not those that were stored; empty where nothing says so."""
        if (self._named or self._begin_named) and not self.is_proven:
            return "its bytes are not those that its metadata names"
        if checksums.get("ChecksumType") == "COMPOSITE":
            return ""
        found = {"ChecksumSHA256": self._sha256.digest(), "ChecksumCRC32": self.crc32.to_bytes(4, "big")}
        for name, value in found.items():
            if (text := checksums.get(name)) and _decoded(text) not in (None, value):
                return f"its bytes are not those that the store's {name.removeprefix('Checksum')} names"
        return ""


def _stored_in(row: StemRow, folder: str) -> StemRow:
    is_here = row.receipt is None or row.receipt.key.startswith(folder)
    return row if is_here else replace(row, state=StemState.WANTED, receipt=None)


def is_of(metadata: Mapping[str, str], task: TaskId) -> bool:
    """Return whether an object's metadata says that it is a stem of this task."""
    return bool(metadata.get(_STEM)) and metadata.get(_TASK) == task


def stem_named(metadata: Mapping[str, str], file: str) -> StemName | None:
    """Return the stem that an object's metadata says it is; None where it cannot be that one under this name."""
    stem = metadata.get(_STEM, "")
    if plain_name_fault(stem) or plain_name_fault(file) or len(stem) > _LONGEST_NAME:
        return None
    name = file.rpartition(".")[0]
    return StemName(stem) if name == stem or name.endswith(f" - {stem}") else None


def doubted(doubt: str, *, is_proven: bool) -> str:
    """Return why a file that is doubtful is left alone; empty where it is known to be as it was stored."""
    return f"{_UNPROVEN}, and it is {doubt}" if doubt and not is_proven else ""


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def adopting(task: TaskId, objects: Iterable[AdoptedObject], known: WholeTask | None, *, now: datetime) -> WholeTask:
    """Return the task with those objects stored: the one that a backup knew, or a new one that is asked about now."""
    objects = tuple(objects)
    whole = known or _new(task, objects, now)
    found = {path_in(each.receipt.key, task): each.receipt for each in objects}
    rows = {row.name: _found_again(row, task, found) for row in whole.stems}
    lines: list[Moved] = []
    for each in objects:
        before = rows.get(each.stem)
        if before is not None and before.state is StemState.STORED:
            continue
        rows[each.stem] = _row(each, before)
        lines.append(_line(each, StemState.WANTED if before is None else before.state, now))
    stems = tuple(sorted(rows.values(), key=lambda row: row.name))
    return _with(whole, stems, (*(_named_again(each, task, found) for each in whole.history), *lines))


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


def _found_again(row: StemRow, task: TaskId, found: Mapping[str, Receipt]) -> StemRow:
    """Return a stored stem as its object is found: a bucket that was copied has another prefix, or other ETags."""
    if row.receipt is None:
        return row
    here = found.get(path_in(row.receipt.key, task))
    if here is None or here.sha256 != row.receipt.sha256:
        return row
    return replace(row, receipt=replace(row.receipt, key=here.key, etag=here.etag))


def _named_again(moved: Moved, task: TaskId, found: Mapping[str, Receipt]) -> Moved:
    """Return a line of history with the key that its object has now, as a manifest would tell it."""
    key = moved.detail.get("key")
    here = found.get(path_in(key, task)) if isinstance(key, str) else None
    if here is None or here.sha256 != moved.detail.get("sha256"):
        return moved
    return replace(moved, detail={**moved.detail, "key": here.key})


def _line(found: AdoptedObject, before: StemState, now: datetime) -> Moved:
    receipt = found.receipt
    detail = {"key": receipt.key, "bytes": receipt.size, "sha256": receipt.sha256, "by": "recovery"}
    return Moved(now, found.stem, StemEvent.STORED.value, before.value, StemState.STORED.value, detail)
