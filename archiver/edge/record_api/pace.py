"""The pace of requests: exact over any window as the provider sees it, first come first served."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from archiver.core.errors import ApiBusy, ApiThrottled

Wait = Callable[[threading.Condition, float], object]
"""Wait on a held condition, at most so many seconds."""

LONGEST_WAIT = 30.0
"""Seconds after which every wait looks up again."""


class Pace:
    """At most `limit` requests in any `window` seconds, over all threads.

    A slot is held from before the request is sent until `window` seconds after its answer came. However
    long either of them travels, two requests with the same slot reach the provider more than a window
    apart: so the limit holds where it is judged, which counting at the time of sending cannot promise.
    """

    def __init__(self, limit: int, window: float, *, clock: Callable[[], float], wait: Wait) -> None:
        self._limit = limit
        self._window = window
        self._clock = clock
        self._wait = wait
        self._changed = threading.Condition()
        self._line: deque[object] = deque()
        self._free = limit
        self._resting: deque[float] = deque()
        self._cool_until = clock()
        self._closed = False

    @contextmanager
    def slot(self, patience: float) -> Iterator[None]:
        """Hold one slot, waiting in line for it.

        Raises ApiThrottled at once when a cool-down lasts longer than `patience` seconds, and ApiBusy
        when the pace is closed.
        """
        self._take(self._clock() + patience)
        try:
            yield
        finally:
            self._give_back()

    def resize(self, limit: int) -> None:
        """Have another limit from now on; requests that are out count towards it."""
        with self._changed:
            self._free += limit - self._limit
            self._limit = limit
            self._changed.notify_all()

    def cool_down(self, seconds: float) -> None:
        """Let nobody send for so many seconds."""
        with self._changed:
            self._cool_until = max(self._cool_until, self._clock() + seconds)

    def cooling(self) -> float:
        """Seconds left of the cool-down."""
        return max(0.0, self._cool_until - self._clock())

    def left(self) -> int:
        """Slots that could be taken now without waiting."""
        with self._changed:
            now = self._clock()
            return 0 if self._cool_until > now else self._free + sum(rested <= now for rested in self._resting)

    def pause(self, seconds: float) -> None:
        """Wait so many seconds without a slot; raises ApiBusy when the pace is closed meanwhile."""
        until = self._clock() + seconds
        with self._changed:
            self._refuse_if_closed()
            while (left := until - self._clock()) > 0:
                self._wait(self._changed, min(left, LONGEST_WAIT))
                self._refuse_if_closed()

    def close(self) -> None:
        """Send everybody away who waits, now and later."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take(self, until: float) -> None:
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            try:
                while (wait := self._wait_of(ticket, until)) > 0:
                    self._wait(self._changed, min(wait, LONGEST_WAIT))
                self._free -= 1
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()

    def _wait_of(self, ticket: object, until: float) -> float:
        """Seconds until it is worth looking again; 0 when the holder of `ticket` may go."""
        self._refuse_if_closed()
        now = self._clock()
        if self._cool_until > until:
            raise ApiThrottled("the provider asked us to slow down", retry_after=self._cool_until - now)
        if self._cool_until > now:
            return self._cool_until - now
        if self._line[0] is not ticket:
            return LONGEST_WAIT
        while self._resting and self._resting[0] <= now:
            self._resting.popleft()
            self._free += 1
        if self._free > 0:
            return 0
        return self._resting[0] - now if self._resting else LONGEST_WAIT

    def _give_back(self) -> None:
        with self._changed:
            self._resting.append(self._clock() + self._window)
            self._changed.notify_all()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ApiBusy("the API client is closed")
