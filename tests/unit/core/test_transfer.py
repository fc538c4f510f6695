"""A transfer's rate, its time limit, and fair shares, by literal figures."""

from __future__ import annotations

from datetime import timedelta
from math import inf

import pytest

from archiver.core.model import AccountName, StemName, TaskId
from archiver.core.transfer import Transfer, max_min_share, time_limit
from tests.fakes.time import NOW

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
GIB = 1 << 30


@pytest.mark.parametrize(
    ("size", "min_rate", "left", "limit"),
    [
        (2 * GIB, 1024, 14 * DAY, 14 * DAY),
        (2 * GIB, 1024, 30 * DAY, timedelta(seconds=2_097_152)),
        (2 * GIB, 1024, DAY, DAY),
        (5_000_000, 1024, 14 * DAY, timedelta(seconds=4882.8125)),
        (5_000_000, 1024, timedelta(hours=1), timedelta(hours=1)),
        (5_000_000, 1024, 5 * MINUTE, 10 * MINUTE),
        (5_000_000, 1024, -DAY, 10 * MINUTE),
        (1000, 1024, 14 * DAY, 10 * MINUTE),
        (5_000_000, 1024, None, timedelta(seconds=4882.8125)),
        (5_000_000, 0, 3 * DAY, 3 * DAY),
        (5_000_000, 0, None, None),
    ],
)
def test_file_may_take_its_size_at_the_minimum_rate_and_no_longer_than_its_deadline(
    size: int, min_rate: float, left: timedelta | None, limit: timedelta | None
) -> None:
    assert time_limit(size, min_rate, left) == limit


@pytest.mark.parametrize(
    ("demands", "capacity", "share"),
    [
        ([16, 6], 16, 10),
        ([16, 16], 16, 8),
        ([16, 1, 1, 1, 1, 1, 1], 16, 10),
        ([16, 4, 4], 16, 8),
        ([9, 9, 9], 16, 16 / 3),
        ([1] * 17, 16, 16 / 17),
        ([16], 16, inf),
        ([8, 8], 16, inf),
        ([], 16, inf),
    ],
)
def test_share_is_what_is_left_by_those_who_want_less(demands: list[int], capacity: int, share: float) -> None:
    assert max_min_share(demands, capacity) == share


def crawling(length: int | None, a_second: int, seconds: int) -> Transfer:
    transfer = Transfer(NOW)
    transfer.begin(100.0)
    transfer.announce(length, 100.0)
    for second in range(1, seconds + 1):
        transfer.count(a_second, 100.0 + second)
    return transfer


@pytest.mark.parametrize(
    ("length", "a_second", "seconds", "left"),
    [
        (2_000_000_000, 1400, 10, 1_428_561.4),
        (100_000, 1000, 60, 40.0),
        (100_000, 1000, 4, 0.0),
        (100_000, 0, 5, inf),
        (None, 1000, 70, 70.0),
    ],
)
def test_time_that_is_left_follows_from_the_rate_once_it_can_be_told(
    length: int | None, a_second: int, seconds: int, left: float
) -> None:
    transfer = crawling(length, a_second, seconds)
    assert transfer.seconds_left(100.0 + seconds) == pytest.approx(left)


def test_rate_is_that_of_late() -> None:
    transfer = crawling(100_000_000, 1_000_000, 20)
    for second in range(21, 41):
        transfer.count(1000, 100.0 + second)
    assert transfer.seconds_left(140.0) > 10_000


def test_transfer_that_begins_anew_has_nothing_yet_and_is_as_old_as_before() -> None:
    transfer = crawling(100_000, 1000, 20)
    transfer.broken_off = True
    transfer.begin(200.0)
    assert (transfer.size, transfer.broken_off, transfer.first_begun) == (0, False, 100.0)
    assert transfer.seconds_left(204.0) == 0.0


@pytest.mark.parametrize(("since", "gives_way"), [(0.0, True), (599.9, True), (600.0, False)])
def test_transfer_that_gave_way_lets_others_go_first_for_ten_minutes(since: float, gives_way: bool) -> None:
    transfer = Transfer(NOW, "cdn.example", AccountName("default"), TaskId("task-1"), StemName("vocal"))
    assert not transfer.gives_way(1000.0), "it never gave way"
    transfer.gave_way_at = 1000.0
    assert transfer.gives_way(1000.0 + since) == gives_way
