"""The doings of the page: each operation, what it came to, and when. Kept as long as the process lives."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from archiver.ports.runtime import Clock, EventLog

_MOST = 200


@dataclass(frozen=True, slots=True)
class Doing:
    """An operation that somebody asked the page for."""

    at: datetime
    what: str
    came_to: str
    is_fault: bool


class Doings:
    """The last doings, the latest first; each is an event of the log, too. Safe for many threads."""

    def __init__(self, clock: Clock, log: EventLog) -> None:
        self._clock = clock
        self._log = log
        self._kept: deque[Doing] = deque(maxlen=_MOST)
        self._lock = threading.Lock()

    def note(self, what: str, came_to: str, *, is_fault: bool = False) -> None:
        """Keep one, and log it."""
        with self._lock:
            self._kept.appendleft(Doing(self._clock(), what, came_to, is_fault))
        self._log.info("page.operated", operation=what, result=came_to)

    def last(self) -> Sequence[Doing]:
        """Return what is kept, the latest first."""
        with self._lock:
            return list(self._kept)
