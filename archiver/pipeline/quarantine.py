"""Quarantine: a task that processes died at is tried last, and for a while alone in its process."""

from __future__ import annotations

from datetime import datetime, timedelta

from archiver.ports.runtime import Clock

ALONE = timedelta(minutes=1)
"""The time that a quarantined task is alone in its process: one that kills does it soon, and others wait."""

OVERDUE = timedelta(hours=1)
"""The time after which a quarantined task no longer waits until nothing else is left."""

LOOK_FOR_OVERDUE = timedelta(minutes=1)


class Solitude:
    """The time that a quarantined task has its process for itself. Needs a lock where threads share it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked = self._began = clock()
        self._worker: object = None

    @property
    def lasts(self) -> bool:
        """True while nothing may be begun beside the task."""
        return self._worker is not None and self._began <= self._clock() < self._began + ALONE

    def begins(self, worker: object) -> None:
        """Let the worker be alone from now on."""
        self._worker, self._began = worker, self._clock()

    def ends(self, worker: object) -> None:
        """Let others begin, if it was that worker who was alone."""
        if self._worker == worker:
            self._worker = None

    def overdue(self) -> datetime | None:
        """Return since when a quarantined task is due for too long, once in LOOK_FOR_OVERDUE; else None."""
        now = self._clock()
        if self._looked <= now < self._looked + LOOK_FOR_OVERDUE:
            return None
        self._looked = now
        return now - OVERDUE
