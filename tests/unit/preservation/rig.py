"""A bucket in memory, and a command over it; the bucket may fail as told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archiver.core.model import TaskId
from archiver.preservation.fetching import Fetching
from archiver.preservation.folder import Folder
from archiver.preservation.results import Result, Verdict
from archiver.preservation.retrieval import Filter, Retrieval
from archiver.preservation.wanted import Selection
from archiver.preservation.zipped import Zips
from tests.fakes.archive import FakeArchive, MemoryObject
from tests.fakes.object_store import FakeStore
from tests.fixtures.archived import TASK, archived, noise
from tests.house import BufferBudget

STEMS = {"vocal": noise(700_001), "drums": noise(300_000, 2)}


class Unlimited:
    """A bandwidth without a limit."""

    on = False

    def take(self, most: int) -> int:
        return most

    def give_back(self, size: int) -> None:
        pass


@dataclass(frozen=True)
class OpensAs(FakeArchive):
    """A fake archive whose bodies are what `alter` makes of them."""

    alter: Callable[[str, MemoryObject], MemoryObject] = lambda _, body: body

    def open(self, key: str, *, offset: int = 0, etag: str = "") -> MemoryObject:
        return self.alter(key, super().open(key, offset=offset, etag=etag))


@dataclass
class Bench:
    """A bucket and a directory."""

    into: Path
    store: FakeStore = field(default_factory=FakeStore)
    alter: Callable[[str, MemoryObject], MemoryObject] = lambda _, body: body
    stopped: Callable[[], bool] = lambda: False
    step: Callable[[str], None] = lambda _: None
    bandwidth: Any = field(default_factory=Unlimited)

    @contextmanager
    def retrieval(self, selection: Selection, **changes: Any) -> Iterator[Retrieval]:  # noqa: ANN401 - of a Retrieval
        archive = OpensAs(self.store, self.alter)
        fetching = Fetching(archive, BufferBudget(8 << 20), self.bandwidth, lambda _: None, self.stopped)
        with Folder.at(self.into, self.step) as root:
            yield Retrieval(fetching, "p/", root, selection, 4, **changes)

    def get(self, *tasks: str, selection: Selection = Selection()) -> list[Result]:  # noqa: B008 - it is frozen
        with self.retrieval(selection) as work:
            return list(work.run(map(TaskId, tasks or (TASK,))))

    def zip(self, *tasks: str, selection: Selection = Selection()) -> list[Result]:  # noqa: B008 - it is frozen
        with self.retrieval(selection) as work:
            return list(Zips(work).run(map(TaskId, tasks or (TASK,))))

    def restore(self, filter_: Filter = Filter()) -> tuple[list[Result], Retrieval]:  # noqa: B008 - it is frozen
        with self.retrieval(Selection(), filter=filter_, whole=True) as work:
            return list(work.everything()), work

    def files(self) -> dict[str, bytes]:
        """Everything below the directory, by its path."""
        return {str(file.relative_to(self.into)): file.read_bytes() for file in self.into.rglob("*") if file.is_file()}


def verdicts(results: list[Result]) -> dict[str, Verdict]:
    return {result.path.rpartition("/")[2]: result.verdict for result in results}


def bench_at(path: Path, stems: Mapping[str, bytes] = STEMS) -> Bench:
    """A bench with one task in its bucket."""
    bench = Bench(path)
    bench.store.objects.update(archived(stems))
    return bench


def in_a_child(work: Callable[[], object]) -> int:
    """Do `work` in a child of this process, and return its number."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child
