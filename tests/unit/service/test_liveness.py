from datetime import timedelta

from archiver.service.liveness import Liveness
from tests.fakes.time import Seconds


def test_loop_that_shows_progress_in_time_is_not_late() -> None:
    clock = Seconds(100.0)
    liveness = Liveness(clock)
    liveness.expect("intake", timedelta(seconds=10))
    clock.now += 9
    liveness.progress("intake")
    clock.now += 10
    assert liveness.late() == {}


def test_silent_loop_is_late_with_the_seconds_since_its_last_progress() -> None:
    clock = Seconds(100.0)
    liveness = Liveness(clock)
    liveness.expect("intake", timedelta(seconds=10))
    liveness.expect("dispatch", timedelta(seconds=60))
    clock.now += 11
    assert liveness.late() == {"intake": 11.0}


def test_late_loop_that_shows_progress_again_is_late_no_more() -> None:
    clock = Seconds(100.0)
    liveness = Liveness(clock)
    liveness.expect("intake", timedelta(seconds=10))
    clock.now += 11
    liveness.progress("intake")
    assert liveness.late() == {}


def test_loop_that_nothing_is_expected_of_is_never_late() -> None:
    clock = Seconds(100.0)
    liveness = Liveness(clock)
    liveness.progress("one-off")
    clock.now += 1e6
    assert liveness.late() == {}
