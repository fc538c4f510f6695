"""Time in the hands of tests: one clock for the wall, one for seconds."""

from __future__ import annotations

import dis
import heapq
import itertools
import pathlib
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import FrameType

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SERVICE = ("task-", "stem-")
"""What the threads of a service are called; those of the test run come and go as well."""


class Clock:
    """A clock on the wall, that moves only when it is told to."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        """Let time pass: the arguments are those of timedelta."""
        self.now += timedelta(**span)


class Seconds:
    """A monotonic clock that only waits move; it keeps them."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    clock = __call__

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Stand for `threading.Condition.wait`."""
        del condition
        self.sleep(seconds)


class SimulatedTime:
    """Time for many threads: once all of them wait, it goes on to the end of the next wait.

    The one that made it leads: only while it is in `run_to` or `sleep` do waits end. The others are the service's that
    were started since; they wait by `sleep`, by `wait`, or for one another.
    """

    def __init__(self, now: datetime = NOW) -> None:
        self.jumped = timedelta()
        """By how much the clock on the wall was set forward."""
        self._began = now
        self._seconds = 0.0
        self._leader = threading.get_ident()
        self._strangers = threading.enumerate()
        self._order = itertools.count()
        self._waits: list[tuple[float, int, threading.Condition]] = []
        self._alive: set[int] = set()
        """Those that nobody ended: the end of another would wake all who wait for the same, to wait anew each."""

    def clock(self) -> datetime:
        return self._began + timedelta(seconds=self._seconds) + self.jumped

    def monotonic(self) -> float:
        return self._seconds

    def sleep(self, seconds: float) -> None:
        until = self._seconds + seconds
        if threading.get_ident() == self._leader:
            return self.run_to(until)
        alarm = threading.Condition()
        with alarm:
            while self._seconds < until:
                self.wait(alarm, until - self._seconds)
        return None

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Stand for `threading.Condition.wait`."""
        number = next(self._order)
        self._alive.add(number)
        heapq.heappush(self._waits, (self._seconds + seconds, number, condition))
        condition.wait()
        self._alive.discard(number)

    def run_to(self, until: float) -> None:
        """Let everything happen up to that second."""
        self._settle()
        while self._waits and self._waits[0][0] <= until:
            ends, number, condition = heapq.heappop(self._waits)
            if number not in self._alive:
                continue
            self._seconds = max(self._seconds, ends)
            with condition:
                condition.notify_all()
            self._settle()
        self._seconds = max(self._seconds, until)

    def _settle(self, *, patience: float = 60) -> None:
        """Return once every thread waits."""
        stuck, before, give_up = 0, None, time.monotonic() + patience
        while True:
            busy = [frame for ident, frame in self._frames() if not _waits(frame)]
            if not busy and all(_waits(frame) for _, frame in self._frames()):
                return
            # Who waits for a plain lock looks as one does that just takes it, but sleeps.
            now = [(id(frame), frame.f_lasti) for frame in busy]
            stuck = stuck + 1 if now == before and all(map(_takes_a_lock, busy)) and not self._any_runs() else 0
            if stuck >= 20:
                return
            before = now
            assert time.monotonic() < give_up, f"a thread is busy for {patience} s: {busy}"
            time.sleep(0.001 if stuck else 0)

    def _any_runs(self) -> bool:
        """Return whether a thread runs, or would if it had a processor."""
        return any(map(_runs, self._threads()))

    def _frames(self) -> list[tuple[int, FrameType]]:
        ours = {each.ident for each in self._threads()}
        return [(ident, frame) for ident, frame in sys._current_frames().items() if ident in ours]

    def _threads(self) -> list[threading.Thread]:
        started = (each for each in threading.enumerate() if each not in self._strangers)
        return [each for each in started if each.name.startswith(SERVICE)]


def _waits(frame: FrameType) -> bool:
    """Return whether its thread waits on a condition for another to notify it."""
    if frame.f_code is not threading.Condition.wait.__code__:
        return False
    caller = frame.f_back and frame.f_back.f_back
    if caller is not None and caller.f_code is threading.Thread.start.__code__:
        return False  # for a thread that is not there yet
    names = frame.f_locals
    return names.get("timeout") is None and names.get("waiter") in names["self"]._waiters


def _runs(thread: threading.Thread) -> bool:
    with suppress(OSError):  # it has just ended
        state = pathlib.Path(f"/proc/self/task/{thread.native_id}/stat").read_text()
        return state.rpartition(")")[2].split()[0] == "R"
    return True


def _takes_a_lock(frame: FrameType) -> bool:
    taken = frame.f_code is threading.Condition.__enter__.__code__
    return taken or frame.f_code.co_code[frame.f_lasti] == dis.opmap["BEFORE_WITH"]
