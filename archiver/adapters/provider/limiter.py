"""The rate limit of requests: exact over any window as the provider sees it, and who is next to send."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from archiver.core.errors import ApiBusy, ApiThrottled
from archiver.ports.provider import NoPermit, Permits

Wait = Callable[[threading.Condition, float], object]
"""Wait on a held condition, at most so many seconds."""

FEW = 8
"""Fewer permits than so many are lent at once."""

OTHERS_EVERY = 4
"""One permit in so many is for those who do not go first, while both wait."""

LAST_TURN = 2
"""The turn, of so many, at which the last to come goes before those that came earlier."""

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


class _Line:
    """Those who wait, each by a ticket of its own. Needs a lock where threads share it."""

    def __init__(self) -> None:
        self._first: deque[object] = deque()
        self._others: deque[object] = deque()
        self._served = 0

    def __bool__(self) -> bool:
        return bool(self._first or self._others)

    def enter(self, *, first: bool) -> object:
        """Return a ticket."""
        ticket = object()
        (self._first if first else self._others).append(ticket)
        return ticket

    def leave(self, ticket: object, *, served: bool) -> None:
        """Take the ticket back."""
        self._served += served
        (self._first if ticket in self._first else self._others).remove(ticket)

    def is_next(self, ticket: object) -> bool:
        """Return whether it is the ticket's turn; now and then that is who came last of those who go first."""
        turn = self._served % OTHERS_EVERY
        if not self._first or (self._others and turn == 0):
            return self._others[0] is ticket
        return self._first[-1 if turn == LAST_TURN else 0] is ticket


class Spread:
    """Spreads requests evenly over the window while some wait, so that who comes next waits for no window to pass.

    Half of the permits may be used at once by whoever comes after a quiet time. Needs a lock where threads share it.
    """

    def __init__(self, limit: int, window: float) -> None:
        self._window = window
        self._credit, self._next_at, self._quiet_since = 0.0, -inf, -inf
        self.resize(limit)

    def resize(self, limit: int) -> None:
        """Spread so many over the window."""
        self._gap = self._window / limit if limit >= FEW else 0.0
        self._most = limit // 2

    def comes(self, now: float) -> None:
        """Note that somebody waits, and nobody did before."""
        if self._gap:
            self._credit = min(self._most, self._credit + (now - self._quiet_since) / self._gap)

    def wait(self, now: float) -> float:
        """Return the seconds until the next may be sent."""
        return 0.0 if self._credit >= 1 else max(0.0, self._next_at - now)

    def goes(self, now: float, *, last: bool) -> None:
        """Note that one is sent; `last`: nobody waits any more."""
        self._credit = max(0.0, self._credit - 1)
        self._next_at = now + self._gap
        if last:
            self._quiet_since = now


class RateLimiter:
    """Lends permits to the threads of this process: one in OTHERS_EVERY at least to those who do not go first.

    A permit is taken before the request is sent and rests until a window after its answer came. However long
    either of them travels, two requests with the same permit reach the provider more than a window apart.
    So the limit holds where it is judged; counting at the time of sending cannot promise that.
    """

    def __init__(
        self, permits: Permits, *, clock: Callable[[], float], wait: Wait, spread: Spread | None = None
    ) -> None:
        self._permits = permits
        self._spread = Spread(0, 0) if spread is None else spread
        self._clock = clock
        self._wait = wait
        self._changed = threading.Condition()
        self._changes = 0
        self._line = _Line()
        self._look_at = self._cool_until = clock()
        self._closed = False

    @contextmanager
    def permit(self, patience: float, *, first: bool = False) -> Iterator[None]:
        """Wait in line for a permit, and give it back at the end.

        Whoever goes `first` passes others that do not, and now and then those that do and came before.

        Raises ApiThrottled at once when a cool-down lasts longer than `patience` seconds, and ApiBusy
        when the limiter is closed.
        """
        permit = self._take(self._clock() + patience, first=first)
        try:
            yield
        finally:
            self._permits.give_back(permit)
            self._look_again()

    def resize(self, limit: int) -> None:
        """Set the limit; requests that are out count towards it."""
        self._permits.resize(limit)
        with self._changed:
            self._spread.resize(limit)
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
            now = self._clock()
            return max(self._spread.wait(now), max(self._look_at, self._cool_until) - now)

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

    def _take(self, until: float, *, first: bool) -> str:
        with self._changed:
            if not self._line:
                self._spread.comes(self._clock())
            ticket = self._line.enter(first=first)
        served = False
        try:
            while True:
                changes = self._await_turn(ticket, until)
                # Without the lock: taking may last a while, and close() must not wait for it.
                found = self._permits.take()
                if not isinstance(found, NoPermit):
                    served = True
                    return found
                self._heed(found, changes)
        finally:
            with self._changed:
                self._line.leave(ticket, served=served)
                if served:
                    self._spread.goes(self._clock(), last=not self._line)
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
        if not self._line.is_next(ticket):
            return LONGEST_WAIT
        return max(self._spread.wait(now), self._look_at - now)

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
