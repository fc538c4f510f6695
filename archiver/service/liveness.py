"""Whether the service is alive in earnest: each of its loops must show progress as often as it has promised."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from archiver.core.errors import ArchiverError
from archiver.core.model import Outcome
from archiver.ports.runtime import Observer


class Pulse:
    """Knows which loops are late. Safe to share between threads.

    Fed by work that was done, never by a timer: the watchdog, `/healthz` and the alerts all ask it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._within: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def expect(self, name: str, within: timedelta) -> None:
        """From now on `name` must beat at least once in `within`."""
        with self._lock:
            self._within[name] = within.total_seconds()
            self._last[name] = self._clock()

    def beat(self, name: str) -> None:
        """Note that `name` has just done a round of its work."""
        with self._lock:
            self._last[name] = self._clock()

    def late(self) -> Mapping[str, float]:
        """Return the loops that are late, each with the seconds since it last beat."""
        now = self._clock()
        with self._lock:
            silent = {name: now - self._last[name] for name in self._within}
            return {name: seconds for name, seconds in silent.items() if seconds > self._within[name]}


@dataclass(frozen=True, slots=True)
class Beating:
    """An Observer that takes what it is told for progress of `name`, and passes it on."""

    observer: Observer
    pulse: Pulse
    name: str

    def received(self, size: int) -> None:
        """Beat: bytes flow."""
        self.pulse.beat(self.name)
        self.observer.received(size)

    def stem_stored(self, size: int, seconds: float) -> None:
        """Beat: a stem is stored."""
        self.pulse.beat(self.name)
        self.observer.stem_stored(size, seconds)

    def unknown_name(self) -> None:
        """Pass it on."""
        self.observer.unknown_name()

    def try_failed(self, error: ArchiverError) -> None:
        """Pass it on: what failed has ended, or `task_ended` will tell."""
        self.observer.try_failed(error)

    def task_ended(self, outcome: Outcome, age: timedelta | None) -> None:
        """Beat: a try at a task ended."""
        self.pulse.beat(self.name)
        self.observer.task_ended(outcome, age)
