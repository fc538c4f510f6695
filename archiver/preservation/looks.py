"""Looks at the folders of tasks, many at a time: read here, and proven where that keeps nobody waiting."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from archiver.core.adoption import FolderObjects, Known
from archiver.core.keys import folder_of, record_key
from archiver.core.manifest_bounds import LARGE, LARGEST
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.model import TaskId, task_id
from archiver.core.reading import ObjectUnread
from archiver.core.rebuilt_rows import Document, Judged, proven
from archiver.core.task_rows import TaskRows
from archiver.core.whole_task import WholeTask
from archiver.ports.archive import Archive
from archiver.ports.rebuilding import Proving
from archiver.preservation.task_folders import TaskFolders

THREADS: Final = 6
"""GETs under way, of whoever compares."""
_MOST_LEFT: Final = 3
"""Objects of one folder that are named with why they are left alone."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Looked:
    """Contents of one folder."""

    folder: str
    task: WholeTask | None = None
    """The task of its manifest; None where that is among the rows of a chunk."""
    objects: FolderObjects | None = None
    """Findings in a folder without a manifest."""
    known: WholeTask | None = None
    """That task, as a backup knows it."""
    trouble: str = ""
    foreign: bool = False
    format: int = 0
    """Of its manifest; 0 where there is none that is understood."""
    requests: int = 0

    @property
    def is_task(self) -> bool:
        """True where a task came out of it."""
        return bool(self.format) or self.objects is not None


@dataclass(frozen=True, slots=True)
class Looks:
    """Looks at folders, one at a time. Safe to share among threads."""

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
        found = self.document(folder)
        if isinstance(found, Looked):
            return found
        try:
            manifest = self.folders.read(found.data, found.task)
            whole, requests = self.folders.of_manifest(manifest)
        except ManifestBroken as broken:
            return broken_at(folder, str(broken), 1)
        except ObjectUnread as unread:
            return unread_at(folder, unread, 1)
        return Looked(folder, whole, format=manifest.format, requests=1 + requests)

    def document(self, folder: str) -> Document | Looked:
        """Return the manifest of the folder, or what stands there in its place; raises as `at`."""
        try:
            task = task_id(folder)
        except ValueError:
            return Looked(folder, trouble="its name is no task id", foreign=True)
        try:
            found = self.folders.document(task)
            return self._without_manifest(task) if found is None else Document(task, found.data)
        except ObjectUnread as unread:
            return unread_at(folder, unread, 1)

    def with_record(self, document: Document) -> Document | Looked:
        """Return the manifest and the record that it needs; raises as `at`."""
        try:
            record = self.archive.document(record_key(self.prefix, document.task), limit=LARGEST)
        except ObjectUnread as unread:
            return unread_at(document.task, unread, 2)
        return replace(document, record=None if record is None else record.data, record_was_asked=True)

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


def broken_at(folder: str, why: str, requests: int) -> Looked:
    """Return the verdict on a manifest that is not understood."""
    return Looked(folder, trouble=f"manifest.json: {why}", requests=requests)


def unread_at(folder: str, unread: ObjectUnread, requests: int) -> Looked:
    """Return the verdict on documents that cannot be read."""
    return Looked(folder, trouble=f"its documents cannot be read: {unread.code}", requests=requests)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Folders that were looked at, in their order, and the rows of the tasks whose manifests they hold."""

    looked: Sequence[Looked]
    rows: TaskRows


@dataclass(frozen=True, slots=True)
class Chunks:
    """Looks at some folders, one after the other, and has their manifests proven together. Safe to share."""

    looks: Looks
    proving: Proving | None = None
    """Proves manifests elsewhere; None: in this process."""
    _large: threading.Lock = field(default_factory=threading.Lock)

    def at(self, folders: Sequence[str]) -> Chunk:
        """Return what stands in the folders; raises as `Looks.at`, and LedgerFault."""
        rows, done, waiting, size = TaskRows(), dict[str, Looked](), list[Document](), 0
        for folder in folders:
            self.looks.alive()
            found = self.looks.document(folder)
            if isinstance(found, Looked):
                done[folder] = found
                continue
            waiting.append(found)
            size += len(found.data)
            if size >= LARGE:
                self._prove(waiting, rows, done)
                waiting, size = [], 0
        self._prove(waiting, rows, done)
        return Chunk([done[folder] for folder in folders], rows)

    def _prove(self, documents: Sequence[Document], rows: TaskRows, done: dict[str, Looked]) -> None:
        """Add the rows of the documents, and what became of them."""
        asked: list[Document] = []
        for document, judged in self._proven(documents, rows):
            if not judged.wants_record:
                done[document.task] = _looked(document, judged)
                continue
            self.looks.alive()
            found = self.looks.with_record(document)
            if isinstance(found, Looked):
                done[document.task] = found
            else:
                asked.append(found)
        for document, judged in self._proven(asked, rows):
            done[document.task] = _looked(document, judged)

    def _proven(self, documents: Sequence[Document], rows: TaskRows) -> Iterator[tuple[Document, Judged]]:
        if not documents:
            return
        if any(len(each.data) >= LARGE for each in documents):
            with self._large:  # it takes many times its size of memory
                judged, found = proven(self.looks.prefix, documents)
        elif self.proving is None:
            judged, found = proven(self.looks.prefix, documents)
        else:
            judged, found = self.proving(documents)
        rows.extend(found)
        yield from zip(documents, judged, strict=True)


def _looked(document: Document, judged: Judged) -> Looked:
    requests = 1 + document.record_was_asked
    if judged.trouble:
        return broken_at(document.task, judged.trouble, requests)
    return Looked(document.task, format=judged.format, requests=requests)


def side_by_side(
    work: Callable[[T], R], items: Iterable[T], threads: int = THREADS, ahead: int = 8 * THREADS
) -> Iterator[R]:
    """Yield what `work` makes of each, in their order; `threads` are under way, and `ahead` are begun or done."""
    with ThreadPoolExecutor(threads, thread_name_prefix="look") as pool:
        try:
            left: deque[Future[R]] = deque()
            for item in items:
                left.append(pool.submit(work, item))
                if len(left) >= ahead:
                    yield left.popleft().result()
            while left:
                yield left.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
