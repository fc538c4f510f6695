"""The watch over tasks and transfers: who stands still is given up alone, whatever moves beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from archiver.core.errors import Stuck
from archiver.core.model import StemName, TaskId
from archiver.service.liveness import Liveness, TaskWatch
from tests.fakes.events import Events
from tests.fakes.time import Seconds

ONE, OTHER, VOCAL = TaskId("task-one"), TaskId("task-other"), StemName("vocal")
LIMIT = timedelta(seconds=300)


class Bench:
    """A watch in fake time."""

    def __init__(self) -> None:
        self.clock, self.events, self.told = Seconds(), Events(), list[int]()
        self.watch = TaskWatch(
            self.events, self.clock, progress=lambda: self.told.append(1), within=LIMIT, heeded_within=LIMIT
        )
        self.liveness = Liveness(self.clock)
        self.liveness.tasks = self.watch

    def given_up(self) -> list[tuple[object, object]]:
        self.watch.give_up()
        return [(event["task_id"], event["stem"]) for event in self.events.of("task.stuck")]


@contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[threading.Event]:
    """Run `work` in a thread until the block is left; it begins by setting the event it is handed."""
    begun = threading.Event()
    thread = threading.Thread(target=work, args=(begun,))
    thread.start()
    assert begun.wait(10)
    try:
        yield begun
    finally:
        thread.join(10)


def test_silent_transfer_beside_one_that_moves_is_given_up_alone() -> None:
    bench, end = Bench(), threading.Event()

    def hangs(begun: threading.Event) -> None:
        with bench.watch.at_work(ONE, VOCAL):
            begun.set()
            end.wait(10)

    with beside(hangs), bench.watch.at_work(OTHER, VOCAL):
        for _ in range(4):
            bench.clock.now += 100
            bench.watch.progress()
        assert bench.given_up() == [(ONE, VOCAL)]
        assert bench.liveness.stuck() == {"transfer task-one/vocal": 400.0}
        assert bench.liveness.late() == {}, "it was just told; a supervisor has nothing to do yet"
        end.set()
    assert bench.liveness.stuck() == {}


def test_what_was_given_up_ends_at_its_next_block_and_begins_anew() -> None:
    bench = Bench()
    with bench.watch.at_work(ONE):
        bench.clock.now += 301
        bench.watch.give_up()
        with pytest.raises(Stuck, match="301 s"):
            bench.watch.progress()
        bench.watch.progress()
        bench.clock.now += 299
        bench.watch.give_up()
        bench.watch.progress()
    assert len(bench.events.of("task.stuck")) == 1


def test_what_does_not_heed_it_makes_the_process_late_under_its_name() -> None:
    bench = Bench()
    with bench.watch.at_work(ONE, VOCAL), bench.watch.at_work(OTHER), bench.watch.waiting():
        bench.clock.now += 301
        bench.watch.give_up()
        bench.clock.now += 298
        assert bench.liveness.late() == {}
        bench.clock.now += 2
        assert bench.liveness.late() == {"transfer task-one/vocal": 601.0}


def test_task_that_waits_for_its_transfers_is_not_silent() -> None:
    bench = Bench()
    with bench.watch.at_work(ONE):
        with bench.watch.waiting():
            bench.clock.now += 10_000
            assert bench.given_up() == []
        bench.clock.now += 299
        assert bench.given_up() == []


def test_wait_of_what_is_given_up_is_ended_from_outside() -> None:
    bench, stopped = Bench(), list[str]()

    def gone() -> None:
        raise OSError("closed already")

    with bench.watch.at_work(ONE, VOCAL):
        with bench.watch.interruptible(lambda: stopped.append("before")):
            pass
        with bench.watch.interruptible(gone), bench.watch.interruptible(lambda: stopped.append("now")):
            bench.clock.now += 301
            bench.watch.give_up()
            bench.watch.give_up()
    assert stopped == ["now"]


def test_block_of_a_thread_without_a_task_is_progress_of_the_whole() -> None:
    bench = Bench()
    bench.watch.progress()
    with bench.watch.waiting(), bench.watch.interruptible(lambda: None):
        bench.watch.progress()
    assert len(bench.told) == 2


@pytest.mark.parametrize(
    ("silent", "tried", "room", "expected"),
    [
        (11, False, 0, (1, True)),
        (11, False, 1, (1, False)),
        (11, False, None, (1, False)),
        (11, True, 0, (1, False)),
        (9, False, 0, (1, False)),
        (1, False, 0, (0, False)),
    ],
    ids=["silent for long", "room for it", "nobody waits", "tried before", "not for long", "at work"],
)
def test_silence_of_the_store_about_documents_ends_for_others(
    silent: float, tried: bool, room: int | None, expected: tuple[int, bool]
) -> None:
    bench = Bench()
    stopped: list[bool] = []
    with bench.watch.at_work(ONE), bench.watch.writing(tried=tried):
        bench.clock.now += silent
        with bench.watch.interruptible(lambda: stopped.append(True)):
            assert (bench.watch.held_up(room, 10), bool(stopped)) == expected
        assert bench.watch.oldest_writing() == silent
        if stopped:
            with pytest.raises(Stuck):
                bench.watch.progress()
    assert bench.watch.held_up(0, 10) == bench.watch.oldest_writing() == 0
