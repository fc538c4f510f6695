"""The threads that move stems, shared by all tasks; `lanes` decides which transfer is next."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from math import inf

from archiver.core.concurrency import Change
from archiver.core.errors import Preempted
from archiver.core.model import Dependency
from archiver.core.transfer import Moving, Transfer
from archiver.pipeline.lanes import STORE, Lanes
from archiver.pipeline.preemption import Preemption
from archiver.pipeline.threads import start
from archiver.ports.runtime import EventLog

HELD_UP_REMEMBERED = 60.0
"""Seconds: what does not answer ends all at once, and as much again begins."""

_Work = tuple[Callable[[], None], "Future[None]"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class TransferThreads:
    """Threads that move stems, over all tasks: fairly, and the earliest deadline first (see `lanes`).

    Where it adapts, `threads` is the most. There are then as many as the store takes well, each origin's
    host has a limit of its own, and a thread passes over the hosts that are full.
    """

    def __init__(
        self,
        threads: int,
        *,
        adapts: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = _utc_now,
        log: EventLog | None = None,
    ) -> None:
        self._lanes = Lanes[_Work](threads, adapts=adapts, clock=clock)
        self._preemption = Preemption(self._lanes, clock=clock, wall=wall)
        self._clock = clock
        self._log = log
        self._changed = threading.Condition()
        self._closed = False
        self._held_up_at = -inf
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self._staff()

    def resize(self, threads: int, *, adapts: bool = False) -> None:
        """Have so many threads, or at most so many: more at once, fewer as they end their work."""
        with self._changed:
            self._lanes.resize(threads, adapts=adapts)
        self._staff()

    def _staff(self) -> None:
        """Start the threads that are missing, or as many as can be had, and let the idle ones look again."""
        with self._changed:
            fresh = [
                threading.Thread(target=self._serve, name=f"stem-{next(self._numbers)}", daemon=True)
                for _ in range(self._room() - len(self._threads))
            ]
            self._threads += fresh
            self._changed.notify_all()
        began = list(itertools.takewhile(lambda thread: start(thread, self._log), fresh))
        with self._changed:
            self._threads = [thread for thread in self._threads if thread not in fresh[len(began) :]]

    def _room(self) -> int:
        return self._lanes.level + self._lanes.beside

    def submit(self, transfer: Transfer, work: Callable[[], None]) -> Future[None]:
        """Run `work`, which moves `transfer`, when its turn has come. Raises RuntimeError once closed.

        It is run again where it raised Preempted, or ends so where its whole task was given up.
        """
        future: Future[None] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the transfer pool is closed")
            self._lanes.put(transfer, (work, future))
            self._changed.notify()
        return future

    def announced(self, transfer: Transfer, length: int | None) -> None:
        """Note how many bytes are to come."""
        transfer.announce(length, self._clock())

    def received(self, transfer: Transfer, size: int) -> timedelta:
        """Note that a block came; return how long the transfer has run. Raises Preempted when it is to end now."""
        now = self._clock()
        transfer.count(size, now)
        if self._preemption.is_due(now):
            with self._changed:
                self._preemption.look()
        if transfer.broken_off:
            raise Preempted
        return timedelta(seconds=now - (now if transfer.begun is None else transfer.begun))

    def crowd(self, workers: int, *, wait: bool) -> int:
        """Note whether tasks wait while all `workers` are busy; return how many tasks are at slow hosts alone."""
        withdrawn: list[_Work] = []
        with self._changed:
            self._preemption.look()
            for task in {transfer.task for transfer in self._preemption.crowd(workers if wait else 0)}:
                withdrawn += [work for _, work in self._lanes.withdraw(task)]
            slow = self._preemption.slow_tasks(workers)
            if 0 < workers <= 2 * slow:
                self._held_up_at = self._clock()
            short = self._lanes.waiting and len(self._threads) < self._room()
        if short:
            self._staff()
        for _, future in withdrawn:
            future.set_exception(Preempted())
        return slow

    def soon(self) -> float:
        """Return within how many seconds what is not slow ends, by what the quickest took of late."""
        with self._changed:
            return self._lanes.soon(self._clock())

    def put_off(self, hosts: Collection[str], *, dropped: bool = False) -> timedelta | None:
        """Return how long a task with stems on these hosts is to wait; None: not at all. `dropped`: it was given up."""
        with self._changed:
            return self._preemption.put_off(hosts, dropped=dropped)

    def under_way(self) -> Sequence[Moving]:
        """Return the transfers that run now, the oldest first."""
        with self._changed:
            now, running = self._clock(), [each for each in self._lanes.running if each.begun is not None]
        moving = [Moving(each.task, each.stem, each.size, each.length, now - (each.begun or now)) for each in running]
        return sorted(moving, key=lambda each: -each.seconds)

    def oldest(self) -> float:
        """Return the seconds since the oldest transfer began for the first time; 0 where none is under way."""
        with self._changed:
            begun = [each.first_begun for each in self._lanes.running if each.first_begun is not None]
        return self._clock() - min(begun) if begun else 0.0

    def held_up(self) -> bool:
        """Return whether half of the workers were held up so within the last minute."""
        return self._clock() - self._held_up_at < HELD_UP_REMEMBERED

    def moved(self, host: str, size: int) -> None:
        """Note that `size` bytes came from `host`: the pool finds out by this how many at a time are worth it."""
        if self._lanes.adapts:
            with self._changed:
                changes = list(self._lanes.moved(host, size))
            self._apply(changes)

    def refused(self, host: str) -> None:
        """Note that `host` answered badly, or said that it is too busy."""
        if self._lanes.adapts:
            with self._changed:
                changes = list(self._lanes.refused(host))
            self._apply(changes)

    def store_refused(self) -> None:
        """Note that the store answered badly, or said that it is too busy."""
        self.refused(STORE)

    def _apply(self, changes: Sequence[tuple[str, Change]]) -> None:
        if changes:
            self._staff()
        for name, change in changes:
            if self._log is not None:
                report = self._log.debug if change.why.startswith("trial") else self._log.info
                report("concurrency.changed", host=name, before=change.before, now=change.after, reason=change.why)

    def limits(self) -> Mapping[Dependency, int]:
        """Return how many may run at one time: with the origin's host that has the most, and with the store."""
        with self._changed:
            return {Dependency.ORIGIN: self._lanes.highest, Dependency.STORE: self._lanes.level}

    def close(self) -> None:
        """Take nothing more; the threads end once all that was submitted has run. Does not wait for them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _serve(self) -> None:
        done: Transfer | None = None
        again: _Work | None = None
        while (taken := self._next(done, again)) is not None:
            done, (work, future) = taken
            again = None
            try:
                work()
            except Preempted as given_up:
                if done.dropped:
                    future.set_exception(given_up)
                else:
                    again = work, future
            except BaseException as error:  # noqa: BLE001 - the future hands it to whoever waits
                future.set_exception(error)
            else:
                future.set_result(None)

    def _next(self, done: Transfer | None, again: _Work | None) -> tuple[Transfer, _Work] | None:
        """End what was done, or let it wait again, and take what comes next; None when the thread is to end."""
        with self._changed:
            if done is not None and self._lanes.end(done):
                self._preemption.came_quickly()
            if done is not None and again is not None:
                self._lanes.put(done, again)
            while len(self._threads) <= self._room():
                if taken := self._lanes.take():
                    return taken
                if self._closed and not self._lanes.waiting:
                    break
                self._changed.wait()
            # Whoever waits for what this thread has ended, or for all to be over, must look again.
            self._changed.notify_all()
            self._threads.remove(threading.current_thread())
            return None
