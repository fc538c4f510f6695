"""The one limit on how many bytes a second come in, over all transfers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from archiver.core.bandwidth import Allowance, Rates, Timetable
from archiver.core.errors import Interrupted

Wait = Callable[[threading.Condition, float], object]
"""Wait on a held condition, at most so many seconds."""

LOOK_EVERY = 1.0
"""Seconds after which the timetable is looked at again; no wait is longer."""
BLOCKS_A_SECOND = 200
SMALLEST = 512
"""Bytes; a lower rate gives them out less often."""


def local_now() -> datetime:
    """Now, by this machine's time zone."""
    return datetime.now(UTC).astimezone()


class Throttle:
    """Gives out shares of the bandwidth before they are received, in order of asking. May be shared by threads."""

    on: bool
    """True while `take` must be asked at all."""

    def __init__(
        self,
        timetable: Rates = Timetable(),  # noqa: B008 - it is frozen
        *,
        clock: Callable[[], float] = time.monotonic,
        local: Callable[[], datetime] = local_now,
        wait: Wait = threading.Condition.wait,
    ) -> None:
        """Begin at once.

        Args:
            timetable: how much is allowed, and when.
            clock: seconds, monotonic.
            local: the time on the wall, by which the timetable goes.
            wait: waits on a condition.
        """
        self._clock = clock
        self._local = local
        self._wait = wait
        self._changed = threading.Condition()
        self._stopped = False
        self._look_at = clock()
        self._allowance = Allowance(None, self._look_at)
        self.change(timetable)

    def change(self, timetable: Rates) -> None:
        """Go by another timetable from now on; those who wait look again at once."""
        with self._changed:
            self._timetable = timetable
            self.on = timetable.is_limited
            self._look()
            self._changed.notify_all()

    def take(self, most: int) -> int:
        """Wait until some bytes may be received, and return how many, `most` at most.

        Raises Interrupted once stopped. What is then not received is to be given back.
        """
        with self._changed:
            rate = self._rate_now()
            share = most if rate is None else min(most, max(SMALLEST, rate // BLOCKS_A_SECOND))
            ticket = self._allowance.ask(share, self._clock())
            while (left := self._allowance.wait_of(ticket, self._clock())) > 0:
                self._wait(self._changed, min(left, LOOK_EVERY))
                self._rate_now()
        return share

    def give_back(self, size: int) -> None:
        """Let others have bytes that were taken and did not come."""
        with self._changed:
            self._allowance.give_back(size, self._clock())

    def stop(self) -> None:
        """End every wait, now and later."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _rate_now(self) -> int | None:
        if self._stopped:
            raise Interrupted
        if self._clock() >= self._look_at:
            self._look()
        return self._allowance.rate

    def _look(self) -> None:
        now = self._clock()
        self._look_at = now + LOOK_EVERY
        rate = self._timetable.rate_at(self._local())
        if rate != self._allowance.rate:
            self._allowance.change(rate, now)
