"""The ledger out of the bucket: every folder's manifest becomes a task again. Asks no provider, writes no object."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from archiver.core.adoption import FolderObjects, Known, adopting
from archiver.core.backup import BackupBroken, BackupRefused
from archiver.core.errors import Interrupted
from archiver.core.keys import backups_prefix, folder_of
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.model import ARCHIVE_FOLDER, TaskId, task_id
from archiver.core.reading import ObjectUnread
from archiver.core.rebuilding import Found, RebuildMark, Totals
from archiver.core.whole_task import WholeTask
from archiver.ports.archive import Archive
from archiver.ports.rebuilding import Rebuilds
from archiver.preservation.fetching import BLOCK
from archiver.preservation.task_folders import TaskFolders

BATCH: Final = 500
"""Folders that are taken in one transaction."""
THREADS: Final = 6
"""GETs under way."""
_AHEAD: Final = 8 * THREADS
"""Folders that are looked at before they are taken."""
_PAGE: Final = 1000
_MOST_LEFT: Final = 3
"""Objects of one folder that are named with why they are left alone."""
_BACKUP_SUFFIX: Final = ".jsonl.gz"

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Looked:
    """Contents of one folder."""

    folder: str
    task: WholeTask | None = None
    """The task of its manifest."""
    objects: FolderObjects | None = None
    """Findings in a folder without a manifest."""
    known: WholeTask | None = None
    """That task, as a backup knows it."""
    trouble: str = ""
    foreign: bool = False
    format_1: bool = False
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Looks:
    """Looks at folders, a few at a time."""

    folders: TaskFolders
    known: Callable[[TaskId], WholeTask | None] = lambda _: None
    """Returns what is known of a task without a manifest."""
    alive: Callable[[], object] = lambda: None
    """Called as bytes come in; what it raises ends the look."""

    @property
    def archive(self) -> Archive:
        """The bucket."""
        return self.folders.adoption.archive

    @property
    def prefix(self) -> str:
        """The prefix of all folders."""
        return self.folders.adoption.prefix

    def at(self, folder: str) -> Looked:
        """Return what stands in the folder; raise StoreBusy, StorePaused, and what `alive` raises."""
        try:
            task = task_id(folder)
        except ValueError:
            return Looked(folder, trouble="its name is no task id", foreign=True)
        try:
            manifest = self.folders.manifest(task)
            if manifest is None:
                return self._without_manifest(task)
            whole, requests = self.folders.of_manifest(manifest)
        except ManifestBroken as broken:
            return Looked(folder, trouble=f"manifest.json: {broken}", requests=1)
        except ObjectUnread as unread:
            return Looked(folder, trouble=f"its documents cannot be read: {unread.code}", requests=1)
        return Looked(folder, whole, format_1=manifest.format == 1, requests=1 + requests)

    def _without_manifest(self, task: TaskId) -> Looked:
        known = self.known(task)
        found = self.folders.objects(task, Known.of(known, folder_of(self.prefix, task)), self.alive)
        requests = 1 + found.requests
        if not found.is_ours:
            return Looked(task, trouble="nothing in it is ours", foreign=True, requests=requests)
        trouble = "; ".join(f"{each.key}: {each.reason}" for each in found.left[:_MOST_LEFT])
        if found.foreign and not trouble:
            trouble = f"it has no manifest, and {found.foreign} objects that are not ours"
        return Looked(task, objects=found, known=known, trouble=trouble, requests=requests)


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
        looked = side_by_side(self.looks.at, (each for each in folders if each != ARCHIVE_FOLDER))
        while batch := list(islice(looked, self.batch)):
            mark = self._take(batch, mark, spent + self.monotonic() - began)
            self.shown(mark.found)
            if self.stopped():
                raise Interrupted
        return mark.found, self.rebuilds.end(mark)

    def _take(self, batch: list[Looked], mark: RebuildMark, seconds: float) -> RebuildMark:
        tasks = [looked.task for looked in batch if looked.task is not None]
        now = self.clock()
        tasks += [
            adopting(TaskId(each.folder), each.objects.adopted, each.known, now=now)
            for each in batch
            if each.objects is not None
        ]
        after = RebuildMark(mark.begun_at, batch[-1].folder, replace(_counted(mark.found, batch), seconds=seconds))
        self.rebuilds.take(tasks, mark, after)
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
            tasks=found.tasks + (looked.task is not None or looked.objects is not None),
            adopted=found.adopted + (0 if looked.objects is None else len(looked.objects.adopted)),
            format_1=found.format_1 + looked.format_1,
            requests=found.requests + looked.requests,
            pages=found.folders // _PAGE + 1,
        )
        if looked.trouble:
            found = found.with_trouble(looked.folder, looked.trouble, foreign=looked.foreign)
    return found


def side_by_side(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield what `work` makes of each, in their order; a few are under way, and a bounded number done before."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="look") as pool:
        try:
            left: deque[Future[R]] = deque()
            for item in items:
                left.append(pool.submit(work, item))
                if len(left) >= _AHEAD:
                    yield left.popleft().result()
            while left:
                yield left.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _pieces(archive: Archive, key: str) -> Iterator[bytes]:
    body = archive.open(key)
    try:
        view = memoryview(bytearray(BLOCK))
        while count := body.readinto(view):
            yield bytes(view[:count])
    finally:
        body.close()
