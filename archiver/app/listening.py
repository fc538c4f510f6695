"""Reading for people who listen: within what the archiver leaves of `download.bandwidth`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from archiver.adapters.downloader.throttle import Throttle
from archiver.adapters.object_store.buffers import BufferBudget
from archiver.core.bandwidth import Timetable
from archiver.ports.archive import Archive
from archiver.preservation.fetching import BLOCK, Fetching

BUFFERS = 24 * BLOCK
"""Bytes that all downloads of a page's process share."""
_LOOK_EVERY = 5.0
_OVER = 60.0
"""Seconds over which the archiver's own use is taken."""
_LEAST = 0.01
"""The share that is always there, so that nobody waits for ever."""


@dataclass(slots=True)
class Leftover:
    """The rates that another process leaves, as far as the ledger shows: it counts stems once they are stored.

    Until there are two looks half of each rate is left. Never less than a hundredth is.
    """

    timetable: Timetable
    stored_bytes: Callable[[], int]
    clock: Callable[[], float] = time.monotonic
    looks: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def is_limited(self) -> bool:
        """See `archiver.core.bandwidth.Rates`."""
        return self.timetable.is_limited

    def rate_at(self, local: datetime) -> int | None:
        """See `archiver.core.bandwidth.Rates`."""
        rate = self.timetable.rate_at(local)
        if rate is None:
            return None
        used = self._used()
        left = rate / 2 if used is None else rate - used
        return max(1, int(max(left, rate * _LEAST)))

    def _used(self) -> float | None:
        """Return the bytes a second that were stored lately; None before there are two looks."""
        now, looks = self.clock(), self.looks
        if not looks or now - looks[-1][0] >= _LOOK_EVERY:
            looks.append((now, self.stored_bytes()))
        while len(looks) > 2 and now - looks[1][0] >= _OVER:  # noqa: PLR2004 - a rate needs two
            looks.popleft()
        (began, before), (ended, after) = looks[0], looks[-1]
        if len(looks) > 1 and now - ended > _OVER:
            looks.clear()
            return None
        return max(0, after - before) / (ended - began) if ended > began else None


def fetching(archive: Archive, throttle: Throttle) -> Fetching:
    """Return what reads whole objects for people."""
    return Fetching(archive, BufferBudget(BUFFERS), throttle, time.sleep)
