"""The rate limit of requests: exact over any window as the provider sees it, first come first served."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from archiver.core.errors import ApiBusy, ApiThrottled
from archiver.ports.provider import NoPermit, Permits

Wait = Callable[[threading.Condition, float], object]
"""Wait on a held condition, at most so many seconds."""

LONGEST_WAIT = 30.0
"""Seconds after which every wait looks up again."""


class LocalPermits:
    """`Permits` of this process alone: `limit` of them, each resting for `window` seconds after its use."""

    def __init__(self, limit: int, window: float, *, clock: Callable[[], float]) -> None:
        self._limit = self._free = limit
        self._window = window
        self._clock = clock
        self._lock = threading.Lock()
        self._resting: deque[float] = deque()

    def take(self) -> str | NoPermit:
        """Take a permit, or say when one is free; all are alike here."""
        with self._lock:
            now = self._clock()
            while self._resting and self._resting[0] <= now:
                self._resting.popleft()
                self._free += 1
            if self._free > 0:
                self._free -= 1
                return ""
            return NoPermit(self._resting[0] - now if self._resting else LONGEST_WAIT)

    def give_back(self, permit: str) -> None:
        """Let the permit rest."""
        del permit
        with self._lock:
            self._resting.append(self._clock() + self._window)

    def cool_down(self, seconds: float) -> None:
        """Do nothing: nobody else shares them."""

    def resize(self, limit: int) -> None:
        """Set the number of permits; those that are out count towards it."""
        with self._lock:
            self._free += limit - self._limit
            self._limit = limit

    def left(self) -> int:
        """Count those that are free."""
        with self._lock:
            now = self._clock()
            return max(0, self._free + sum(rested <= now for rested in self._resting))


class RateLimiter:
    """Lends permits to the threads of this process, in the order in which they ask.

    A permit is taken before the request is sent and rests until a window after its answer came. However long
    either of them travels, two requests with the same permit reach the provider more than a window apart.
    So the limit holds where it is judged; counting at the time of sending cannot promise that.
    """

    def __init__(self, permits: Permits, *, clock: Callable[[], float], wait: Wait) -> None:
        self._permits = permits
        self._clock = clock
        self._wait = wait
        self._changed = threading.Condition()
        self._changes = 0
        self._line: deque[object] = deque()
        self._look_at = self._cool_until = clock()
        self._closed = False

    @contextmanager
    def permit(self, patience: float) -> Iterator[None]:
        """Wait in line for a permit, and give it back at the end.

        Raises ApiThrottled at once when a cool-down lasts longer than `patience` seconds, and ApiBusy
        when the limiter is closed.
        """
        permit = self._take(self._clock() + patience)
        try:
            yield
        finally:
            self._permits.give_back(permit)
            self._look_again()

    def resize(self, limit: int) -> None:
        """Set the limit; requests that are out count towards it."""
        self._permits.resize(limit)
        self._look_again()

    def cool_down(self, seconds: float) -> None:
        """Let nobody who shares the permits send for so many seconds."""
        self._cool(seconds)
        self._permits.cool_down(seconds)

    def cooling(self) -> float:
        """Return the seconds left of the cool-down, as far as this process knows."""
        return max(0.0, self._cool_until - self._clock())

    def left(self) -> int:
        """Return how many permits could be taken now without waiting."""
        return 0 if self.cooling() else self._permits.left()

    def is_waited_for(self) -> bool:
        """Return whether a thread of this process waits for a permit."""
        with self._changed:
            return bool(self._line)

    def next_in(self) -> float | None:
        """Return the seconds until the first of those that wait may send; None where none waits."""
        with self._changed:
            if not self._line:
                return None
            return max(0.0, max(self._look_at, self._cool_until) - self._clock())

    def pause(self, seconds: float) -> None:
        """Wait so many seconds without a permit; raises ApiBusy when the limiter is closed meanwhile."""
        until = self._clock() + seconds
        with self._changed:
            self._refuse_if_closed()
            while (left := until - self._clock()) > 0:
                self._wait(self._changed, min(left, LONGEST_WAIT))
                self._refuse_if_closed()

    def close(self) -> None:
        """End every wait with ApiBusy, now and later."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take(self, until: float) -> str:
        ticket = object()
        with self._changed:
            self._line.append(ticket)
        try:
            while True:
                changes = self._await_turn(ticket, until)
                # Without the lock: taking may last a while, and close() must not wait for it.
                found = self._permits.take()
                if not isinstance(found, NoPermit):
                    return found
                self._heed(found, changes)
        finally:
            with self._changed:
                self._line.remove(ticket)
                self._changed.notify_all()

    def _await_turn(self, ticket: object, until: float) -> int:
        with self._changed:
            while (wait := self._wait_of(ticket, until)) > 0:
                self._wait(self._changed, min(wait, LONGEST_WAIT))
            return self._changes

    def _wait_of(self, ticket: object, until: float) -> float:
        """Return the seconds until it is worth looking again; 0 when the holder of `ticket` may try."""
        self._refuse_if_closed()
        now = self._clock()
        if self._cool_until > until:
            raise ApiThrottled("the provider asked us to slow down", retry_after=self._cool_until - now)
        if self._cool_until > now:
            return self._cool_until - now
        return max(0.0, self._look_at - now) if self._line[0] is ticket else LONGEST_WAIT

    def _heed(self, found: NoPermit, changes: int) -> None:
        self._cool(found.cooling)
        with self._changed:
            # What changed since the look may have freed a permit earlier.
            if self._changes == changes:
                self._look_at = self._clock() + found.seconds

    def _cool(self, seconds: float) -> None:
        with self._changed:
            self._cool_until = max(self._cool_until, self._clock() + seconds)

    def _look_again(self) -> None:
        with self._changed:
            self._changes += 1
            self._look_at = self._clock()
            self._changed.notify_all()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ApiBusy("the API client is closed")
