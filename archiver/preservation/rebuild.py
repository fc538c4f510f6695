"""The ledger out of the bucket: every folder's manifest becomes a task again. Asks no provider, writes no object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Final

from archiver.core.adoption import adopting
from archiver.core.backup import BackupBroken, BackupRefused
from archiver.core.errors import Interrupted
from archiver.core.keys import backups_prefix
from archiver.core.model import ARCHIVE_FOLDER, TaskId
from archiver.core.reading import ObjectUnread
from archiver.core.rebuilding import Found, RebuildMark, Totals
from archiver.core.task_rows import TaskRows
from archiver.ports.archive import Archive
from archiver.ports.rebuilding import Proving, Rebuilds
from archiver.preservation.fetching import BLOCK
from archiver.preservation.looks import Chunk, Chunks, Looked, Looks, side_by_side

BATCH: Final = 200
"""Folders that are taken in one transaction."""
CHUNK: Final = 20
"""Folders that one thread looks at, and whose manifests are proven together."""
THREADS: Final = 20
"""Threads that look at chunks: a store far away takes 30 ms to answer."""
_AHEAD: Final = 24
"""Chunks that are looked at before they are taken."""
_PAGE: Final = 1000
_BACKUP_SUFFIX: Final = ".jsonl.gz"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Fills an empty ledger; goes on where one that was killed came to."""

    looks: Looks
    rebuilds: Rebuilds
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    stopped: Callable[[], bool] = lambda: False
    shown: Callable[[Found], object] = lambda _: None
    """Called with what was found so far, after each batch."""
    batch: int = BATCH
    """Tasks that are written down at a time."""
    proving: Proving | None = None
    """Proves manifests elsewhere; None: in this process."""

    def run(self) -> tuple[Found, Totals]:
        """Return what was found, and what the ledger holds.

        Raises LedgerFull, LedgerFault, StoreBusy, StorePaused, and Interrupted once stopped: all that is done by then
        stays.
        """
        began = self.monotonic()
        if self.rebuilds.unfinished() is None:
            # A bucket that cannot be listed leaves no mark in the ledger.
            next(self.looks.archive.folders(self.looks.prefix), None)
        mark = self.rebuilds.begin(now=self.clock())
        spent = mark.found.seconds
        if mark.found.backup is None:
            mark = self._take_backup(mark)
        folders = self.looks.archive.folders(self.looks.prefix, after=mark.after)
        for batch in self._batches(each for each in folders if each != ARCHIVE_FOLDER):
            mark = self._take(batch, mark, spent + self.monotonic() - began)
            self.shown(mark.found)
            if self.stopped():
                raise Interrupted
        return mark.found, self.rebuilds.end(mark)

    def _batches(self, folders: Iterator[str]) -> Iterator[Sequence[Chunk]]:
        """Yield folders that were looked at, about as many at a time as are written down together."""
        size = min(CHUNK, self.batch)
        chunks = iter(lambda: list(islice(folders, size)), [])
        looked = side_by_side(Chunks(self.looks, self.proving).at, chunks, THREADS, _AHEAD)
        while batch := list(islice(looked, self.batch // size)):
            yield batch

    def _take(self, batch: Sequence[Chunk], mark: RebuildMark, seconds: float) -> RebuildMark:
        rows, looked, now = TaskRows(), [each for chunk in batch for each in chunk.looked], self.clock()
        for chunk in batch:
            rows.extend(chunk.rows)
        for each in looked:
            if each.objects is not None:
                rows.add(adopting(TaskId(each.folder), each.objects.adopted, each.known, now=now))
        after = RebuildMark(mark.begun_at, looked[-1].folder, replace(_counted(mark.found, looked), seconds=seconds))
        self.rebuilds.take(rows, mark, after)
        return after

    def _take_backup(self, mark: RebuildMark) -> RebuildMark:
        """Take the newest backup that is whole, if there is one."""
        archive, found = self.looks.archive, mark.found
        listed = archive.objects(backups_prefix(self.looks.prefix))
        for key in sorted((each.key for each in listed if each.key.endswith(_BACKUP_SUFFIX)), reverse=True):
            after = replace(mark, found=replace(found, backup=key, requests=found.requests + 2))
            try:
                self.rebuilds.take_backup(partial(_pieces, archive, key), mark, after)
            except (BackupBroken, BackupRefused, ObjectUnread) as broken:
                found = found.with_trouble(key.removeprefix(self.looks.prefix), str(broken), foreign=False)
                continue
            return after
        after = replace(mark, found=replace(found, backup=""))
        self.rebuilds.take([], mark, after)
        return after


def _counted(found: Found, batch: Iterable[Looked]) -> Found:
    for looked in batch:
        found = replace(
            found,
            folders=found.folders + 1,
            tasks=found.tasks + looked.is_task,
            adopted=found.adopted + (0 if looked.objects is None else len(looked.objects.adopted)),
            format_1=found.format_1 + (looked.format == 1),
            requests=found.requests + looked.requests,
            pages=found.folders // _PAGE + 1,
        )
        if looked.trouble:
            found = found.with_trouble(looked.folder, looked.trouble, foreign=looked.foreign)
    return found


def _pieces(archive: Archive, key: str) -> Iterator[bytes]:
    body = archive.open(key)
    try:
        view = memoryview(bytearray(BLOCK))
        while count := body.readinto(view):
            yield bytes(view[:count])
    finally:
        body.close()
