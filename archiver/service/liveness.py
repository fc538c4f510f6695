"""Liveness: each loop of the service must show progress as often as it has promised."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta


class Liveness:
    """Knows which loops are late. Safe to share between threads.

    Fed by work that was done, never by a timer: the watchdog, `/healthz` and the alerts all ask it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._within: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def expect(self, name: str, within: timedelta) -> None:
        """Expect `name` to show progress at least once in `within`, from now on."""
        with self._lock:
            self._within[name] = within.total_seconds()
            self._last[name] = self._clock()

    def progress(self, name: str) -> None:
        """Note that `name` has just done a round of its work."""
        with self._lock:
            self._last[name] = self._clock()

    def late(self) -> Mapping[str, float]:
        """Return the loops that are late, each with the seconds since its last progress."""
        now = self._clock()
        with self._lock:
            silent = {name: now - self._last[name] for name in self._within}
            return {name: seconds for name, seconds in silent.items() if seconds > self._within[name]}
