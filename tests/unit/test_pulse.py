from datetime import timedelta

from archiver.pulse import Pulse


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
