"""Objects of a task that no manifest names: read whole, hashed, and ours by their metadata, or left alone."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

from archiver.core.adoption import SIDECARS, AdoptedObject, damage, stem_named
from archiver.core.errors import StoreBusy
from archiver.core.keys import record_key
from archiver.core.manifest_read import LARGEST, MOST_STEMS
from archiver.core.model import Receipt, StemName, TaskId
from archiver.core.reading import ObjectUnread
from archiver.core.records.kinds.names import Media
from archiver.ports.archive import Archive, ObjectBody

BLOCK = 256 * 1024
"""Bytes that are read and hashed at a time."""
ENOUGH = 256 * 1024
"""Bytes by which a file's format is known."""
_TRIES = 3

MediaOf = Callable[[bytes, bool, str], Media | None]
"""Returns what a file is by its first bytes, whether they are all of it, and its content type; None for no media."""


@dataclass(slots=True)
class Adopted:
    """What was found in a folder without a manifest."""

    objects: list[AdoptedObject] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    """Why an object of ours cannot be adopted."""
    foreign: int = 0
    """Objects that are not ours."""
    has_record: bool = False
    """True where the task's record stands there."""
    requests: int = 0

    @property
    def is_ours(self) -> bool:
        """True where anything in the folder is."""
        return bool(self.objects or self.troubles or self.has_record)


@dataclass(frozen=True, slots=True)
class Adoption:
    """Looks at folders without a manifest."""

    archive: Archive
    prefix: str
    media_of: MediaOf
    clock: Callable[[], datetime]

    def of(self, task: TaskId) -> Adopted:
        """Read the objects of a task that are ours; raise StoreBusy, StorePaused."""
        found, folder = Adopted(requests=1), f"{self.prefix}{task}/"
        for number, listed in enumerate(self.archive.objects(folder)):
            name = listed.key.removeprefix(folder)
            if number >= MOST_STEMS:
                found.troubles.append(f"it has more than {MOST_STEMS} objects")
                break
            if name in SIDECARS:
                found.has_record = found.has_record or self._is_record(task, name, found)
            elif "/" in name or not listed.size:
                found.foreign += 1
            else:
                self._look(task, listed.key, found)
        return found

    def _is_record(self, task: TaskId, name: str, found: Adopted) -> bool:
        key = record_key(self.prefix, task)
        if not key.endswith(name):
            return False
        found.requests += 1
        document = self.archive.document(key, limit=LARGEST)
        return document is not None and task.encode() in document.data

    def _look(self, task: TaskId, key: str, found: Adopted) -> None:
        found.requests += 1
        for left in range(_TRIES, 0, -1):
            try:
                with closing(self.archive.open(key)) as body:
                    stem = stem_named(body.head.metadata, task)
                    if stem is None:
                        found.foreign += 1
                        return
                    adopted = self._read(key, body, stem)
            except ObjectUnread as unread:
                found.troubles.append(f"{key}: {unread.code}")
                return
            except StoreBusy:
                if left == 1:
                    raise
                continue
            if isinstance(adopted, str):
                found.troubles.append(f"{key}: {adopted}")
            else:
                found.objects.append(adopted)
            return

    def _read(self, key: str, body: ObjectBody, stem: StemName) -> AdoptedObject | str:
        """Return the object with its receipt, or why it is none of ours."""
        head, sha256, crc, size = bytearray(), hashlib.sha256(), 0, 0
        for block in _blocks(body):
            sha256.update(block)
            crc, size = zlib.crc32(block, crc), size + len(block)
            head += block[: max(0, ENOUGH - len(head))]
        about = body.head
        if size != about.size:
            return "it has another length than the store says"
        if why := damage(about.metadata, about.checksums, sha256.hexdigest(), crc):
            return why
        media = self.media_of(bytes(head), size <= ENOUGH, about.content_type)
        if media is None:
            return "it is neither audio nor any other file of a task"
        kind = about.content_type or "application/octet-stream"
        stored_at = min(about.modified or self.clock(), self.clock())
        return AdoptedObject(stem, Receipt(key, size, sha256.hexdigest(), about.etag, kind, stored_at), media)


def _blocks(body: ObjectBody) -> Iterator[memoryview]:
    view = memoryview(bytearray(BLOCK))
    while count := body.readinto(view):
        yield view[:count]
