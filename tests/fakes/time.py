"""Time in the hands of tests: one clock for the wall, one for seconds."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

NOW = datetime(2026, 11, 1, tzinfo=UTC)


class Clock:
    """A clock on the wall, that moves only when it is told to."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        """Let time pass: the arguments are those of timedelta."""
        self.now += timedelta(**span)


class Seconds:
    """A monotonic clock that only waits move; it keeps them."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    clock = __call__

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Stand for `threading.Condition.wait`."""
        del condition
        self.sleep(seconds)
