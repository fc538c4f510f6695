"""Newcomers to a paused host: tasks listed just now, which may try it beside its probes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from archiver.core.model import Subject, TaskId
from archiver.ports.runtime import Clock

SPACING = timedelta(seconds=5)
"""The time from one newcomer to the next."""

PATIENCE = timedelta(minutes=1)
"""The time that one may take before the next is let through all the same."""


class Newcomers:
    """Who was let through last to each host: one at a time, and seldom.

    Those whose turn it is to probe may all share a trouble that is not the host's, and be many. Needs a lock where
    threads share it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[Subject, tuple[datetime, TaskId | None]] = {}
        """When it was let through, and who it is as long as it is at it."""

    def may_try(self, subject: Subject) -> bool:
        """Return whether one more may; only hosts are tried so."""
        if not subject.host:
            return False
        if subject not in self._last:
            return True
        at, by = self._last[subject]
        return not at <= self._clock() < at + (SPACING if by is None else PATIENCE)

    def tries(self, subjects: Collection[Subject], by: TaskId | None) -> None:
        """Note that one does."""
        self._last |= dict.fromkeys(subjects, (self._clock(), by))

    def is_at(self, subject: Subject) -> bool:
        """Return whether one is at it."""
        return self._last.get(subject, (None, None))[1] is not None

    def ends(self, by: TaskId) -> None:
        """Note that this one is at nothing any more."""
        for subject, (at, who) in self._last.items():
            if who == by:
                self._last[subject] = at, None

    def forget(self, subjects: Collection[Subject]) -> None:
        """Know nothing of these any more: they are not paused."""
        for subject in subjects:
            self._last.pop(subject, None)

    def known(self) -> Collection[Subject]:
        """Return the hosts that were tried so."""
        return self._last.keys()
