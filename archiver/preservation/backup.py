"""Backups into the bucket: the open part of the ledger, every so often, where anything has changed since the last."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from tempfile import SpooledTemporaryFile
from typing import IO

from archiver.core.backup import BackupSummary, Scope
from archiver.core.errors import ArchiverError, Interrupted, KeyTaken, LedgerFault
from archiver.core.keys import backup_key, backup_time, backups_prefix
from archiver.ports.archive import Archive
from archiver.ports.backups import Backups
from archiver.ports.runtime import Clock, EventLog
from archiver.ports.store import ObjectStore, UploadJournal

_IN_MEMORY = 4 * 1024 * 1024
"""Bytes up to which a backup is not put on disk first."""
_TRIES = 5
"""Names, a second apart, that are tried where another process has just taken one."""
_SECOND = timedelta(seconds=1)

FIRST = timedelta(minutes=1)
"""The time from the start of a process to its first backup: a start has more urgent things to do."""
AGAIN = timedelta(minutes=5)
"""The time after which one that failed is tried again."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that stands in the bucket."""

    key: str
    summary: BackupSummary


@dataclass(frozen=True, slots=True)
class BucketBackup:
    """Backs the open part of the ledger up into the bucket, create-only."""

    backups: Backups
    store: ObjectStore
    journal: UploadJournal
    ensure: Callable[[], None]
    """Sees to it that the store writes as it can."""
    prefix: str
    version: str
    clock: Clock
    folder: str | None = None
    """Where a backup waits to be sent; None: where the system keeps such files."""
    rest: Callable[[], object] = lambda: None
    """Called again and again meanwhile; may raise Interrupted."""

    def take(self) -> Taken:
        """Take a backup; raises as `take_unless`."""
        taken = self.take_unless("")
        if taken is None:
            raise AssertionError("every backup has a content")
        return taken

    def take_unless(self, unless: str) -> Taken | None:
        """Take a backup, and return it; None, and nothing is sent, where its content is `unless`.

        Raises LedgerFault, OSError where there is no room for it here, and as ObjectStore.put.
        """
        now = self.clock()
        with SpooledTemporaryFile(_IN_MEMORY, dir=self.folder) as file:
            summary = self.backups.write(Scope.OPEN, file.write, now=now, version=self.version, rest=self.rest)
            if summary.content == unless:
                return None
            self.ensure()
            return Taken(self._send(file, summary, now), summary)

    def _send(self, file: IO[bytes], summary: BackupSummary, now: datetime) -> str:
        for more in range(_TRIES):
            file.seek(0)
            key = backup_key(self.prefix, now + more * _SECOND)
            try:
                self.store.put(key, _Spooled(file, summary.size, self.rest), metadata={}, journal=self.journal)
            except KeyTaken:
                continue
            return key
        raise KeyTaken(f"other objects stand under {_TRIES} names that a backup of {now} would have")


class _Spooled:
    """A file as a Body."""

    extension = "jsonl.gz"
    content_type = "application/gzip"

    def __init__(self, file: IO[bytes], length: int, rest: Callable[[], object]) -> None:
        self.length: int | None = length
        self.size = 0
        self._rest = rest
        self._file = file
        self._hash = hashlib.sha256()

    def readinto(self, buffer: memoryview) -> int:
        """See Body."""
        self._rest()
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def forget(self) -> None:
        """See Body: it is never suspended."""

    @property
    def sha256(self) -> str:
        """See Body."""
        return self._hash.hexdigest()


@dataclass(slots=True)
class BackupSchedule:
    """Takes a backup every so often, and knows how old the last one is; to be called again and again.

    What was found unchanged counts as backed up. One that fails is tried again, and stops nothing.
    """

    backup: BucketBackup
    every: timedelta
    may: Callable[[], bool]
    """Returns whether the store may be used now."""
    newest: Callable[[], datetime | None]
    """Returns when the newest backup in the bucket was taken; may raise ArchiverError."""
    clock: Clock
    log: EventLog
    _due: datetime = field(init=False)
    _last: datetime = field(init=False)
    _is_known: bool = field(default=False, init=False)
    """True once the bucket has told its newest backup, or one was taken."""
    _content: str = field(default="", init=False)

    def __post_init__(self) -> None:
        """Begin to count: until the bucket tells of an earlier backup, the age is that of this process."""
        self._last = self.clock()
        self._due = self._last + min(FIRST, self.every)

    @property
    def age(self) -> float:
        """Seconds since the last backup was taken, or nothing had changed since."""
        return max((self.clock() - self._last).total_seconds(), 0.0)

    def __call__(self) -> None:
        """Take a backup if one is due."""
        now = self.clock()
        # A clock that was set back must not put it off for long.
        if now < self._due <= now + self.every or not self.may():
            return
        self._due = now + min(AGAIN, self.every)
        try:
            self._look()
            taken = self.backup.take_unless(self._content)
        except Interrupted:
            return
        except (ArchiverError, LedgerFault, OSError) as error:
            code = f"{error.code}: " if isinstance(error, ArchiverError) else ""
            self.log.warning("backup.failed", reason=f"{code}{error}", hint=getattr(error, "hint", ""))
            return
        self._last, self._due, self._is_known = now, now + self.every, True
        if taken is not None:
            self._content = taken.summary.content
            rows, size, sha256 = sum(taken.summary.rows.values()), taken.summary.size, taken.summary.sha256
            self.log.info("backup.taken", key=taken.key, rows=rows, bytes=size, sha256=sha256)

    def _look(self) -> None:
        if not self._is_known:
            found = self.newest()
            self._is_known = True
            self._last = self._last if found is None else min(self._last, found)


def newest_backup(archive: Archive, prefix: str) -> datetime | None:
    """Return when the newest backup in the bucket was taken; raises as Archive."""
    times = (backup_time(prefix, each.key) for each in archive.objects(backups_prefix(prefix)))
    return max((time for time in times if time is not None), default=None)
