"""The archive held against the ledger: one walk through both in the order of their keys, a closer look where due."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from archiver.core.errors import ArchiverError, StorePaused
from archiver.core.fixity import (
    Fixity,
    Judged,
    KnownTask,
    Pair,
    Part,
    TrimmedFolder,
    looks_alike,
    pairs_of,
)
from archiver.core.keys import manifest_key, multipart_probe_key, probe_key
from archiver.core.levels import Level
from archiver.core.model import ARCHIVE_FOLDER, TaskId
from archiver.core.reading import ObjectCold, ObjectUnread
from archiver.ports.archive import Archive, ListedObject
from archiver.ports.fixity import KnownObjects
from archiver.preservation.fault_book import FaultBook
from archiver.preservation.looking import Looking

UNREAD_MAX = 8
"""Answers in a row that the store does not give, after which it is not asked for more."""


@dataclass(slots=True)
class FixityTotals:
    """The sum of what was judged."""

    verdicts: Counter[Fixity] = field(default_factory=Counter)
    tasks: int = 0
    listed: int = 0
    """Objects that a listing showed."""
    bytes: int = 0
    """Of objects that were listed."""
    unlisted: list[TaskId] = field(default_factory=list)
    """Ids that neither side knows."""

    def add(self, judged: Judged) -> None:
        """Count one more."""
        self.verdicts[judged.verdict] += 1

    @property
    def faults(self) -> int:
        """Objects that are not as they should be."""
        return sum(count for verdict, count in self.verdicts.items() if Judged("", verdict).is_fault)


@dataclass(slots=True)
class Verification:
    """Judges every object of the plan. For one use; writes nothing into the bucket."""

    archive: Archive
    objects: KnownObjects
    looking: Looking
    prefix: str
    level: Level
    concurrency: int
    look: Callable[[], None] = lambda: None
    """Raises Interrupted once the command is to end."""
    totals: FixityTotals = field(default_factory=FixityTotals)
    book: FaultBook | None = None
    """Where verdicts are written down; whoever gave it closes it."""
    _unread: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, ids: Sequence[TaskId] | None = None) -> Iterator[Judged]:
        """Yield the verdict on each object that is not simply ok, in the order of the keys; count all.

        Raises StorePaused, StoreBusy where the store gives nothing any more, LedgerFault, and Interrupted.
        """
        pairs = (
            pairs_of(self._all_known(), self._listed(self.archive.objects(self.prefix)), self.prefix)
            if ids is None
            else (pair for each in ids for pair in self._one(each))
        )
        waiting: deque[Future[Sequence[Judged]]] = deque()
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="verify") as pool:
            try:
                for pair in pairs:
                    self.look()
                    if self._is_plain(pair):
                        continue
                    waiting.append(pool.submit(self.judge, pair))
                    if len(waiting) >= 2 * self.concurrency:
                        yield from self._counted(waiting.popleft().result())
                while waiting:
                    yield from self._counted(waiting.popleft().result())
            finally:
                for each in waiting:
                    each.cancel()

    def _counted(self, found: Sequence[Judged]) -> Iterator[Judged]:
        for judged in found:
            self.totals.add(judged)
            if self.book is not None:
                self.book.judged(judged)
            if judged.verdict is not Fixity.OK:
                yield judged

    def _all_known(self) -> Iterator[KnownTask]:
        for task in self.objects.all_known():
            self.totals.tasks += 1
            yield task

    def _one(self, task_id: TaskId) -> Iterator[Pair | TrimmedFolder]:
        """Yield the keys of one task; none where nobody knows it."""
        task = self.objects.known(task_id)
        listed = list(self._listed(self.archive.objects(f"{self.prefix}{task_id}/")))
        if task is None and not listed:
            self.totals.unlisted.append(task_id)
            return
        self.totals.tasks += 1
        yield from pairs_of([] if task is None else [task], listed, self.prefix)

    def _listed(self, objects: Iterable[ListedObject]) -> Iterator[ListedObject]:
        reserved = f"{self.prefix}{ARCHIVE_FOLDER}/"
        probes = {probe_key(self.prefix), multipart_probe_key(self.prefix)}
        for each in objects:
            if each.key.startswith(reserved) or each.key in probes:
                continue
            self.totals.listed += 1
            self.totals.bytes += each.size
            yield each

    def _is_plain(self, pair: Pair | TrimmedFolder) -> bool:
        """Return whether a pair needs no look at all, and count it."""
        if isinstance(pair, TrimmedFolder):
            plain = len(pair.listed) if self.level is Level.LIST and pair.fits(self.prefix) else None
        else:
            plain = self._plain(pair)
        if plain:
            self.totals.verdicts[Fixity.OK] += plain
            if self.book is not None:
                self._sound(pair, self.book)
        return plain is not None

    @staticmethod
    def _sound(pair: Pair | TrimmedFolder, book: FaultBook) -> None:
        for each in pair.listed if isinstance(pair, TrimmedFolder) else (pair.listed,):
            if each is not None:
                book.sound(each.key)

    def _plain(self, pair: Pair) -> int | None:
        """Return how many objects of a pair are simply ok, which may be none; None where it needs a look."""
        expected, listed = pair.expected, pair.listed
        if listed is None:
            return 0 if expected is not None and not expected.required else None
        if expected is None or not looks_alike(expected, listed):
            return None
        return 1 if self.level is Level.LIST or expected.part is Part.RECORD else None

    def _judge_folder(self, folder: TrimmedFolder) -> Sequence[Judged]:
        """Judge what the manifest tells of a task that was trimmed."""
        self.look()
        task = folder.task.task_id
        try:
            judged, pairs = self.looking.opened(folder)
        except ArchiverError as fault:
            return [self._unreadable(Pair(None, None), manifest_key(self.prefix, task), fault)]
        return [judged, *(each for pair in pairs for each in self._judge_known(pair, task))]

    def _judge_known(self, pair: Pair, task: TaskId) -> Sequence[Judged]:
        plain = self._plain(pair)
        if plain is None:
            return self.judge(pair)
        key = (pair.expected or pair.listed or _NOTHING).key
        return [Judged(key, Fixity.OK, task)] * plain

    def judge(self, pair: Pair | TrimmedFolder) -> Sequence[Judged]:
        """Return the verdicts on one key, or on what stands in a folder; raises as `run`. Counts nothing."""
        if isinstance(pair, TrimmedFolder):
            return self._judge_folder(pair)
        self.look()
        key = (pair.expected or pair.listed or _NOTHING).key
        try:
            found = self.looking.at(pair)
        except ArchiverError as fault:
            return [self._unreadable(pair, key, fault)]
        with self._lock:
            self._unread = 0
        return found

    def _unreadable(self, pair: Pair, key: str, fault: ArchiverError) -> Judged:
        """Return the verdict on an object that the store did not give; raise where it gives nothing any more."""
        task = "" if pair.expected is None else pair.expected.task.task_id
        if isinstance(fault, ObjectCold):
            return Judged(key, Fixity.COLD, task, "", "an archived class", fault.hint)
        narrow = isinstance(fault, ObjectUnread) or fault.narrow
        if isinstance(fault, StorePaused) and not narrow:
            raise fault
        with self._lock:
            self._unread += not narrow
            if self._unread >= UNREAD_MAX:
                raise fault
        return Judged(key, Fixity.UNREAD, task, "", str(fault), fault.hint)


_NOTHING = ListedObject("", 0, "")
