"""A closer look at one key: nothing is called missing, unknown or altered by a listing and a page of rows alone."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from archiver.core.fixity import (
    Expected,
    Fixity,
    Judged,
    KnownTask,
    ListedKey,
    Pair,
    Part,
    TrimmedFolder,
    expected_of,
    known_by,
    looks_alike,
    may_be_under_way,
    merged,
    resized,
    store_denies,
    unlike,
)
from archiver.core.keys import manifest_key
from archiver.core.levels import Level
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.model import TaskId, task_id
from archiver.core.reading import ObjectAbsent, ObjectLong
from archiver.ports.archive import Archive, ObjectHead
from archiver.ports.fixity import KnownObjects
from archiver.preservation.proving import Allowance, Proving

UNKNOWN = "the ledger and the task's manifest know no such object; `verify` leaves it alone"


@dataclass(slots=True)
class _Folder:
    """A task that the bucket alone knows, as its manifest has it."""

    task_id: TaskId
    task: KnownTask | None
    fault: str = ""
    objects: Mapping[str, Expected] = field(default_factory=dict)


@dataclass(slots=True)
class Looking:
    """Judges one key at a time. Safe to share among threads."""

    archive: Archive
    objects: KnownObjects
    proving: Proving
    prefix: str
    level: Level
    allowance: Allowance
    unledgered: int = 0
    """Tasks that the bucket alone knows."""
    _last: _Folder | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, pair: Pair) -> Sequence[Judged]:
        """Return the verdicts on a key; raises ArchiverError where the store gives no answer."""
        if pair.expected is None:
            return [] if pair.listed is None else self._stray(pair.listed)
        if pair.listed is None:
            return [self._absent(pair.expected)]
        judged = self._there(pair.expected)
        self._note(judged, pair.expected, pair.listed)
        return [judged]

    def _note(self, judged: Judged, expected: Expected, listed: ListedKey) -> None:
        """Write down another ETag of bytes that were just read, and are those that were archived."""
        if judged.proven and judged.verdict is Fixity.OK and expected.etag and not looks_alike(expected, listed):
            self.objects.note_etag(expected.task.task_id, expected.key, before=expected.etag, now=listed.etag)

    def opened(self, folder: TrimmedFolder) -> tuple[Judged, Sequence[Pair]]:
        """Read the manifest of a task that was trimmed; return the verdict on it, and the other keys that are to judge.

        Raises ArchiverError where the store gives no answer.
        """
        task = folder.task.task_id
        own = Expected(manifest_key(self.prefix, task), folder.task, Part.MANIFEST)
        beside = f"; {folder.trimmed.stems} stems of {folder.trimmed.bytes} bytes stood beside it"
        try:
            read = self.proving.manifest(own.key, task)
        except (ManifestBroken, ObjectLong) as fault:
            return Proving.judged(own, Fixity.MANIFEST_BROKEN, f"{fault}{beside}"), ()
        if read is None:
            return Proving.judged(own, Fixity.MANIFEST_MISSING, f"nothing stands there{beside}"), ()
        manifest, found = read
        if differs := folder.unlike(manifest, found.data, found.head.etag):
            return Proving.judged(own, Fixity.MANIFEST_DIFFERS, differs), ()
        judged = Proving.judged(own, Fixity.OK)
        known = known_by(manifest, f"{self.prefix}{task}/")
        pairs = merged(expected_of(known, self.prefix), folder.listed)
        return judged, [each for each in pairs if (each.expected or each.listed or own).key != own.key]

    def _absent(self, expected: Expected) -> Judged:
        """Ask for what no listing showed: it may have come since."""
        try:
            with closing(self.archive.open(expected.key)):
                pass
        except ObjectAbsent:
            return Proving.judged(expected, expected.missing_as, "nothing stands there")
        return self._there(expected)

    def _there(self, expected: Expected) -> Judged:
        if expected.part is Part.MANIFEST:
            return Proving.judged(expected, Fixity.OK) if self.level is Level.LIST else self._manifest(expected)
        if expected.part is Part.RECORD:
            return Proving.judged(expected, Fixity.OK)
        if self.level is Level.READ:
            return self.proving.prove(expected)
        head = self.archive.head(expected.key)
        if head is None:
            return Proving.judged(expected, expected.missing_as, "nothing stands there")
        return self._by_head(expected, head)

    def _by_head(self, expected: Expected, head: ObjectHead) -> Judged:
        """Judge by what the store says; where it says another ETag or SHA-256, its bytes decide."""
        if other := resized(expected, head):
            return other
        if looks_alike(expected, head) and not store_denies(expected, head.checksums, head.metadata):
            return Proving.judged(expected, Fixity.OK)
        if why := self.allowance.take(expected.size or 0):
            altered = Judged(expected.key, Fixity.ALTERED, expected.task.task_id, f"ETag {expected.etag}")
            return replace(altered, found=f"ETag {head.etag or '(none)'}", hint=why)
        return self.proving.prove(expected)

    def _manifest(self, expected: Expected) -> Judged:
        task = expected.task.task_id
        try:
            read = self.proving.manifest(expected.key, task)
        except (ManifestBroken, ObjectLong) as fault:
            return Proving.judged(expected, Fixity.MANIFEST_BROKEN, str(fault))
        if read is None:
            return Proving.judged(expected, Fixity.MANIFEST_MISSING, "nothing stands there")
        manifest, _ = read
        if not unlike(manifest, expected.task):
            return Proving.judged(expected, Fixity.OK)
        differs = unlike(manifest, self.objects.known(task) or expected.task)  # the ledger may have moved on since
        verdict = Fixity.MANIFEST_DIFFERS if differs else Fixity.OK
        return replace(Proving.judged(expected, verdict, differs), expected="what the ledger says")

    def _stray(self, listed: ListedKey) -> Sequence[Judged]:
        """Judge an object that the ledger did not name a moment ago."""
        name, slash, _ = listed.key[len(self.prefix) :].partition("/")
        try:
            its = task_id(name) if slash else None
        except ValueError:
            its = None
        if its is None:
            return [self._unknown(listed, hint="it is in no task's folder")]
        task = self.objects.known(its)
        if task is None or task.trimmed is not None:
            return self._by_manifest(listed, its, ledgered=task is not None)
        known = {each.key: each for each in expected_of(task, self.prefix)}
        if listed.key in known:
            return [self._now_known(known[listed.key], listed)]
        if may_be_under_way(listed.key, task):
            return [Judged(listed.key, Fixity.OK, its)]
        return [self._unknown(listed, its)]

    def _now_known(self, expected: Expected, listed: ListedKey) -> Judged:
        if self.level is Level.LIST and looks_alike(expected, listed):
            return Proving.judged(expected, Fixity.OK)
        return self._there(expected)

    def _by_manifest(self, listed: ListedKey, its: TaskId, *, ledgered: bool) -> Sequence[Judged]:
        """Judge an object of a task whose objects the bucket alone knows, or that and all else of it."""
        folder = self._folder(its)
        if listed.key == manifest_key(self.prefix, its):
            with self._lock:
                self.unledgered += not ledgered
            if folder.fault:
                return [Judged(listed.key, Fixity.MANIFEST_BROKEN, its, "a manifest", folder.fault)]
            return [Judged(listed.key, Fixity.OK, its), *self._lacking(folder)]
        expected = folder.objects.get(listed.key)
        if expected is None:
            return [self._unknown(listed, its)]
        return [self._now_known(expected, listed)]

    def _lacking(self, folder: _Folder) -> Sequence[Judged]:
        """Return what a manifest alone tells of, and its folder does not hold."""
        there = {each.key for each in self.archive.objects(f"{self.prefix}{folder.task_id}/")}
        gone = (each for key, each in folder.objects.items() if key not in there and each.required)
        return [self._absent(each) for each in gone]

    def _folder(self, its: TaskId) -> _Folder:
        with self._lock:
            if self._last is not None and self._last.task_id == its:
                return self._last
        made = _Folder(its, None)
        try:
            read = self.proving.manifest(manifest_key(self.prefix, its), its)
            if read is not None:
                made.task = known_by(read[0], f"{self.prefix}{its}/")
                made.objects = {each.key: each for each in expected_of(made.task, self.prefix)}
        except (ManifestBroken, ObjectLong) as fault:
            made.fault = str(fault)
        with self._lock:
            self._last = made
        return made

    def _unknown(self, listed: ListedKey, its: str = "", hint: str = UNKNOWN) -> Judged:
        return Judged(listed.key, Fixity.UNKNOWN, its, "nothing", f"{listed.size} bytes", hint)
