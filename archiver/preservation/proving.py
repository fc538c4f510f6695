"""Proving what an object holds: one read where it is as it should be, three where it is not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Final

from archiver.core.fixity import Expected, Fixity, Judged, resized
from archiver.core.manifest_bounds import LARGEST
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.manifest_read import Manifest, read_manifest
from archiver.core.model import TaskId
from archiver.core.reading import ObjectAbsent, ObjectChanged, ObjectCold, ObjectLong
from archiver.ports.archive import Archive, FoundDocument
from archiver.preservation.fetching import Fetching, WrongBytes

READS: Final = 3
"""Reads, each on a connection of its own, that must agree before an object is called damaged."""
ALTERED_MOST: Final = 1000
"""Objects of another ETag in a run that are read; beyond it the bucket was probably copied."""
PAUSE_SECONDS: Final = 1.0
COPIED: Final = (
    f"more than {ALTERED_MOST} objects have another ETag than the ledger: the bucket was probably copied; "
    "`verify --level read` proves their bytes"
)
Fresh = Callable[[], AbstractContextManager[Archive]]
"""Opens the archive once more, with connections of its own."""


class Nowhere:
    """A sink that keeps nothing."""

    def write(self, data: memoryview) -> None:
        """See Sink."""

    def begin_again(self) -> None:
        """See Sink."""


@dataclass(slots=True)
class Allowance:
    """Bytes that may still be read beyond the plan; safe to share among threads."""

    bytes: float = float("inf")
    objects: int = ALTERED_MOST
    spent: bool = False
    """True once an object was left unread because of `bytes`."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, size: int) -> str:
        """Take the reads of one object; return why it is not to be read, empty where it is."""
        with self._lock:
            if self.objects <= 0:
                return COPIED
            if self.bytes < size:
                self.spent = True
                return "its bytes were not read: they would cost more than --max-cost"
            self.objects -= 1
            self.bytes -= size
            return ""


@dataclass(frozen=True, slots=True)
class Proving:
    """Reads objects. Safe to share among threads."""

    fetching: Fetching
    fresh: Fresh

    def prove(self, expected: Expected) -> Judged:
        """Return the verdict on an object's bytes; raises ArchiverError where the store gives no answer."""
        try:
            return self._proven(expected)
        except ObjectAbsent:
            return self.judged(expected, expected.missing_as, "nothing stands there")
        except ObjectCold as cold:
            return replace(self.judged(expected, Fixity.COLD, "an archived class"), hint=cold.hint)
        except WrongBytes:
            return self._resized(expected)

    def _proven(self, expected: Expected) -> Judged:
        found = self._read(self.fetching, expected)
        seen = {found}
        for _ in range(1, READS):
            if found == expected.sha256:
                break
            self.fetching.sleep(PAUSE_SECONDS)
            with self.fresh() as archive:
                found = self._read(replace(self.fetching, archive=archive), expected)
            seen.add(found)
        if found == expected.sha256:
            return replace(self.judged(expected, Fixity.OK), proven=True)
        if len(seen) > 1:
            return self.judged(expected, Fixity.UNREAD, f"{READS} reads gave {len(seen)} different bodies")
        return self.judged(expected, Fixity.MISMATCH, f"sha256 {found}, read {READS} times")

    def manifest(self, key: str, task: TaskId) -> tuple[Manifest, FoundDocument] | None:
        """Return a manifest and the object that it is, None where there is none.

        Raises ManifestBroken, or ObjectLong, where READS reads found it so, and ArchiverError.
        """
        try:
            return _manifest(self.fetching.archive, key, task)
        except (ManifestBroken, ObjectLong) as fault:
            found: Exception = fault
        for _ in range(1, READS):
            self.fetching.sleep(PAUSE_SECONDS)
            with self.fresh() as archive:
                try:
                    return _manifest(archive, key, task)
                except (ManifestBroken, ObjectLong) as fault:
                    found = fault
        raise found

    def _read(self, fetching: Fetching, expected: Expected) -> str:
        return fetching.read(expected.key, expected.size or 0, Nowhere())

    def _resized(self, expected: Expected) -> Judged:
        """Look again at an object that came in another size."""
        head = self.fetching.archive.head(expected.key)
        if head is None:
            return self.judged(expected, expected.missing_as, "nothing stands there")
        found = resized(expected, head)
        if found is None:
            raise ObjectChanged(f"{expected.key}: its size changed while it was looked at")
        return found

    @staticmethod
    def judged(expected: Expected, verdict: Fixity, found: str = "") -> Judged:
        """Return the verdict in words."""
        size = "" if expected.size is None else f"{expected.size} bytes, sha256 {expected.sha256}"
        return Judged(expected.key, verdict, expected.task.task_id, size or f"a {expected.part}", found)


def _manifest(archive: Archive, key: str, task: TaskId) -> tuple[Manifest, FoundDocument] | None:
    found = archive.document(key, limit=LARGEST)
    return None if found is None else (read_manifest(found.data, task), found)
