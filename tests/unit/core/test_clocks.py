from datetime import timedelta

from archiver.core.clocks import STEP, Steps
from tests.fakes.time import NOW

HOUR = timedelta(hours=1)


def test_clocks_that_go_alike_show_no_step_however_long_the_look_is_ago() -> None:
    steps = Steps()
    assert not steps.look(NOW, 5.0)
    assert not steps.look(NOW + 70 * 24 * HOUR, 5.0 + 70 * 24 * 3600)


def test_clock_that_was_set_shows_once_by_how_much() -> None:
    steps = Steps()
    steps.look(NOW, 5.0)
    assert steps.look(NOW + HOUR, 5.0) == HOUR
    assert not steps.look(NOW + HOUR, 5.0)
    assert steps.look(NOW - HOUR, 65.0) == -2 * HOUR - timedelta(minutes=1)


def test_drift_is_no_step() -> None:
    steps = Steps()
    for tick in range(100):
        assert not steps.look(NOW + tick * (STEP - timedelta(seconds=1)), 0.0)
