"""`ledger backup`, `ledger restore` and `rebuild`, stopped at each statement, commit, checkpoint and call of the store.

Stopped by exception, which is cheap; by SIGKILL at a few, for nothing tidies up after that. Full disks too. In every
run some of the steps are taken, evenly; all of them, and every byte of a backup's file, in the slow run.
"""

from __future__ import annotations

import itertools
import os
import resource
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from archiver.app.backup import back_up, restore_ledger
from archiver.core.backup import BackupBroken, BackupReader, BackupRefused, Scope
from archiver.core.errors import LedgerFault
from archiver.core.model import TaskId
from archiver.core.whole_task import WholeTask
from archiver.preservation.backup import BucketBackup
from tests.fakes.audio import mp3
from tests.fakes.object_store import FakeStore, MemoryJournal
from tests.fixtures.ledgers import NOW, listed, ready_ledger, stored, take_in, tid
from tests.fixtures.planted import sha256_of
from tests.house import Ledger, rebuild_on

EVERY_RUN = 5
"""Steps at which each command is stopped in every run of the tests."""


class Stopped(BaseException):
    """The process is no more."""


def raised(step: str) -> None:
    raise Stopped(step)


@dataclass
class Steps:
    """The steps that are passed; the process ends at one of them."""

    stop_at: int = 0
    end: Callable[[str], object] = raised
    passed: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) == self.stop_at:
            self.end(name)

    @contextmanager
    def noted(self) -> Iterator[Steps]:
        """Note each statement and commit of every database, too."""

        def execute(_db: object, _cursor: object, statement: str, *_: object) -> None:
            self.step(f"sql {' '.join(statement.split()[:3])}")

        def commit(_db: object) -> None:
            self.step("commit")

        event.listen(Engine, "before_cursor_execute", execute)
        event.listen(Engine, "commit", commit)
        try:
            yield self
        finally:
            event.remove(Engine, "before_cursor_execute", execute)
            event.remove(Engine, "commit", commit)


def killed(_step: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_fork(work: Callable[[], object]) -> int:
    """Carry out `work` in a process of its own; return how that ended, as an exit code."""
    if (child := os.fork()) == 0:
        try:
            with suppress(LedgerFault, BackupRefused):
                work()
                os._exit(0)
            os._exit(7)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Case(ABC):
    """One command on a small world, in a folder of its own each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count()

    def place(self) -> Path:
        """A new folder for one run and what follows it."""
        place = self.folder / str(next(self._numbers))
        place.mkdir()
        return place

    @abstractmethod
    def run(self, place: Path, steps: Steps) -> None:
        """Give the command."""

    @abstractmethod
    def seen(self, place: Path) -> object:
        """What stands there now, by which it is told whether all, or nothing, was done."""

    @abstractmethod
    def begun(self, place: Path) -> bool:
        """Return whether a command that was stopped may leave what stands there."""


class ToFile(Case):
    """`ledger backup FILE`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with closing(ready_ledger(folder)) as ledger:
            fill(ledger)

    def run(self, place: Path, steps: Steps) -> None:
        with closing(ready_ledger(self.folder)) as ledger, steps.noted():
            back_up(ledger, place / "file", steps.step)

    def seen(self, place: Path) -> object:
        return dict(BackupReader([(place / "file").read_bytes()]).check().rows)

    def begun(self, place: Path) -> bool:
        if not (place / "file").exists():
            return True
        (place / "file").rename(place / "first")
        return bool(BackupReader([(place / "first").read_bytes()]).check().rows["tasks"])


class ToBucket(Case):
    """`ledger backup`, without FILE."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stores: dict[Path, FakeStore] = {}
        with closing(ready_ledger(folder)) as ledger:
            fill(ledger)

    def run(self, place: Path, steps: Steps) -> None:
        store = self.stores.setdefault(place, FakeStore())
        store.before, store.checkpoint = lambda method, _: steps.step(f"store {method}"), steps.step
        with closing(ready_ledger(self.folder)) as ledger, steps.noted():
            BucketBackup(ledger.backups, store, MemoryJournal(), lambda: None, "p/", "test", lambda: NOW).take()

    def seen(self, place: Path) -> object:
        return [dict(BackupReader([data]).check().rows) for data in self.stores[place].objects.values()][-1]

    def begun(self, place: Path) -> bool:
        return all(BackupReader([data]).check() for data in self.stores[place].objects.values())


class FromFile(Case):
    """`ledger restore FILE`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with closing(ready_ledger(folder)) as ledger:
            fill(ledger)
            back_up(ledger, folder / "file")

    def run(self, place: Path, steps: Steps) -> None:
        if not (place / "ledger.db").exists():
            ready_ledger(place).close()
        with steps.noted():
            restore_ledger(
                f"sqlite:///{place}/ledger.db",
                self.folder / "file",
                lambda table, _: steps.step(f"filled {table}"),
                checkpoint=steps.step,
            )

    def seen(self, place: Path) -> object:
        return tasks_in(place)

    def begun(self, place: Path) -> bool:
        found = tasks_in(place)
        if found:
            (place / "ledger.db").unlink()
        return found in ([], tasks_in(self.folder))


class Rebuilding(Case):
    """`rebuild`, of everything that can stand in a bucket."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.store = FakeStore()
        with closing(ready_ledger(folder)) as ledger:
            fill(ledger)
            out = bytearray()
            ledger.backups.write(Scope.OPEN, out.extend, now=NOW, version="test")
        self.store.objects["p/_archive/ledger/2026-08-06T12-00-00Z.jsonl.gz"] = bytes(out)
        for number, stem in ((1, "vocal"), (2, "bass"), (8, "drums")):
            key = f"p/{tid(number)}/{stem}.mp3"
            self.store.objects[key], self.store.content_types[key] = (data := mp3(3000, number)), "audio/mpeg"
            self.store.metadata[key] = {"task-id": tid(number), "stem": stem, "sha256": sha256_of(data)}
        self.store.objects[f"p/{tid(7)}/manifest.json"] = b"{}"

    def run(self, place: Path, steps: Steps) -> None:
        self.store.before = lambda method, _: steps.step(f"store {method}")
        with closing(ready_ledger(place, steps.step)) as ledger, steps.noted():
            rebuild_on(ledger, self.store.archive, lambda: NOW, batch=2).run()

    def seen(self, place: Path) -> object:
        return tasks_in(place)

    def begun(self, place: Path) -> bool:
        return {each.task_id for each in tasks_in(place)} <= {tid(number) for number in (1, 2, 3, 8)}


def fill(ledger: Ledger) -> None:
    stored(ledger, listed(ledger, 1))
    listed(ledger, 2)
    take_in(ledger, 3)


def tasks_in(place: Path) -> list[WholeTask]:
    with closing(ready_ledger(place)) as ledger:
        return list(ledger.rebuilds.page(TaskId(""), 100))


COMMANDS: Mapping[str, Callable[[Path], Case]] = {
    "backup to a file": ToFile,
    "backup into the bucket": ToBucket,
    "restore": FromFile,
    "rebuild": Rebuilding,
}
CHECKPOINTS = {
    "backup to a file": {"backup.begun", "backup.written", "backup.synced", "backup.named"},
    "backup into the bucket": {"store put", "put.begun", "put.done"},
    "restore": {"restore.checked", "filled tasks", "restore.filled", "restore.compared", "restore.committed", "commit"},
    "rebuild": {"rebuild.begun", "rebuild.backup_taken", "rebuild.taken", "rebuild.ended", "store open", "commit"},
}
"""Steps that are among those of each."""


def undisturbed(case: Case) -> tuple[list[str], object]:
    """The steps of a run that nothing stops, and what stands there then."""
    place, steps = case.place(), Steps()
    case.run(place, steps)
    return steps.passed, case.seen(place)


def stopped_at(case: Case, number: int, whole: object) -> None:
    """Stop the command there; it has done all, nothing, or a part that it goes on with, and does the rest."""
    place = case.place()
    with pytest.raises(Stopped):
        case.run(place, Steps(number))
    assert case.begun(place)
    with suppress(LedgerFault):  # it had come to its end, and the ledger is full
        case.run(place, Steps())
    assert case.seen(place) == whole


@pytest.mark.parametrize("command", COMMANDS)
def test_command_stopped_at_some_of_its_steps_is_done_by_the_next(tmp_path: Path, command: str) -> None:
    case = COMMANDS[command](tmp_path)
    steps, whole = undisturbed(case)
    assert len(set(steps)) >= 8, steps
    assert CHECKPOINTS[command] <= set(steps)
    for number in range(len(steps), 0, -max(1, -(-len(steps) // EVERY_RUN))):
        stopped_at(case, number, whole)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", COMMANDS)
def test_command_stopped_at_any_of_its_steps_is_done_by_the_next(tmp_path: Path, command: str) -> None:
    case = COMMANDS[command](tmp_path)
    steps, whole = undisturbed(case)
    for number in range(1, len(steps) + 1):
        stopped_at(case, number, whole)
    print(f"{command}: {len(steps)} steps, {len(set(steps))} of them different")


@pytest.mark.parametrize("command", ["backup to a file", "restore", "rebuild"])
def test_command_that_is_killed_is_done_by_the_next(tmp_path: Path, command: str) -> None:
    case = COMMANDS[command](tmp_path)
    steps, whole = undisturbed(case)
    for number in (len(steps) // 2, len(steps)):
        place = case.place()
        assert in_a_fork(lambda: case.run(place, Steps(number, killed))) == -signal.SIGKILL  # noqa: B023 - called here
        assert case.begun(place)
        with suppress(LedgerFault):
            case.run(place, Steps())
        assert case.seen(place) == whole


def test_rebuild_on_a_full_disk_is_refused_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk's end: the system refuses the write that goes beyond."""
    case = Rebuilding(tmp_path)
    _, whole = undisturbed(case)
    place = case.place()
    ready_ledger(place).close()
    most = sum(each.stat().st_size for each in place.iterdir())

    def without_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most // 8, most // 8))
        case.run(place, Steps())

    assert in_a_fork(without_room) == 7
    assert case.begun(place)
    case.run(place, Steps())
    assert case.seen(place) == whole


def damaged(whole: bytes, at: int) -> Iterator[bytes]:
    yield whole[:at]
    yield whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_file_with_any_byte_flipped_or_cut_there_restores_nothing(tmp_path: Path) -> None:
    case = FromFile(tmp_path)
    whole, place = (tmp_path / "file").read_bytes(), case.place()
    for at in range(len(whole)):
        for data in damaged(whole, at):
            (tmp_path / "file").write_bytes(data)
            with pytest.raises((BackupBroken, BackupRefused)):
                case.run(place, Steps())
    assert tasks_in(place) == []
