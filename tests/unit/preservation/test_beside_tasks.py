"""Who reads the archive leaves store, line and processor to tasks, and is as quick as it can be without them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from archiver.core.errors import StoreBusy
from archiver.preservation.beside_tasks import BETWEEN, LONGEST_REST, BesideTasks

READERS = 4


@dataclass
class Hour:
    """Time that passes by sleeping alone, and tasks that are in hand or not."""

    now: float = 1000.0
    tasks: bool = True
    rests: list[float] = field(default_factory=list)
    looks: int = 0

    def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds

    def are_held(self) -> bool:
        self.looks += 1
        return self.tasks

    def beside(self) -> BesideTasks:
        return BesideTasks(self.are_held, self.sleep, lambda: self.now)

    def read(self, beside: BesideTasks, seconds: float) -> list[float]:
        """Read an object that takes so long; return the rests before it."""
        self.rests.clear()

        def one() -> None:
            self.now += seconds

        beside.read(one)
        return [each for each in self.rests if each]


def test_object_beside_tasks_waits_as_long_as_the_one_before_took() -> None:
    hour = Hour()
    beside = hour.beside()
    assert hour.read(beside, 0.5) == []
    assert hour.read(beside, 3) == [0.5]
    assert hour.read(beside, 300) == [3]
    assert hour.read(beside, 1) == [LONGEST_REST]


def test_object_after_one_that_failed_waits_too() -> None:
    hour = Hour()
    beside = hour.beside()

    def one() -> None:
        hour.now += 2
        raise StoreBusy("503")

    with pytest.raises(StoreBusy):
        beside.read(one)
    assert hour.read(beside, 1) == [2]


def test_objects_wait_for_nothing_once_no_task_was_in_hand_for_a_while() -> None:
    hour = Hour()
    beside = hour.beside()
    hour.read(beside, 0.5)
    hour.tasks = False
    assert hour.read(beside, 0.5) == [0.5], "the next task may come at once"
    hour.now += BETWEEN
    assert hour.read(beside, 0.5) == []
    hour.now += 0.5
    hour.tasks = True
    assert hour.read(beside, 0.5) == [0.5], "the one before them"


def test_ledger_is_not_asked_for_tasks_before_each_small_object() -> None:
    hour = Hour(tasks=False)
    beside = hour.beside()
    for _ in range(100):
        hour.read(beside, 0.001)
    assert hour.looks <= 2


@pytest.mark.parametrize(("tasks", "most"), [(True, 1), (False, READERS)])
def test_as_many_objects_at_a_time_as_there_are_readers_and_one_beside_tasks(*, tasks: bool, most: int) -> None:
    hour, seen = Hour(tasks=tasks), list[int]()
    beside, lock, together = hour.beside(), threading.Lock(), threading.Barrier(most)
    count = 0

    def one() -> None:
        nonlocal count
        with lock:
            count += 1
            seen.append(count)
        together.wait(30)
        with lock:
            count -= 1

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(lambda _: beside.read(one), range(3 * READERS)))
    assert max(seen) == most


def test_reader_waits_for_the_look_of_another_and_does_not_go_by_what_was_known_before() -> None:
    looking, found, read = threading.Event(), threading.Event(), threading.Event()
    hour = Hour()

    def look() -> bool:
        looking.set()
        return found.wait(30)

    beside = BesideTasks(look, hour.sleep, lambda: hour.now)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(beside.read, lambda: None)
        assert looking.wait(30)
        second = pool.submit(beside.read, read.set)
        early = read.wait(0.2)
        found.set()
        second.result()
    assert not early
