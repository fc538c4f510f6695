"""The bandwidth that is left for people who listen."""

from __future__ import annotations

from datetime import datetime

import pytest

from archiver.app.listening import Leftover
from archiver.core.bandwidth import Timetable, Window

RATE = 1_000_000
LOCAL = datetime(2026, 11, 28, 12, 0)  # noqa: DTZ001 - by the clock on the wall


class Archiving:
    """Another process that stores so many bytes a second, as the ledger tells."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.now = 1000.0
        self.stored = 10_000_000.0
        self.looks = 0

    def stored_bytes(self) -> int:
        self.looks += 1
        return int(self.stored)

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.stored += self.rate * seconds


def left(other: Archiving, seconds: int, rate: int | None = RATE) -> list[int | None]:
    """What is left, second by second."""
    leftover = Leftover(Timetable((Window(0, rate),)), other.stored_bytes, lambda: other.now)
    rates = []
    for _ in range(seconds):
        rates.append(leftover.rate_at(LOCAL))
        other.passes(1)
    return rates


@pytest.mark.parametrize(("used", "remains"), [(0, RATE), (250_000, 750_000), (RATE, 10_000), (2 * RATE, 10_000)])
def test_what_another_process_uses_is_taken_off_and_a_hundredth_is_always_left(used: int, remains: int) -> None:
    rates = left(Archiving(used), 100)
    assert rates[0] == RATE // 2, "before there are two looks"
    assert rates[-1] == pytest.approx(remains, rel=0.01)


def test_the_ledger_is_looked_at_every_five_seconds_and_only_where_there_is_a_limit() -> None:
    limited, free = Archiving(1), Archiving(1)
    left(limited, 100)
    assert set(left(free, 100, None)) == {None}
    assert limited.looks == 20
    assert free.looks == 0


def test_what_was_used_an_hour_ago_is_forgotten() -> None:
    other = Archiving(RATE)
    leftover = Leftover(Timetable((Window(0, RATE),)), other.stored_bytes, lambda: other.now)
    for _ in range(20):
        leftover.rate_at(LOCAL)
        other.passes(1)
    other.rate = 0
    for _ in range(80):
        other.passes(1)
        leftover.rate_at(LOCAL)
    assert leftover.rate_at(LOCAL) == RATE
