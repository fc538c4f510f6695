"""Reading beside tasks: what can wait leaves them the store, the line and the processor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

LOOKED_EVERY: Final = 0.1
"""Seconds between two looks for tasks."""
BETWEEN: Final = 2.0
"""Seconds after the last task for which the next is awaited."""
LONGEST_REST: Final = 10.0

T = TypeVar("T")


@dataclass(slots=True)
class BesideTasks:
    """Lets one object at a time be read while anybody works on tasks, and rests as long as each took.

    Safe to share among threads.
    """

    are_held: Callable[[], bool]
    """Returns whether anybody works on a task; may raise LedgerFault."""
    sleep: Callable[[float], object]
    """Waits so many seconds, or until the command is to end."""
    monotonic: Callable[[], float]
    _one: threading.Lock = field(default_factory=threading.Lock)
    _looking: threading.Lock = field(default_factory=threading.Lock)
    _looked: float = field(default=float("-inf"), init=False)
    _seen: float = field(default=float("-inf"), init=False)
    _took: float = field(default=0.0, init=False)

    def read(self, one: Callable[[], T]) -> T:
        """Read one object once it may be, and return what it gives; raises LedgerFault, and as `one`."""
        if self._are_tasks():
            with self._one:
                if self._are_tasks():
                    return self._rested(one)
        return one()

    def _rested(self, one: Callable[[], T]) -> T:
        self.sleep(min(self._took, LONGEST_REST))
        began = self.monotonic()
        try:
            return one()
        finally:
            self._took = self.monotonic() - began

    def _are_tasks(self) -> bool:
        with self._looking:  # whoever asks while another looks must not go by what was known before
            now = self.monotonic()
            if now >= self._looked + LOOKED_EVERY:
                self._looked = now
                if self.are_held():
                    self._seen = now
            return now < self._seen + BETWEEN
