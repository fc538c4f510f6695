"""Tasks out of the bucket into a directory: by their manifests alone, many files at a time, each proven."""

from __future__ import annotations

import errno
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from archiver.core.errors import ArchiverError, StoreBusy, StorePaused
from archiver.core.keys import MANIFEST_NAME, RECORD_NAME, manifest_key, record_key
from archiver.core.manifest_bounds import LARGE, LARGEST
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.manifest_read import Manifest, read_manifest
from archiver.core.model import AccountName, TaskId, task_id
from archiver.core.reading import ObjectAbsent, ObjectCold, ObjectLong, ObjectUnread
from archiver.preservation.fetching import Fetching, WrongBytes
from archiver.preservation.folder import Folder, NotOurs
from archiver.preservation.results import Result, Totals, Verdict
from archiver.preservation.wanted import Selection, Wanted, WantedFile, wanted

RECORD_MAX = LARGEST
UNREAD_MAX = 8
"""Files in a row that the store does not give, after which it is not asked for more."""
_OF_THE_NAME = frozenset(
    {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EISDIR, errno.EILSEQ, errno.EINVAL, errno.ENOTDIR}
)
NO_MANIFEST = (
    "nothing was archived of it under this store.prefix yet, or it is another's id: `stem-archiver show ID` tells how "
    "far it is, `stem-archiver enqueue ID` hands it in"
)
_BROKEN = "look at the object: it was changed or damaged; a versioned bucket may still have the one before"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks of the archive are meant."""

    since: datetime | None = None
    """Those that ended then or later."""
    account: AccountName | None = None

    def leaves_out(self, manifest: Manifest) -> str:
        """Return why a task is not meant; empty where it is."""
        if self.since is not None and (manifest.ended_at or manifest.written_at) < self.since:
            return "earlier"
        if self.account is None or manifest.account == self.account:
            return ""
        return "another account" if manifest.account is not None else "account not known"


@dataclass(slots=True)
class _Task:
    """A task on its way: its folder, open, and its files under way, in the order in which they are shown."""

    known: list[Result] = field(default_factory=list)
    files: list[Future[Result]] = field(default_factory=list)
    held: ExitStack = field(default_factory=ExitStack)


@dataclass(slots=True)
class Retrieval:
    """Writes what is wanted of each task below `root`. For one use."""

    fetching: Fetching
    prefix: str
    root: Folder
    selection: Selection
    concurrency: int
    totals: Totals = field(default_factory=Totals)
    filter: Filter = field(default_factory=Filter)
    whole: bool = False
    """True where the whole archive is meant: a task that has no audio to give is no fault of it then."""
    _given_up: threading.Event = field(default_factory=threading.Event)
    _large: threading.Lock = field(default_factory=threading.Lock)
    _unread: int = 0

    def __post_init__(self) -> None:
        asked = self.fetching.stopped
        self.fetching = replace(self.fetching, stopped=lambda: self._given_up.is_set() or asked())

    def everything(self) -> Iterator[Result]:
        """Do the whole archive; see `run`."""
        return self.run(tasks_under(self.fetching.archive.folders(self.prefix)))

    def run(self, tasks: Iterable[TaskId]) -> Iterator[Result]:
        """Yield what became of each file, in the tasks' order, as soon as it is known.

        Raises StorePaused, or StoreBusy where the store gives nothing any more; OSError where nothing can be written,
        and Interrupted once stopped. Whatever was not whole by then is gone; whatever was is kept.
        """
        looks: deque[Future[tuple[TaskId, Manifest | Result, bytes]]] = deque()
        running: deque[_Task] = deque()
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="get") as pool:
            try:
                ids = iter(tasks)
                while True:
                    for each in ids:
                        looks.append(pool.submit(self.look, each))
                        if len(looks) >= self.concurrency:
                            break
                    if not looks:
                        break
                    running.append(self._begin(pool, *looks.popleft().result()))
                    while sum(1 + len(task.files) for task in running) >= 2 * self.concurrency:
                        yield from self._end(running)
                while running:
                    yield from self._end(running)
            finally:
                self._given_up.set()
                pool.shutdown(cancel_futures=True)  # and wait: no thread may go on in a folder that is closed
                for task in running:
                    task.held.close()

    def look(self, task: TaskId) -> tuple[TaskId, Manifest | Result, bytes]:
        """Return the task's manifest and its bytes, or what kept it from being read."""
        self.fetching.look()
        failed = partial(Result, task, task)
        try:
            found = self.fetching.archive.document(manifest_key(self.prefix, task), limit=LARGEST)
            if found is None:
                return task, failed(Verdict.NO_MANIFEST, detail="there is no manifest", hint=NO_MANIFEST), b""
            if len(found.data) < LARGE:
                return task, read_manifest(found.data, task), found.data
            with self._large:
                return task, read_manifest(found.data, task), found.data
        except (ManifestBroken, ObjectLong) as fault:
            return task, failed(Verdict.BROKEN, detail=str(fault), hint=_BROKEN), b""
        except ArchiverError as fault:
            return task, self.refused(failed(Verdict.UNREAD), fault), b""

    def _begin(self, pool: ThreadPoolExecutor, task: TaskId, found: Manifest | Result, data: bytes) -> _Task:
        """Open the task's folder, and have its files fetched."""
        made = _Task()
        if isinstance(found, Result):
            made.known.append(found)
            return made
        if reason := self.filter.leaves_out(found):
            self.totals.left_out[reason] += 1
            return made
        asked = wanted(found, self.selection)
        made.known += self.without(found, asked)
        if not asked.files and self.selection.stem is not None:
            return made
        try:
            folder = made.held.enter_context(self.root.below(asked.folder))
        except NotOurs as fault:
            made.known.append(Result(task, asked.folder, Verdict.BLOCKED, detail=str(fault)))
            return made
        made.files = [pool.submit(self._file, folder, task, asked.folder, each) for each in asked.files]
        if self.selection.stem is None:
            made.files.append(pool.submit(self._record, folder, found, asked.folder))
            path = f"{asked.folder}/{MANIFEST_NAME}"
            made.files.append(pool.submit(self._document, folder, task, path, MANIFEST_NAME, data))
        return made

    def without(self, manifest: Manifest, asked: Wanted) -> Iterator[Result]:
        """Yield what the manifest itself tells that there is not."""
        task, chosen = manifest.task_id, self.selection.stem
        self.totals.tasks += 1
        for each in asked.unusable:
            verdict = Verdict.GONE if each.gone else Verdict.UNUSABLE
            yield Result(task, f"{asked.folder}/{each.stem}", verdict, detail=each.why, stem=each.stem)
        if chosen is not None and manifest.stem(chosen) is None:
            names = ", ".join(stem.name for stem in manifest.stems if stem.is_stored) or "none"
            yield Result(task, task, Verdict.GONE, detail=f"it has no stem {chosen}; it has: {names}", stem=chosen)
        elif not manifest.stems:
            self.totals.without_audio += 1
            if not self.whole:
                why = manifest.state + (f": {manifest.reason}" if manifest.reason else "")
                yield Result(task, task, Verdict.NO_AUDIO, detail=why)

    def _end(self, running: deque[_Task]) -> Iterator[Result]:
        """Wait for the files of the first task, tell of them, and only then close its folder and let go of it."""
        task = running[0]
        for result in task.known:
            yield self._counted(result)
        for each in task.files:
            yield self._counted(each.result())
        running.popleft().held.close()

    def _counted(self, result: Result) -> Result:
        self.totals.add(result)
        return result

    def _file(self, folder: Folder, task: TaskId, into: str, file: WantedFile) -> Result:
        key = f"{self.prefix}{task}/{file.path}"
        result = Result(task, f"{into}/{file.name}", Verdict.WRITTEN, file.size, file.sha256, stem=file.stem)

        def write() -> Result:
            with folder.writing(file.name) as new:
                self.fetching.fetch(key, file.size, file.sha256, new)
            self._unread = 0
            return result

        return self._judged(folder, file.name, result, write)

    def _record(self, folder: Folder, manifest: Manifest, into: str) -> Result:
        """Write the record as the provider gave it: nothing tells its hash, so its length alone is proven."""
        task, path = manifest.task_id, f"{into}/{RECORD_NAME}"
        try:
            found = self.fetching.archive.document(record_key(self.prefix, task), limit=RECORD_MAX)
        except ArchiverError as fault:
            return self.refused(Result(task, path, Verdict.UNREAD), fault)
        if found is None:
            if manifest.stems:
                return Result(task, path, Verdict.ABSENT, detail="the store has no such object")
            return Result(task, path, Verdict.EQUAL, detail="the task has none")
        return self._document(folder, task, path, RECORD_NAME, found.data)

    def _document(self, folder: Folder, task: TaskId, path: str, name: str, data: bytes) -> Result:
        result = Result(task, path, Verdict.WRITTEN, len(data), hashlib.sha256(data).hexdigest())

        def write() -> Result:
            with folder.writing(name) as new:
                new.write(memoryview(data))
            return result

        return self._judged(folder, name, result, write)

    def _judged(self, folder: Folder, name: str, result: Result, write: Callable[[], Result]) -> Result:
        """Leave what stands there already, else `write`; return what became of it."""
        try:
            self.fetching.look()
            standing = folder.look(name)
            if standing is None:
                return write()
            if standing == (result.size, result.sha256):
                return replace(result, verdict=Verdict.EQUAL)
            return replace(result, verdict=Verdict.DIFFERENT, detail="another file stands there, and is left alone")
        except NotOurs as fault:
            return replace(result, verdict=Verdict.BLOCKED, detail=str(fault))
        except WrongBytes as fault:
            return replace(result, verdict=Verdict.WRONG, detail=str(fault))
        except ArchiverError as fault:
            return self.refused(result, fault)
        except OSError as fault:
            if fault.errno not in _OF_THE_NAME:
                raise
            return replace(result, verdict=Verdict.BLOCKED, detail=fault.strerror or str(fault))

    def refused(self, result: Result, fault: ArchiverError) -> Result:
        """Return the verdict on one file that the store did not give; raise where it gives nothing any more."""
        judged = _unreadable(result.task_id, result.path, fault)
        if judged.verdict is Verdict.UNREAD:
            self._unread += 1
            if self._unread >= UNREAD_MAX:
                raise fault
        return replace(judged, stem=result.stem, size=result.size, sha256=result.sha256)


def _unreadable(task: str, path: str, fault: ArchiverError) -> Result:
    """Return the verdict on an object that the store did not give; raise where it refuses all of them."""
    if isinstance(fault, StorePaused) and not fault.narrow:
        raise fault
    if not isinstance(fault, StorePaused | StoreBusy | ObjectUnread):
        raise fault
    kinds: dict[type[ArchiverError], Verdict] = {
        ObjectAbsent: Verdict.ABSENT,
        ObjectCold: Verdict.COLD,
        ObjectLong: Verdict.WRONG,
    }
    return Result(task, path, kinds.get(type(fault), Verdict.UNREAD), detail=str(fault), hint=fault.hint)


def tasks_under(folders: Iterable[str]) -> Iterator[TaskId]:
    """Yield the folders that are a task's."""
    for name in folders:
        with suppress(ValueError):
            yield task_id(name)
