"""The size that a body may have, and the rate at which it must come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from archiver.core.errors import BodySlow


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """The limits of one body."""

    max_bytes: int
    """A larger body raises BodyTooLarge."""
    min_rate: float
    """Bytes a second, averaged over `rate_window`; 0 for any."""
    rate_window: float = 30.0
    """Seconds spent waiting for the origin; neither the caller's time between reads nor the throttle's counts."""


class MinimumRate:
    """Raises BodySlow once a whole window of waiting brought less than the minimum rate."""

    def __init__(self, limits: BodyLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._since = 0.0
        self._spent = 0.0
        self._got = 0

    def start(self) -> None:
        """Let time count from now on, until the last `count` before the next `start`."""
        self._since = self._clock()

    def count(self, size: int) -> float:
        """Note that `size` bytes came; return the time."""
        now = self._clock()
        self._spent += now - self._since
        self._since = now
        self._got += size
        if self._spent >= self._limits.rate_window:
            if self._got < self._limits.min_rate * self._spent:
                rate = self._got / self._spent
                raise BodySlow(f"{rate:.0f} bytes/s over {self._spent:.0f} s, less than {self._limits.min_rate:g}")
            self._spent, self._got = 0.0, 0
        return now
