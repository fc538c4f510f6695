"""Fixity: what a ledger expects in the bucket, held against what stands there. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import groupby, islice
from operator import attrgetter
from typing import Final, Protocol

from archiver.core.keys import MANIFEST_NAME, RECORD_NAME, manifest_key, record_key
from archiver.core.manifest_read import Manifest
from archiver.core.model import StemName, TaskId
from archiver.core.states import ENDED_WITH_AUDIO, StemState, TaskState
from archiver.core.trimming import FolderLine, Trimmed, folder_digest


class Fixity(StrEnum):
    """The verdict on one object."""

    OK = "ok"
    MISSING = "missing"
    MISMATCH = "mismatch"
    """Three reads on connections of their own agree on other bytes."""
    ALTERED = "altered"
    """Another size; or another ETag, and its bytes were not read."""
    MANIFEST_MISSING = "manifest_missing"
    MANIFEST_BROKEN = "manifest_broken"
    MANIFEST_DIFFERS = "manifest_differs"
    RECORD_MISSING = "record_missing"
    UNKNOWN = "unknown"
    """Neither ledger nor manifest knows the object."""
    COLD = "cold"
    """It lies in an archived class: it is there, and must be thawed before it can be read."""
    UNREAD = "unread"
    """The store did not give it: neither whole nor damaged."""


FAULTS: Final = frozenset(Fixity) - {Fixity.OK, Fixity.COLD, Fixity.UNREAD}
"""Verdicts after which something is not as it should be."""


class Part(StrEnum):
    """The role of an object in its task."""

    STEM = "stem"
    RECORD = "record"
    MANIFEST = "manifest"


_MISSING_AS: Final = {
    Part.STEM: Fixity.MISSING,
    Part.RECORD: Fixity.RECORD_MISSING,
    Part.MANIFEST: Fixity.MANIFEST_MISSING,
}


@dataclass(frozen=True, slots=True)
class KnownStem:
    """A stem as far as its object goes."""

    name: StemName
    state: str
    key: str = ""
    """Empty where it is not stored."""
    size: int = 0
    sha256: str = ""
    etag: str = ""


@dataclass(frozen=True, slots=True)
class KnownTask:
    """A task whose objects are known, from the ledger or from its manifest."""

    task_id: TaskId
    state: str
    stems: tuple[KnownStem, ...] = ()
    """None of a task that was trimmed: its manifest tells them."""
    trimmed: Trimmed | None = None

    @property
    def is_whole(self) -> bool:
        """True where record and manifest must stand: its audio was archived, or lost."""
        return self.state in ENDED_WITH_AUDIO

    @property
    def is_open(self) -> bool:
        """True while objects of it may come at any time."""
        return self.state in {TaskState.QUEUED, TaskState.LISTED}


@dataclass(frozen=True, slots=True)
class Expected:
    """An object that should stand in the bucket, or may."""

    key: str
    task: KnownTask
    part: Part = Part.STEM
    size: int | None = None
    etag: str = ""
    sha256: str = ""
    required: bool = True

    @property
    def missing_as(self) -> Fixity:
        """The verdict where it is not there."""
        return _MISSING_AS[self.part]


class Seen(Protocol):
    """An object as a listing or a head shows it."""

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def etag(self) -> str:
        """Without quotes; empty where the store names none."""


class ListedKey(Seen, Protocol):
    """A line of a listing."""

    @property
    def key(self) -> str:
        """The object's key."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on one object."""

    key: str
    verdict: Fixity
    task_id: str = ""
    expected: str = ""
    found: str = ""
    hint: str = ""
    proven: bool = False
    """True where its bytes were read."""

    @property
    def is_fault(self) -> bool:
        """True where something is not as it should be."""
        return self.verdict in FAULTS


@dataclass(frozen=True, slots=True)
class Pair:
    """One key, of which one side or both know."""

    expected: Expected | None
    listed: ListedKey | None


@dataclass(frozen=True, slots=True)
class TrimmedFolder:
    """The folder of a task that was trimmed, as a listing shows it."""

    task: KnownTask
    trimmed: Trimmed
    listed: tuple[ListedKey, ...]

    def fits(self, prefix: str) -> bool:
        """Return whether all that stands there is what stood there once it was trimmed, and its record."""
        base = f"{prefix}{self.task.task_id}/"
        lines = {each.key.removeprefix(base): each for each in self.listed}
        if lines.pop(RECORD_NAME, None) is None:
            return False
        digest = folder_digest((name, each.size, each.etag) for name, each in lines.items())
        return digest == self.trimmed.digest

    def unlike(self, manifest: Manifest, data: bytes, etag: str) -> str:
        """Return what a manifest says differently than the ledger, as far as that still knows; empty for nothing.

        `data` and `etag` are its own. An ETag that is no hash of the bytes may change with a copy of the bucket: by it
        alone nothing is called different.
        """
        if manifest.state != self.task.state:
            return f"it says {manifest.state}, the ledger {self.task.state}"
        stored = [each for each in manifest.stems if each.is_stored]
        size = sum(each.size or 0 for each in stored if each.alias_of is None)
        if (len(stored), size) != (self.trimmed.stems, self.trimmed.bytes):
            return f"it tells {len(stored)} stems of {size} bytes"
        said = {(each.path, each.size or 0, each.etag) for each in stored}
        hashed = etag == hashlib.md5(data, usedforsecurity=False).hexdigest()
        if hashed and said <= self._lines() and self._digest(said, len(data), etag) != self.trimmed.digest:
            return "it is not the one that stood there when the task was trimmed"
        return ""

    def _lines(self) -> AbstractSet[FolderLine]:
        return {(each.key.rpartition("/")[2], each.size, each.etag) for each in self.listed}

    @staticmethod
    def _digest(said: AbstractSet[FolderLine], size: int, etag: str) -> str:
        return folder_digest({*said, (MANIFEST_NAME, size, etag)})


def expected_of(task: KnownTask, prefix: str) -> list[Expected]:
    """Return the objects of a task in the order of their keys: one each, however many stems share it.

    They stand where its stems do, also under another prefix; record and manifest must, or may, stand beside them.
    """
    found = {
        stem.key: Expected(stem.key, task, Part.STEM, stem.size, stem.etag, stem.sha256)
        for stem in task.stems
        if stem.key
    }
    base = _prefix_of(task, prefix)
    for part, key in ((Part.RECORD, record_key), (Part.MANIFEST, manifest_key)):
        sidecar = Expected(key(base, task.task_id), task, part, required=task.is_whole)
        found.setdefault(sidecar.key, sidecar)
    return sorted(found.values(), key=attrgetter("key"))


def _prefix_of(task: KnownTask, prefix: str) -> str:
    for stem in task.stems:
        before, folder, _ = stem.key.rpartition(f"{task.task_id}/")
        if folder:
            return before
    return prefix


def known_by(manifest: Manifest, folder: str) -> KnownTask:
    """Return the task as its manifest has it; its objects stand in `folder`, which ends in "/"."""
    stems = (
        KnownStem(each.name, each.state, f"{folder}{each.path}", each.size or 0, each.sha256, each.etag)
        if each.is_stored and each.path
        else KnownStem(each.name, each.state)
        for each in manifest.stems
    )
    return KnownTask(manifest.task_id, manifest.state, tuple(stems))


def pairs_of(tasks: Iterable[KnownTask], listed: Iterable[ListedKey], prefix: str) -> Iterator[Pair | TrimmedFolder]:
    """Yield what should stand there and what does, key by key; of a task that was trimmed, its folder.

    Tasks come in the order of their ids. Folders may come in that order, as from some stores, or in that of their keys,
    as S3 has it: `a-b/` before `a/`. In any other order a key comes twice, once of each side, and nothing is left out.
    """
    return (each for each in walk_of(tasks, listed, prefix) if not isinstance(each, Boundary))


@dataclass(frozen=True, slots=True)
class Boundary:
    """A folder before which a walk may be gone on with: all that came earlier is no part of the rest, in any order."""

    folder: str
    tasks: int
    """Tasks that came before it."""


def walk_of(
    tasks: Iterable[KnownTask], listed: Iterable[ListedKey], prefix: str
) -> Iterator[Pair | TrimmedFolder | Boundary]:
    """Yield as `pairs_of`, and each boundary.

    The rest of a walk is what comes of the tasks from a boundary's id on, and of the keys behind prefix and id.
    """
    left = iter(tasks)
    upcoming, held, before, passed = next(left, None), _Held([], prefix), "", 0
    for folder, group in groupby(listed, partial(folder_of, prefix=prefix)):
        while upcoming is not None and upcoming.task_id <= folder:
            yield from held.passed(upcoming.task_id)
            held.tasks.append(upcoming)
            passed, upcoming = passed + 1, next(left, None)
        yield from held.passed(folder)
        its = held.tasks.pop() if held.tasks and held.tasks[-1].task_id == folder else None
        if not held.tasks and _are_apart(before, folder):
            yield Boundary(folder, passed - (its is not None))
        before = folder
        yield from _beside(its, group, prefix)
    yield from held.passed(None)
    while upcoming is not None:
        if _are_apart(before, upcoming.task_id):
            yield Boundary(upcoming.task_id, passed)
        yield from _beside(upcoming, (), prefix)
        passed, upcoming = passed + 1, next(left, None)


def _are_apart(one: str, other: str) -> bool:
    """Return whether neither name begins the other, so that all that begins with either comes on one side of it."""
    return not one.startswith(other) and not other.startswith(one)


def _beside(its: KnownTask | None, listed: Iterable[ListedKey], prefix: str) -> Iterator[Pair | TrimmedFolder]:
    """Yield a task, which None is none, beside what its folder holds."""
    if its is None or its.trimmed is None:
        yield from merged([] if its is None else expected_of(its, prefix), listed)
        return
    left = iter(listed)
    # One more than may be there tells already that it does not fit, and whoever put a million there costs no memory.
    yield TrimmedFolder(its, its.trimmed, tuple(islice(left, its.trimmed.stems + 3)))
    yield from (Pair(None, each) for each in left)


def folder_of(listed: ListedKey, prefix: str) -> str:
    """Return the name of the folder under the prefix that a key is in; empty where it is in none."""
    return listed.key[len(prefix) :].rpartition("/")[0].partition("/")[0]


@dataclass(slots=True)
class _Held:
    """Tasks whose folders were not listed yet, each within the names that the one before begins."""

    tasks: list[KnownTask]
    prefix: str

    def passed(self, folder: str | None) -> Iterator[Pair | TrimmedFolder]:
        """Yield what should stand in folders that cannot come any more, once that one has; None is the end."""
        while self.tasks:
            held = self.tasks[-1].task_id
            if folder is not None and (folder == held or (folder.startswith(held) and folder[len(held)] < "/")):
                return
            yield from _beside(self.tasks.pop(), (), self.prefix)


def merged(expected: Iterable[Expected], listed: Iterable[ListedKey]) -> Iterator[Pair]:
    """Yield each key of both, which come in order, with what both know of it."""
    left, right = iter(expected), iter(listed)
    mine, theirs = next(left, None), next(right, None)
    while mine is not None or theirs is not None:
        takes_mine = mine is not None and (theirs is None or mine.key <= theirs.key)
        takes_theirs = theirs is not None and (mine is None or theirs.key <= mine.key)
        yield Pair(mine if takes_mine else None, theirs if takes_theirs else None)
        mine = next(left, None) if takes_mine else mine
        theirs = next(right, None) if takes_theirs else theirs


def looks_alike(expected: Expected, seen: Seen) -> bool:
    """Return whether size and ETag are what they should be, as far as both are told."""
    return _size_fits(expected, seen) and (not expected.etag or not seen.etag or expected.etag == seen.etag)


def _size_fits(expected: Expected, seen: Seen) -> bool:
    return expected.size is None or expected.size == seen.size


def resized(expected: Expected, seen: Seen) -> Judged | None:
    """Return the verdict on an object of another size; None where the size is right."""
    if _size_fits(expected, seen):
        return None
    found = f"{seen.size} bytes"
    return Judged(expected.key, Fixity.ALTERED, expected.task.task_id, f"{expected.size} bytes", found)


def store_denies(expected: Expected, checksums: Mapping[str, str], metadata: Mapping[str, str]) -> bool:
    """Return whether the store itself says another SHA-256 of the whole object than was archived."""
    said = checksums.get("ChecksumSHA256", "")
    if said and "-" not in said and checksums.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT":
        return said != base64.b64encode(bytes.fromhex(expected.sha256)).decode()
    return metadata.get("sha256", expected.sha256) != expected.sha256


def unlike(manifest: Manifest, task: KnownTask) -> str:
    """Return what a manifest says differently of the objects of a task than the ledger does; empty for nothing.

    Of an open task only what both have stored counts: its manifest may be of an earlier end.
    """
    if not task.is_open and manifest.state != task.state:
        return f"it says {manifest.state}, the ledger {task.state}"
    for stem in task.stems:
        there = manifest.stem(stem.name)
        stored = there is not None and there.is_stored
        if stored != bool(stem.key):
            if not task.is_open:
                return f"{stem.name} is stored in the {'manifest' if stored else 'ledger'} alone"
        elif stored and there is not None and (there.sha256, there.size) != (stem.sha256, stem.size):
            return f"it tells another size or SHA-256 of {stem.name}"
        elif stored and there is not None and there.path and there.path != stem.key.rpartition("/")[2]:
            return f"it tells another name of the object of {stem.name}"
    names = {stem.name for stem in task.stems}
    more = next((each.name for each in manifest.stems if each.name not in names), None)
    return "" if more is None or task.is_open else f"the ledger has no stem {more}"


def may_be_under_way(key: str, task: KnownTask) -> bool:
    """Return whether an object that the ledger does not know may be one that is just being stored."""
    name = key.rpartition("/")[2].rpartition(".")[0]
    waiting = (stem.name for stem in task.stems if stem.state != StemState.STORED)
    return task.is_open and any(name == each or name.endswith(f" - {each}") for each in waiting)
