"""The second look: what ends a task by its age is confirmed before it counts, for a wall clock may be wrong.

Confirmed it is by the provider's own time, which comes with its answers, or by another answer like the first one a
span of the monotonic clock later. A step of the wall clock meanwhile makes all looks first ones again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from archiver.core.clocks import Steps
from archiver.ports.runtime import Clock

REMEMBERED = 10_000
"""Tasks and stems whose first look is remembered; one that was forgotten takes a look more."""


class SecondLook:
    """Knowledge of the time beside this process's wall clock. Safe to share between threads.

    `steady` gives seconds and never jumps, not even over a suspend, which it counts.
    """

    def __init__(self, clock: Clock, steady: Callable[[], float], span: timedelta) -> None:
        self._clock = clock
        self._steady = steady
        self._span = span.total_seconds()
        self._lock = threading.Lock()
        self._steps = Steps()
        self._date: tuple[datetime, float] | None = None
        self._first: OrderedDict[str, float] = OrderedDict()

    def note_date(self, date: datetime | None) -> None:
        """Take note of the provider's time, if its answer names one."""
        if date is not None:
            self._date = date, self._steady()

    def ahead(self) -> timedelta:
        """Return by how much the wall clock is ahead of the provider's, negative behind; zero until that is known."""
        if self._date is None:
            return timedelta()
        date, at = self._date
        return self._clock() - date - timedelta(seconds=self._steady() - at)

    def sure(self) -> datetime:
        """Return the time up to which the past is certain: now, by whichever clock is behind."""
        now = self._clock()
        if self._date is None:
            return now
        date, at = self._date
        return min(now, date + timedelta(seconds=self._steady() - at))

    def seen(self, key: str) -> bool:
        """Return whether what `key` names, seen now, has been so for long enough to end by its age as of `sure`.

        Call it also while it is still too young for that: so the first look is remembered.
        """
        if self._date is not None:
            return True
        with self._lock:
            now = self._steady()
            if self._steps.look(self._clock(), now):
                self._first.clear()
            first = self._first.setdefault(key, now)
            if len(self._first) > REMEMBERED:
                self._first.popitem(last=False)
            return now - first >= self._span

    def forget(self, key: str) -> None:
        """Let the next look at what `key` names be the first one."""
        with self._lock:
            self._first.pop(key, None)
