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

OTHERS_EVERY = 6
"""One permit in so many is for those who do not go first, while both wait."""

LINE = 1.0
"""Seconds for which those that wait are enough: so often a dispatcher looks for more."""

HELD = 60.0
"""Seconds after a request that went first for which permits are held for the next of them."""

FIRST_AT_ONCE, OTHERS_AT_ONCE, OTHERS_BESIDE = 0.75, 0.5, 0.75
"""The parts of the permits that are used without spacing: for those who go first, for others, ...

... and the most that all may have used when one of the others comes, while permits are held.
"""

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

    @property
    def firsts(self) -> int:
        """The number of those who go first."""
        return len(self._first)

    @property
    def others(self) -> int:
        """The number of those who do not."""
        return len(self._others)

    def enter(self, *, first: bool) -> object:
        """Return a ticket."""
        ticket = object()
        (self._first if first else self._others).append(ticket)
        return ticket

    def leave(self, ticket: object, *, served: bool) -> None:
        """Take the ticket back."""
        self._served += served
        (self._first if ticket in self._first else self._others).remove(ticket)

    def is_next(self, ticket: object, other_is_due: bool | None) -> bool:
        """Return whether it is the ticket's turn.

        `other_is_due`: whether, by the pace, it is that of one who does not go first; None where they take turns.
        """
        if other_is_due is None:
            other_is_due = self._served % OTHERS_EVERY == 0
        if not self._first or (self._others and other_is_due):
            return self._others[0] is ticket
        return self._first[0] is ticket


class Spread:
    """Spreads requests evenly over the window while some wait, so that who comes next waits for no window to pass.

    Part of the permits may be used at once by whoever comes after a quiet time. While some went first of late, the
    others leave a part to them, but for one request in OTHERS_EVERY. Needs a lock where threads share it.
    """

    def __init__(self, limit: int, window: float) -> None:
        self._window = window
        self._over_at: deque[float] = deque()
        """When the window is over of each that was sent."""
        self._next_at = self._first_at = self._other_due_at = -inf
        self.resize(limit)

    def resize(self, limit: int) -> None:
        """Spread so many over the window."""
        self._limit = limit
        self._gap = self._window / limit if limit >= FEW else 0.0

    def within(self, seconds: float) -> int:
        """Return how many may be sent in so many seconds, one at least."""
        return max(1, int(seconds / self._gap)) if self._gap else 1

    def wait(self, now: float, *, first: bool = True, beside: bool = False) -> float:
        """Return the seconds until the next may be sent; `beside`: one who goes first waits as well."""
        spaced = max(0.0, self._next_at - now)
        if first:
            return min(spaced, self._until_fewer(self._limit * FIRST_AT_ONCE, now))
        if not self.holds(now):
            return min(spaced, self._until_fewer(self._limit * OTHERS_AT_ONCE, now))
        turn, spare = max(0.0, self._other_due_at - now), self._until_fewer(self._limit * OTHERS_BESIDE, now)
        return max(spaced, turn if beside else min(turn, spare))

    def _until_fewer(self, most: float, now: float) -> float:
        """Return the seconds until fewer than so many were sent within a window."""
        if not self._gap:
            return 0.0
        while self._over_at and self._over_at[0] <= now:
            self._over_at.popleft()
        over = len(self._over_at) - int(most)
        return 0.0 if over < 0 else self._over_at[over] - now

    def holds(self, now: float) -> bool:
        """Return whether permits are held for those who go first."""
        return self._gap > 0 and now - self._first_at <= HELD

    def other_is_due(self, now: float) -> bool | None:
        """Return whether one who does not go first is to go before those who do; None where they take turns."""
        return now >= self._other_due_at if self.holds(now) else None

    def goes(self, now: float, *, first: bool = True) -> None:
        """Note that one is sent."""
        if not self._gap:
            return
        self._next_at = now + self._gap
        self._over_at.append(now + self._window)
        if first:
            self._first_at = now
        else:
            self._other_due_at = now + self._gap * OTHERS_EVERY


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

        Whoever goes `first` passes others that do not.

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

    def is_full(self, *, first: bool = True) -> bool:
        """Return whether as many wait of those who go first, or of the others, as may be sent in LINE seconds.

        Whoever would come behind them is better chosen later, when it is known who else came.
        """
        with self._changed:
            waiting, seconds = (self._line.firsts, LINE) if first else (self._line.others, LINE / 2)
            return waiting >= self._spread.within(seconds)

    def next_in(self) -> float | None:
        """Return the seconds until the first of those that wait may send; None where none waits."""
        with self._changed:
            if not self._line:
                return None
            now = self._clock()
            paced = self._spread.wait(now, first=self._line.firsts > 0)
            return max(paced, max(self._look_at, self._cool_until) - now)

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
            ticket = self._line.enter(first=first)
        served = False
        try:
            while True:
                changes = self._await_turn(ticket, until, first=first)
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
                    self._spread.goes(self._clock(), first=first)
                self._changed.notify_all()

    def _await_turn(self, ticket: object, until: float, *, first: bool) -> int:
        with self._changed:
            while (wait := self._wait_of(ticket, until, first=first)) > 0:
                self._wait(self._changed, min(wait, LONGEST_WAIT))
            return self._changes

    def _wait_of(self, ticket: object, until: float, *, first: bool) -> float:
        """Return the seconds until it is worth looking again; 0 when the holder of `ticket` may try."""
        self._refuse_if_closed()
        now = self._clock()
        if self._cool_until > until:
            raise ApiThrottled("the provider asked us to slow down", retry_after=self._cool_until - now)
        if self._cool_until > now:
            return self._cool_until - now
        if not self._line.is_next(ticket, self._spread.other_is_due(now)):
            return self._until_due(now, first=first)
        return max(self._spread.wait(now, first=first, beside=self._line.firsts > 0), self._look_at - now)

    def _until_due(self, now: float, *, first: bool) -> float:
        """Return the seconds until the turn of one who does not go first may come by the pace alone."""
        beside = 0.0 if first else self._spread.wait(now, first=False, beside=True)
        return beside or LONGEST_WAIT

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
