"""The bandwidth: bytes a second that may come in, by the time of the week."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY = 24 * 60
"""Minutes."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rate that holds from a time of day on, each day or on one day of the week."""

    minute: int
    """Of the day, by the clock on the wall."""
    rate: int | None
    """Bytes a second; None for no limit."""
    day: int | None = None
    """0 is Monday; None for every day."""


class Rates(Protocol):
    """Tells how many bytes a second may come in."""

    @property
    def is_limited(self) -> bool:
        """True when there is a limit at any time."""

    def rate_at(self, local: datetime) -> int | None:
        """Return the rate that holds at a time by the local clock, in bytes a second; None for no limit."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """Windows that follow each other round the week; a single window for every day holds always."""

    windows: tuple[Window, ...] = (Window(0, None),)

    @property
    def is_limited(self) -> bool:
        """True when there is a limit at any time."""
        return any(window.rate is not None for window in self.windows)

    def rate_at(self, local: datetime) -> int | None:
        """Return the rate that holds at a time by the local clock, in bytes a second; None for no limit.

        It is that of the window that began last, if need be in the week before. On the same minute a window
        of one day comes before one for every day.
        """
        now = local.weekday() * DAY + local.hour * 60 + local.minute
        return min(self.windows, key=lambda window: (_since(window, now), window.day is None)).rate

    def mean_rate(self) -> float:
        """Return the bytes a second over a whole week; infinity where there is no limit at some time."""
        if any(window.rate is None for window in self.windows):
            return float("inf")
        days = range(len(DAYS))
        begins = sorted(
            {day * DAY + each.minute for each in self.windows for day in (days if each.day is None else [each.day])}
        )
        ends = [*begins[1:], begins[0] + len(DAYS) * DAY]
        spans = zip(begins, ends, strict=True)
        rates = ((end - begin) * (self.rate_at(_MONDAY + timedelta(minutes=begin)) or 0) for begin, end in spans)
        return sum(rates) / (len(DAYS) * DAY)


_MONDAY = datetime(2024, 1, 1)  # noqa: DTZ001 - by whatever clock hangs on the wall


def _since(window: Window, now: int) -> int:
    """Return how many minutes before `now`, a minute of the week, the window began last."""
    if window.day is None:
        return (now - window.minute) % DAY
    return (now - window.day * DAY - window.minute) % (7 * DAY)


CATCH_UP = 0.25
"""Seconds whose unused bytes may be used on top of the rate, so that a late waker loses nothing."""

_NOTHING = 0.5
"""Bytes; less is an error of rounding, and a clock may not move in so short a wait."""


class Allowance:
    """Bytes promised in the order of asking, and allowed as time passes: over any time at most the rate.

    Times are seconds of one clock that only goes forward. Not to be shared between threads without a lock.
    """

    def __init__(self, rate: int | None, now: float) -> None:
        self._rate = rate
        self._at = now
        self._allowed = 0.0
        self._promised = 0.0

    @property
    def rate(self) -> int | None:
        """Bytes a second that are allowed; None for no limit."""
        return self._rate

    def change(self, rate: int | None, now: float) -> None:
        """Allow this rate from now on, also to those who wait already."""
        self._advance(now)
        self._rate = rate

    def ask(self, size: int, now: float) -> float:
        """Promise `size` bytes and return the ticket that `wait_of` takes."""
        self._advance(now)
        self._promised += size
        return self._promised

    def wait_of(self, ticket: float, now: float) -> float:
        """Return the seconds, at the present rate, until the bytes of the ticket are allowed."""
        self._advance(now)
        missing = ticket - self._allowed
        return 0.0 if self._rate is None or missing < _NOTHING else missing / self._rate

    def give_back(self, size: int, now: float) -> None:
        """Return `size` bytes that were allowed and not used."""
        self._advance(now, extra=size)

    def _advance(self, now: float, extra: float = 0.0) -> None:
        if self._rate is None:
            self._allowed = self._promised
        else:
            most = self._promised + CATCH_UP * self._rate
            self._allowed = min(self._allowed + (now - self._at) * self._rate + extra, most)
        self._at = now
