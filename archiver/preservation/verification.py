"""The archive held against the ledger: one walk through both in the order of their keys, a closer look where due."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

from archiver.core.errors import ArchiverError, StorePaused
from archiver.core.fixity import (
    Boundary,
    Fixity,
    Judged,
    KnownTask,
    Pair,
    Part,
    TrimmedFolder,
    looks_alike,
    pairs_of,
    walk_of,
)
from archiver.core.keys import manifest_key, multipart_probe_key, probe_key
from archiver.core.levels import Level
from archiver.core.model import ARCHIVE_FOLDER, TaskId
from archiver.core.reading import ObjectCold, ObjectUnread
from archiver.core.walks import WalkSums
from archiver.ports.archive import Archive, ListedObject
from archiver.ports.fixity import KnownObjects
from archiver.preservation.beside_tasks import BesideTasks
from archiver.preservation.fault_book import FaultBook
from archiver.preservation.looking import Looking
from archiver.preservation.walking import Walking

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
    acknowledged: int = 0
    """Faults that an operator has acknowledged."""

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
    walking: Walking | None = None
    """Where its place is noted, and from where it goes on; see `go_on`."""
    beside: BesideTasks | None = None
    """The rule by which tasks go first, where one is kept."""
    _unread: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, ids: Sequence[TaskId] | None = None) -> Iterator[Judged]:
        """Yield the verdict on each object that is not simply ok, in the order of the keys; count all.

        Raises StorePaused, StoreBusy where the store gives nothing any more, LedgerFault, and Interrupted.
        """
        place = "" if self.walking is None else self.walking.walk.place
        steps = self._through_all(place) if ids is None else self._through(ids, int(place or 0))
        waiting: deque[Future[Sequence[Judged]]] = deque()
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="verify") as pool:
            try:
                for step in steps:
                    self.look()
                    if isinstance(step, Boundary):
                        if self.walking is not None and self.walking.is_due:
                            yield from self._drained(waiting)
                            self._note(step, self.walking)
                    elif not self._is_plain(step):
                        waiting.append(pool.submit(self._judge_beside, step))
                        if len(waiting) >= 2 * self.concurrency:
                            yield from self._counted(waiting.popleft().result())
                yield from self._drained(waiting)
            finally:
                for each in waiting:
                    each.cancel()

    def go_on(self, walking: Walking) -> None:
        """Begin where that walk was left, with what it counted up to there, and note its place from now on."""
        self.walking, sums = walking, walking.walk.sums
        ids = [TaskId(each) for each in sums.unlisted]
        self.totals = FixityTotals(Counter(sums.verdicts), sums.tasks, sums.listed, sums.bytes, ids, sums.acknowledged)
        self.looking.unledgered = sums.unledgered

    def sums(self, tasks: int | None = None) -> WalkSums:
        """Return what was judged so far, with so many tasks."""
        totals = self.totals
        counts = totals.tasks if tasks is None else tasks, totals.listed, totals.bytes, self.looking.unledgered
        return WalkSums(dict(totals.verdicts), *counts, tuple(totals.unlisted), totals.acknowledged)

    def _note(self, boundary: Boundary, walking: Walking) -> None:
        """Note a place, all before which was judged; none while the store gives nothing: that is to be asked for again.

        What is found is kept first.
        """
        if self._unread:
            return
        if self.book is not None:
            self.book.passed(lambda fault: walking.is_behind(fault, boundary.folder))
        walking.note(boundary.folder, self.sums(boundary.tasks))

    def _drained(self, waiting: deque[Future[Sequence[Judged]]]) -> Iterator[Judged]:
        while waiting:
            yield from self._counted(waiting.popleft().result())

    def _through_all(self, place: str) -> Iterator[Pair | TrimmedFolder | Boundary]:
        """Yield all keys from a place on, and the places between them."""
        before = self.totals.tasks
        for step in walk_of(self._all_known(place), self._listed(self._objects_from(place)), self.prefix):
            if isinstance(step, Boundary):
                yield Boundary(step.folder, before + step.tasks)
            else:
                self._count_listed(step)
                yield step

    def _objects_from(self, place: str) -> Iterator[ListedObject]:
        """Yield the objects from a folder on.

        Some stores leave out a folder that is named as what to begin behind; of one letter less there are few others.
        """
        if not place:
            return self.archive.objects(self.prefix)
        begin = f"{self.prefix}{place}"
        return (each for each in self.archive.objects(self.prefix, after=begin[:-1]) if each.key > begin)

    def _through(self, ids: Sequence[TaskId], begin: int) -> Iterator[Pair | TrimmedFolder | Boundary]:
        """Yield the keys of these tasks, and the places between them, which are their numbers."""
        for number in range(begin, len(ids)):
            yield Boundary(str(number), self.totals.tasks)
            for pair in self._one(ids[number]):
                self._count_listed(pair)
                yield pair

    def _count_listed(self, pair: Pair | TrimmedFolder) -> None:
        totals = self.totals
        for each in pair.listed if isinstance(pair, TrimmedFolder) else (pair.listed,):
            if each is not None:
                totals.listed += 1
                totals.bytes += each.size

    def _counted(self, found: Sequence[Judged]) -> Iterator[Judged]:
        for judged in found:
            self.totals.add(judged)
            if self.book is not None:
                self.totals.acknowledged += self.book.judged(judged)
            if judged.verdict is not Fixity.OK:
                yield judged

    def _all_known(self, begin: str) -> Iterator[KnownTask]:
        first = self.objects.known(TaskId(begin)) if begin else None
        for task in chain(() if first is None else (first,), self.objects.all_known(after=begin)):
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

    def _judge_beside(self, pair: Pair | TrimmedFolder) -> Sequence[Judged]:
        return self.judge(pair) if self.beside is None else self.beside.read(lambda: self.judge(pair))

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
