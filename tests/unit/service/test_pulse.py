from collections.abc import Callable
from datetime import timedelta

import pytest

from archiver.core.errors import ApiBusy, ArchiverError
from archiver.core.model import Archived, Outcome
from archiver.ports.runtime import Observer
from archiver.service.liveness import Beating, Pulse


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_loop_that_beats_in_time_is_not_late() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.expect("intake", timedelta(seconds=10))
    clock.now += 9
    pulse.beat("intake")
    clock.now += 10
    assert pulse.late() == {}


def test_silent_loop_is_late_with_the_seconds_since_its_last_beat() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.expect("intake", timedelta(seconds=10))
    pulse.expect("dispatch", timedelta(seconds=60))
    clock.now += 11
    assert pulse.late() == {"intake": 11.0}


def test_late_loop_that_beats_again_is_late_no_more() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.expect("intake", timedelta(seconds=10))
    clock.now += 11
    pulse.beat("intake")
    assert pulse.late() == {}


def test_loop_that_nothing_is_expected_of_is_never_late() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.beat("one-off")
    clock.now += 1e6
    assert pulse.late() == {}


class Told:
    """An Observer that keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def received(self, size: int) -> None:
        self.heard.append(size)

    def stem_stored(self, size: int, seconds: float) -> None:
        self.heard.append((size, seconds))

    def unknown_name(self) -> None:
        self.heard.append("unknown")

    def try_failed(self, error: ArchiverError) -> None:
        self.heard.append(error)

    def task_ended(self, outcome: Outcome, age: timedelta | None) -> None:
        self.heard.append((outcome, age))


@pytest.mark.parametrize(
    ("tell", "heard"),
    [
        (lambda observer: observer.received(10), 10),
        (lambda observer: observer.stem_stored(10, 0.5), (10, 0.5)),
        (lambda observer: observer.task_ended(Archived(), None), (Archived(), None)),
    ],
    ids=["bytes", "stem", "task"],
)
def test_whatever_moves_is_progress_and_is_passed_on(tell: Callable[[Observer], None], heard: object) -> None:
    clock, told = Clock(), Told()
    pulse = Pulse(clock)
    pulse.expect("work", timedelta(seconds=10))
    clock.now += 11
    tell(Beating(told, pulse, "work"))
    assert pulse.late() == {}
    assert told.heard == [heard]


def test_what_tells_of_no_work_done_is_passed_on_and_is_no_progress() -> None:
    clock, told, error = Clock(), Told(), ApiBusy("503")
    pulse = Pulse(clock)
    pulse.expect("work", timedelta(seconds=10))
    clock.now += 11
    observer = Beating(told, pulse, "work")
    observer.unknown_name()
    observer.try_failed(error)
    assert told.heard == ["unknown", error]
    assert list(pulse.late()) == ["work"]
