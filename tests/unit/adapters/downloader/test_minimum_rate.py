"""The minimum rate of a body, by a clock in our hands."""

from __future__ import annotations

import pytest

from archiver.adapters.downloader.limits import BodyLimits, MinimumRate
from archiver.core.errors import BodySlow


def test_rate_is_judged_by_the_window_alone_and_not_by_what_came_before() -> None:
    times = iter([0.0, 10.0, 20.0])
    rate = MinimumRate(BodyLimits(max_bytes=1, min_rate=10, rate_window=10), lambda: next(times))
    rate.start()
    rate.count(1000)
    with pytest.raises(BodySlow, match="5 bytes/s over 10 s"):
        rate.count(50)


def test_rate_that_is_just_enough_is_enough() -> None:
    times = iter([0.0, 10.0])
    rate = MinimumRate(BodyLimits(max_bytes=1, min_rate=10, rate_window=10), lambda: next(times))
    rate.start()
    rate.count(100)


def test_time_before_the_next_start_does_not_count() -> None:
    times = iter([0.0, 9.0, 1000.0, 1000.5, 1001.0])
    rate = MinimumRate(BodyLimits(max_bytes=1, min_rate=10, rate_window=10), lambda: next(times))
    rate.start()
    rate.count(0)
    rate.start()
    rate.count(0)
    with pytest.raises(BodySlow, match="over 10 s"):
        rate.count(0)
