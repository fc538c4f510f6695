"""Outage retry: what a server could not do just now is done again whole, so that no half of it is ever written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from archiver.adapters.ledger.database.faults import LedgerAway

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
SHUTDOWN_PATIENCE = 5.0
"""Seconds that a process which is asked to end still waits for a server."""

T = TypeVar("T")

Notify = Callable[[LedgerAway], None]


class Outage:
    """The patience with a server that is away; `notify` is called once for each outage."""

    def __init__(self, patience: timedelta, notify: Notify) -> None:
        self._patience = patience.total_seconds()
        self._notify = notify
        self._notified = threading.Event()
        self._shutting_down: Callable[[], bool] = lambda: False

    def shorten(self, shutting_down: Callable[[], bool]) -> None:
        """Wait no longer than SHUTDOWN_PATIENCE once `shutting_down` says that the process is to end."""
        self._shutting_down = shutting_down

    def outlast(self, work: Callable[[], T]) -> T:
        """Return what `work` returns; while it raises LedgerAway do it again, until the patience is over."""
        began = time.monotonic()
        pause = _FIRST_PAUSE
        while True:
            try:
                done = work()
            except LedgerAway as away:
                patience = min(self._patience, SHUTDOWN_PATIENCE) if self._shutting_down() else self._patience
                if time.monotonic() + pause > began + patience:
                    raise
                if not self._notified.is_set():
                    self._notified.set()
                    self._notify(away)
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                if self._notified.is_set():
                    self._notified.clear()
                return done
