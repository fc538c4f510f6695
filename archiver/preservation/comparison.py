"""A living ledger beside the bucket: each column of which the two say different things. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from archiver.core.answered import is_id
from archiver.core.errors import Interrupted
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.model import ARCHIVE_FOLDER, TaskId
from archiver.core.reading import ObjectUnread
from archiver.core.rebuilding import Found
from archiver.core.states import OPEN_TASK_STATES, TaskState
from archiver.core.trimming import trimmed_of
from archiver.core.whole_task import NOTHING, Difference, WholeTask, differences, stored_differently
from archiver.ports.archive import Archive, FoundDocument
from archiver.ports.rebuilding import Rebuilds
from archiver.preservation.looks import Looks, side_by_side

PAGE: Final = 500
SECOND_LOOK_AFTER: Final = 5.0
"""Seconds that a task under way has to come to its end, before it is looked at again."""


@dataclass(slots=True)
class Comparison:
    """Compares the two, the ledger's tasks first, then the bucket's folders."""

    looks: Looks
    rebuilds: Rebuilds
    sleep: Callable[[float], object]
    stopped: Callable[[], bool] = lambda: False
    shown: Callable[[Found], object] = lambda _: None
    found: Found = field(default_factory=Found)
    """Counts of the comparison so far."""

    def run(self) -> Iterator[Difference]:
        """Yield each difference; raise LedgerFault, StoreBusy, StorePaused, and Interrupted once stopped."""
        yield from self._of_ledger()
        yield from self._of_bucket(self.looks.archive)

    def _of_ledger(self) -> Iterator[Difference]:
        page = self.rebuilds.page("", PAGE)
        while page:
            yield from self._twice(page)
            self._count(tasks=len(page))
            page = self.rebuilds.page(page[-1].task_id, PAGE)

    def _twice(self, page: Sequence[WholeTask]) -> Iterator[Difference]:
        """Yield what differs also when it is looked at again: a task may have been under way."""
        first = [each for found in side_by_side(self.differences, page) for each in found]
        if not first:
            return
        ids = {each.task_id for each in first}
        if any(whole.state in OPEN_TASK_STATES for whole in page if whole.task_id in ids):
            self.sleep(SECOND_LOOK_AFTER)
        again = {each for whole in self.rebuilds.whole(ids) for each in map(_key, self.differences(whole))}
        yield from (each for each in first if _key(each) in again)

    def differences(self, whole: WholeTask) -> Sequence[Difference]:
        """Return what the bucket says differently of one task."""
        task = whole.task_id
        try:
            found = self.looks.folders.document(task)
            bucket = None if found is None else self._bucket(found, whole)
        except (ManifestBroken, ObjectUnread) as broken:
            return [Difference(task, "manifest", whole.state.value, f"broken: {broken}")]
        if bucket is None:
            is_open = whole.state in OPEN_TASK_STATES
            return [] if is_open else [Difference(task, "manifest", whole.state.value, NOTHING)]
        if whole.state not in OPEN_TASK_STATES:
            return list(differences(whole, bucket))
        ended = [Difference(task, "state", whole.state.value, bucket.state.value)]
        return (ended if bucket.state is TaskState.ARCHIVED else []) + list(stored_differently(whole, bucket))

    def _bucket(self, found: FoundDocument, ledger: WholeTask) -> WholeTask:
        """Return the task as its manifest has it; of one that was trimmed also what would be kept of it."""
        folders = self.looks.folders
        bucket, _ = folders.of_manifest(folders.read(found.data, ledger.task_id))
        if ledger.trimmed is None:
            return bucket
        return replace(bucket, trimmed=trimmed_of(bucket.stems, (len(found.data), found.head.etag)))

    def _of_bucket(self, archive: Archive) -> Iterator[Difference]:
        folders = (each for each in archive.folders(self.looks.prefix) if each != ARCHIVE_FOLDER)
        while batch := list(islice(folders, PAGE)):
            unknown = self._unknown(batch)
            for looked in side_by_side(self.looks.at, unknown):
                known = self._unknown([looked.folder])
                if known and (looked.task is not None or looked.objects is not None):
                    state = "objects without a manifest" if looked.task is None else looked.task.state.value
                    yield Difference(TaskId(looked.folder), "task", NOTHING, state)
                elif known:
                    self.found = self.found.with_trouble(looked.folder, looked.trouble, foreign=looked.foreign)
            self._count(folders=len(batch))

    def _unknown(self, folders: Iterable[str]) -> list[str]:
        ids = [TaskId(each) for each in folders if is_id(each)]
        known = {whole.task_id for whole in self.rebuilds.whole(ids)} if ids else set()
        return [each for each in folders if each not in known]

    def _count(self, *, tasks: int = 0, folders: int = 0) -> None:
        found = self.found
        self.found = replace(found, tasks=found.tasks + tasks, folders=found.folders + folders)
        self.shown(self.found)
        if self.stopped():
            raise Interrupted


def _key(difference: Difference) -> tuple[str, str, str, str]:
    """Return what tells a difference from another: values may be lists or mappings."""
    return difference.task_id, difference.column, repr(difference.ledger), repr(difference.bucket)
