"""Pauses that are over though nobody saw the end: of a provider or a host that no task has a use for any more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from archiver.core.model import Dependency, Pause, Subject

UNNEEDED = timedelta(minutes=5)
"""The time without a probe, though one was due, after which a pause ends that no task waits for."""

FORGOTTEN = timedelta(hours=2)
"""The same for one that tasks wait for: of those that will ever be tried again one has looked long before."""


def is_unneeded(pause: Pause, now: datetime, is_awaited: Callable[[Subject], bool]) -> bool:
    """Return whether no task needs the provider or host that is paused.

    Neither is asked for nothing, so its pause would last for ever; if the trouble does, the next task begins another.
    A store is probed by the service itself, and a hold is the operator's.
    """
    unprobed = now - pause.next_probe
    if pause.held or pause.dependency is Dependency.STORE or unprobed < UNNEEDED:
        return False
    return unprobed >= FORGOTTEN or not is_awaited(pause.subject)
