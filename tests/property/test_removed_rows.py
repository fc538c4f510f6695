"""Tasks whose ledger is removed at a random moment, and whose ids come again when the links are dead.

Whatever the provider and the store answer then: what stands in the bucket is never called lost, missing or failed.
"""

from __future__ import annotations

import os
import pathlib
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from archiver.core.errors import LinkSpent, StoreBusy
from archiver.core.model import Phase, RecordInfo, StemName, TaskId
from archiver.core.reports import TaskRow
from archiver.core.states import StemState, TaskState
from tests.fakes.audio import mp3
from tests.fakes.object_store import FakeStore
from tests.fakes.observer import Watcher
from tests.fakes.time import NOW
from tests.fixtures.ledgers import tid
from tests.fixtures.states import OPEN
from tests.house import ready_ledger_at
from tests.worlds.path import PREFIX, Path, Process

MANY = int(os.environ.get("ARCHIVER_REMOVED_ROWS", "10000"))
FEW = 40
AT_ONCE = 40
"""Tasks of one ledger."""
MEMORY = pathlib.Path("/dev/shm")
DEAD = timedelta(days=40)
NAMES = ("bass", "drums", "vocal")
SIZES = (700, 1400, 1600, 4000)
"""Around what is put in parts; few, so that two stems of a task often have equal bytes."""
TROUBLED = 20
"""Days on which the store may fail."""
READS = ("document", "objects", "open", "head")


class Removed(BaseException):
    """The process is no more, and its ledger neither."""


@dataclass
class Ends:
    """What ends a process at one of its next steps."""

    steps: int = 0

    def __call__(self, step: str) -> None:
        del step
        self.steps -= 1
        if self.steps == 0:
            raise Removed


@dataclass
class Ids:
    """Tasks, what the provider made of each, and the bucket that they are archived into."""

    rng: random.Random
    truth: dict[str, dict[str, bytes]] = field(default_factory=dict)
    store: FakeStore = field(default_factory=lambda: FakeStore(single_put_max=1500))

    def __post_init__(self) -> None:
        for number in range(AT_ONCE):
            names = self.rng.sample(NAMES, self.rng.randint(1, len(NAMES)))
            self.truth[tid(number)] = {name: mp3(self.rng.choice(SIZES), self.rng.randint(1, 2)) for name in names}

    @contextmanager
    def ledger(self, ends: Ends, at: timedelta = timedelta()) -> Iterator[Path]:
        """Open a new ledger with all ids."""
        self.store.checkpoint = ends
        with (
            tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
            closing(ready_ledger_at(f"sqlite:///{folder}/ledger.db", checkpoint=ends)) as ledger,
        ):
            path = Path(ledger, store=self.store, now=NOW + at, watcher=Watcher(ends))
            path.accept(*self.truth)
            yield path

    def lists(self, path: Path, task: str, *, dead: bool) -> None:
        """Let the provider list the task's stems, and the CDN have them, or not any more."""
        stems = self.truth[task]
        answers = {name: LinkSpent(status=404) if dead else data for name, data in stems.items()}
        path.lists(*(path.serves(f"{task}/{name}", answer, stem=name) for name, answer in answers.items()), task=task)

    def stand(self) -> Mapping[str, set[StemName]]:
        """Return the stems of each task whose objects stand in the bucket, or an equal one does."""
        keys = [key.removeprefix(PREFIX).split("/") for key in self.store.objects if key.endswith(".mp3")]
        found: dict[str, set[StemName]] = {task: set() for task in self.truth}
        for task, name in keys:
            found[task].add(StemName(name.removesuffix(".mp3")))
        return found

    def is_archived(self, task: str) -> bool:
        return b'"state": "archived"' in self.store.objects.get(f"{PREFIX}{task}/manifest.json", b"")


def archive_until_removed(ids: Ids) -> None:
    """Let each task be archived by a process that may end at any step, so that any part of it stands."""
    ends = Ends()
    with ids.ledger(ends) as path:
        for task in ids.truth:
            ids.lists(path, task, dead=False)
        due = True
        while due:
            process = Process(path, f"{ids.rng.getrandbits(40):x}", checkpoint=ends)
            ends.steps = ids.rng.randint(1, 60)
            try:
                due = process.dispatcher.step()
            except Removed:
                continue
            ends.steps = 0
        ends.steps = 0


def comes_again(ids: Ids) -> Counter[str]:
    """Let all ids come again; return how they end, and fail at the first false verdict."""
    stood, whole = ids.stand(), {task for task in ids.truth if ids.is_archived(task)}
    says = {task: ids.rng.choice([Phase.DONE, Phase.DONE, Phase.FAILED, Phase.ABSENT]) for task in ids.truth}
    alive = {task for task in ids.truth if ids.rng.random() < 0.1}
    with ids.ledger(Ends(), DEAD) as path:
        for task, phase in says.items():
            if phase is Phase.DONE:
                ids.lists(path, task, dead=task not in alive)
            else:
                path.api.knows(TaskId(task), RecordInfo(phase, flag="F"))
        for round_ in range(60):
            if round_ == TROUBLED:
                ids.store.failures.clear()
            elif round_ < TROUBLED and ids.rng.random() < 0.7:
                ids.store.fail(ids.rng.choice(READS), StoreBusy("503"), times=ids.rng.randint(1, 12))
            path.breakers.reload()
            while path.dispatcher.step():
                pass
            if all(path.row(task).state not in OPEN for task in ids.truth):
                break
            path.now += timedelta(hours=25)
        ended: Counter[str] = Counter()
        for task in ids.truth:
            row = path.row(task)
            stems = {each.name: each.state for each in row.stems}
            stored = {name for name, state in stems.items() if state is StemState.STORED}
            said = (task, says[task], stood[task], row.state, row.reason, stems)
            assert row.state not in OPEN, said
            assert stood[task] <= stored, said
            assert not (stored - stood[task]) or task in alive or are_aliases(row, stored - stood[task]), said
            assert row.state is TaskState.ARCHIVED or task not in whole, said
            if says[task] is Phase.DONE and stood[task] == ids.truth[task].keys():
                assert row.state is TaskState.ARCHIVED, said
            assert row.state in {TaskState.ARCHIVED, TaskState.LOST} or not stood[task], said
            ended[f"{row.state}{'' if not stood[task] else ' with objects'}"] += 1
    return ended


def are_aliases(row: TaskRow, names: set[StemName]) -> bool:
    return all(
        each.receipt is not None and each.receipt.alias_of is not None for each in row.stems if each.name in names
    )


def check(tasks: int, seed: int) -> Counter[str]:
    ended: Counter[str] = Counter()
    while ended.total() < tasks:
        ids = Ids(random.Random(seed + ended.total()))
        archive_until_removed(ids)
        ended += comes_again(ids)
    return ended


def test_tasks_whose_rows_were_removed_at_any_moment_meet_no_false_verdict() -> None:
    ended = check(FEW, seed=16)
    assert len(ended) > 2, ended


@pytest.mark.slow
@pytest.mark.timeout(300 + MANY)
def test_ten_thousand_tasks_whose_rows_were_removed_at_any_moment_meet_no_false_verdict() -> None:
    seed = random.randrange(1 << 40)
    print(f"\nseed {seed}")
    print(", ".join(f"{count} {end}" for end, count in sorted(check(MANY, seed).items())))
