"""Objects that no manifest names: read whole, hashed, ours by metadata and format, or left alone."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from archiver.core.adoption import (
    AdoptedObject,
    FolderObjects,
    Known,
    LeftAlone,
    StoredFile,
    Sums,
    doubted,
    is_of,
    stem_named,
)
from archiver.core.errors import StoreBusy
from archiver.core.keys import RECORD_NAME, SIDECARS, folder_of, record_key
from archiver.core.manifest_bounds import LARGEST, MOST_STEMS
from archiver.core.model import Receipt, StemName, TaskId
from archiver.core.reading import ObjectUnread
from archiver.core.records.kinds.names import Media
from archiver.ports.adoption import Alive, FileJudge
from archiver.ports.archive import Archive, ListedObject, ObjectBody
from archiver.ports.runtime import Clock
from archiver.preservation.fetching import BLOCK

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Adoption:
    """Looks at the folders of tasks. Safe to share among threads."""

    archive: Archive
    prefix: str
    judge: FileJudge
    clock: Clock
    largest: int
    """Bytes; a larger object is left alone."""

    def of(self, task: TaskId, known: Known, alive: Alive) -> FolderObjects:
        """Read the objects of a task that are ours and lack in what is known; raise StoreBusy, StorePaused.

        Calls `alive` as it moves on, and raises what that raises.
        """
        folder = folder_of(self.prefix, task)
        look, found = _Look(self, task, folder, known, alive), FolderObjects(requests=1)
        for number, listed in enumerate(self.archive.objects(folder)):
            name = listed.key.removeprefix(folder)
            if number >= MOST_STEMS:
                found.left.append(LeftAlone(folder, f"it has more than {MOST_STEMS} objects"))
                break
            alive()
            if name in SIDECARS:
                found.has_record = found.has_record or (name == RECORD_NAME and self._is_record(task, found))
            elif "/" in name or not listed.size:
                found.foreign += 1
            else:
                look.at(listed, found)
        return found

    def _is_record(self, task: TaskId, found: FolderObjects) -> bool:
        found.requests += 1
        document = self.archive.document(record_key(self.prefix, task), limit=LARGEST)
        return document is not None and task.encode() in document.data


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at the folder of one task."""

    shared: Adoption
    task: TaskId
    folder: str
    known: Known
    alive: Alive

    def at(self, listed: ListedObject, found: FolderObjects) -> None:
        """Read the object, if it is ours and not known to be stored, and say what it is."""
        stored = self.known.stored.union(each.stem for each in found.adopted)
        found.requests += 1
        try:
            judged = self._tried(listed.key, stored)
        except ObjectUnread as unread:
            judged = LeftAlone(listed.key, unread.code)
        match judged:
            case AdoptedObject():
                found.adopted.append(judged)
            case LeftAlone():
                found.left.append(judged)
            case False:
                found.foreign += 1

    def _tried(self, key: str, stored: frozenset[StemName]) -> AdoptedObject | LeftAlone | bool:
        for _ in range(_TRIES - 1):
            try:
                return self._judged(key, stored)
            except StoreBusy:
                continue
        return self._judged(key, stored)

    def _judged(self, key: str, stored: frozenset[StemName]) -> AdoptedObject | LeftAlone | bool:
        """Return the object, or why it is left alone, or whether it is ours where that is all that matters."""
        with closing(self.shared.archive.open(key)) as body:
            about = body.head
            if not is_of(about.metadata, self.task):
                return False
            stem = stem_named(about.metadata, key.removeprefix(self.folder))
            if stem is None:
                return LeftAlone(key, "its metadata names another file than its key")
            if stem in stored:
                return True
            if about.size > self.shared.largest:
                return LeftAlone(key, f"it has {about.size} bytes, more than download.max_stem_bytes")
            adopted = self._read(key, body, stem)
        return LeftAlone(key, adopted) if isinstance(adopted, str) else adopted

    def _read(self, key: str, body: ObjectBody, stem: StemName) -> AdoptedObject | str:
        """Return the object with its receipt, or why it is none of ours."""
        about, sums = body.head, Sums(body.head.metadata)
        view = memoryview(bytearray(BLOCK))
        while count := body.readinto(view):
            self.alive()
            sums.update(view[:count])
        if sums.size != about.size:
            return "it has another length than the store says"
        if why := sums.damage(about.checksums):
            return why
        kind = about.content_type or "application/octet-stream"
        file = StoredFile(sums.head, sums.size, key.rpartition(".")[2], kind, sums.is_proven)
        found = self._media(file, stem)
        if found is None:
            return f"it is {_none_of(self.known.media(stem))}"
        media, doubt = found
        if why := doubted(doubt, is_proven=sums.is_proven):
            return why
        now = self.shared.clock()
        stored_at = min(about.modified or now, now)
        return AdoptedObject(
            stem, Receipt(key, sums.size, sums.sha256, about.etag, kind, stored_at, doubt=doubt), media
        )

    def _media(self, file: StoredFile, stem: StemName) -> tuple[Media, str] | None:
        """Return what the file is of what the stem may be, and what is doubtful about it."""
        for media in self.known.media(stem):
            doubt = self.shared.judge(file, media, self.known.duration(stem))
            if doubt is not None:
                return media, doubt
        return None


def _none_of(media: tuple[Media, ...]) -> str:
    return f"no {media[0]}" if len(media) == 1 else f"neither {media[0]} nor any other file of such a task"
