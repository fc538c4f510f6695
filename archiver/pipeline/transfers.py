"""The threads that move stems, shared by all tasks; `lanes` decides which transfer is next."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime

from archiver.core.concurrency import Change
from archiver.core.model import Dependency
from archiver.pipeline.lanes import STORE, Lane, Lanes
from archiver.ports.runtime import EventLog

_Work = tuple[Callable[[], None], "Future[None]"]


class TransferThreads:
    """Threads that move stems, the earliest deadline first, over all tasks.

    Where it adapts, `threads` is the most. There are then as many as the store takes well, each origin's
    host has a limit of its own, and a thread passes over the hosts that are full.
    """

    def __init__(
        self,
        threads: int,
        *,
        adapts: bool = False,
        clock: Callable[[], float] = time.monotonic,
        log: EventLog | None = None,
    ) -> None:
        self._lanes = Lanes[_Work](threads, adapts=adapts, clock=clock)
        self._log = log
        self._changed = threading.Condition()
        self._closed = False
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self._staff()

    def resize(self, threads: int, *, adapts: bool = False) -> None:
        """Have so many threads, or at most so many: more at once, fewer as they end their work."""
        with self._changed:
            self._lanes.resize(threads, adapts=adapts)
        self._staff()

    def _staff(self) -> None:
        """Start the threads that are missing, and let the idle ones look again."""
        with self._changed:
            fresh = [
                threading.Thread(target=self._serve, name=f"stem-{next(self._numbers)}", daemon=True)
                for _ in range(self._lanes.level - len(self._threads))
            ]
            self._threads += fresh
            self._changed.notify_all()
        for thread in fresh:
            thread.start()

    def submit(self, deadline: datetime, work: Callable[[], None], host: str = "") -> Future[None]:
        """Run `work`, which fetches from `host`; the earliest deadline goes first. Raises RuntimeError once closed."""
        future: Future[None] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the transfer pool is closed")
            self._lanes.put(deadline, host, (work, future))
            self._changed.notify()
        return future

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
        lane: Lane[_Work] | None = None
        while (taken := self._next(lane)) is not None:
            lane, (work, future) = taken
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - the future hands it to whoever waits
                future.set_exception(error)
            else:
                future.set_result(None)

    def _next(self, done: Lane[_Work] | None) -> tuple[Lane[_Work], _Work] | None:
        """End what was done and take what comes next; None when the thread is to end."""
        with self._changed:
            if done is not None:
                self._lanes.end(done)
            while len(self._threads) <= self._lanes.level:
                if taken := self._lanes.take():
                    return taken
                if self._closed and not self._lanes.waiting:
                    break
                self._changed.wait()
            # Whoever waits for what this thread has ended, or for all to be over, must look again.
            self._changed.notify_all()
            self._threads.remove(threading.current_thread())
            return None
