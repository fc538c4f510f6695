"""The pace of requests: exact over any window as the provider sees it, first come first served."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from archiver.core.errors import ApiBusy, ApiThrottled
from archiver.ports.provider import NoSlot, Slots

Wait = Callable[[threading.Condition, float], object]
"""Wait on a held condition, at most so many seconds."""

LONGEST_WAIT = 30.0
"""Seconds after which every wait looks up again."""


class LocalSlots:
    """`Slots` of this process alone: `limit` of them, each resting for `window` seconds after its use."""

    def __init__(self, limit: int, window: float, *, clock: Callable[[], float]) -> None:
        self._limit = self._free = limit
        self._window = window
        self._clock = clock
        self._lock = threading.Lock()
        self._resting: deque[float] = deque()

    def take(self) -> str | NoSlot:
        """Take a slot, or say when one is free; all are alike here."""
        with self._lock:
            now = self._clock()
            while self._resting and self._resting[0] <= now:
                self._resting.popleft()
                self._free += 1
            if self._free > 0:
                self._free -= 1
                return ""
            return NoSlot(self._resting[0] - now if self._resting else LONGEST_WAIT)

    def give_back(self, slot: str) -> None:
        """Let it rest."""
        del slot
        with self._lock:
            self._resting.append(self._clock() + self._window)

    def cool_down(self, seconds: float) -> None:
        """Nobody else shares them."""

    def resize(self, limit: int) -> None:
        """Have another number of slots; those that are out count towards it."""
        with self._lock:
            self._free += limit - self._limit
            self._limit = limit

    def left(self) -> int:
        """Count those that are free."""
        with self._lock:
            now = self._clock()
            return max(0, self._free + sum(rested <= now for rested in self._resting))


class Pace:
    """Lends slots to the threads of this process, in the order in which they ask.

    A slot is held from before the request is sent until a window after its answer came. However long
    either of them travels, two requests with the same slot reach the provider more than a window
    apart: so the limit holds where it is judged, which counting at the time of sending cannot promise.
    """

    def __init__(self, slots: Slots, *, clock: Callable[[], float], wait: Wait) -> None:
        self._slots = slots
        self._clock = clock
        self._wait = wait
        self._changed = threading.Condition()
        self._changes = 0
        self._line: deque[object] = deque()
        self._look_at = self._cool_until = clock()
        self._closed = False

    @contextmanager
    def slot(self, patience: float) -> Iterator[None]:
        """Hold one slot, waiting in line for it.

        Raises ApiThrottled at once when a cool-down lasts longer than `patience` seconds, and ApiBusy
        when the pace is closed.
        """
        slot = self._take(self._clock() + patience)
        try:
            yield
        finally:
            self._slots.give_back(slot)
            self._look_again()

    def resize(self, limit: int) -> None:
        """Have another limit from now on; requests that are out count towards it."""
        self._slots.resize(limit)
        self._look_again()

    def cool_down(self, seconds: float) -> None:
        """Let nobody send for so many seconds, whoever shares the slots."""
        self._cool(seconds)
        self._slots.cool_down(seconds)

    def cooling(self) -> float:
        """Seconds left of the cool-down, as far as this process knows."""
        return max(0.0, self._cool_until - self._clock())

    def left(self) -> int:
        """Slots that could be taken now without waiting."""
        return 0 if self.cooling() else self._slots.left()

    def waited_for(self) -> bool:
        """Whether a thread of this process waits for a slot."""
        with self._changed:
            return bool(self._line)

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

    def _take(self, until: float) -> str:
        ticket = object()
        with self._changed:
            self._line.append(ticket)
        try:
            while True:
                changes = self._await_turn(ticket, until)
                # Without the lock: it may take a while, and whoever closes us must not wait for it.
                found = self._slots.take()
                if not isinstance(found, NoSlot):
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
        """Seconds until it is worth looking again; 0 when the holder of `ticket` may try."""
        self._refuse_if_closed()
        now = self._clock()
        if self._cool_until > until:
            raise ApiThrottled("the provider asked us to slow down", retry_after=self._cool_until - now)
        if self._cool_until > now:
            return self._cool_until - now
        return max(0.0, self._look_at - now) if self._line[0] is ticket else LONGEST_WAIT

    def _heed(self, found: NoSlot, changes: int) -> None:
        self._cool(found.cooling)
        with self._changed:
            # What changed since the look may have freed a slot earlier.
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
