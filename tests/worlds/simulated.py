"""The path in simulated time: real workers and transfer threads, or one thread for all, and hours within moments."""

from __future__ import annotations

import os
import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import Any

from archiver.core.model import DEFAULT_ACCOUNT, AccountName
from tests.fakes.events import Silence
from tests.fakes.time import SimulatedTime
from tests.house import Ledger, TaskWatch, TransferThreads, WholeCrowd, ready_ledger_at, spread_limiter
from tests.worlds.path import Path

WORKERS, THREADS, REQUESTS = 8, 16, 20
"""As settings have them by default."""
ASKING, CONNECTING, PUTTING, TRANSFER = 0.3, 0.1, 0.05, 1.0
"""Seconds that each takes."""
SECOND = timedelta(seconds=1)


class Ends(Silence):
    """An event log that keeps only when each task was archived, and how often each event came."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self.archived: dict[str, float] = {}
        self._monotonic = monotonic

    def info(self, event: str, **fields: object) -> None:
        if event == "task.archived":
            self.archived[str(fields["task_id"])] = self._monotonic()


class SimulatedPath(Path):
    """A service as it is by default, where every call takes its time; ids arrive while it works.

    With no `pool` all is done by the thread that leads, one thing after the other: by `dispatcher.step`.
    """

    def __init__(self, ledger: Ledger, pool: TransferThreads | None, time: SimulatedTime, **changes: Any) -> None:  # noqa: ANN401 - any field
        self.time = time
        self.ends = Ends(time.monotonic)
        dice = random.Random(0)
        self.permits = spread_limiter(REQUESTS, 10, clock=time.monotonic, wait=time.wait)
        given: dict[str, Any] = {"events": self.ends, "jitter": dice.random}
        watch = TaskWatch(self.ends, time.monotonic)
        given["watch"] = self.writings = watch
        if pool is not None:
            self.transfers = pool
            given |= {
                "pool": pool,
                "workers": WORKERS,
                "crowd": WholeCrowd(pool, watch.held_up),
                "enough_wait": self._enough_wait,
            }
        super().__init__(ledger, **given | changes)
        self.oldest = 0.0
        """Seconds that the oldest transfer was under way, at most: as the metric tells."""
        self.clock_off = 0.0
        """Seconds that the clock was off, at most: as the metric tells."""
        self.arrivals: list[tuple[float, str]] = []
        """Ids to come, the latest first, and at which second."""
        self.on: list[tuple[str, Callable[[str], None]]] = []
        """What happens to calls that are about what begins so, after the time that they take."""
        self.api.date = lambda: time.clock() - time.jumped
        self.api.permit = self._send
        self.api.before = lambda method, about: self._meet(f"{method} {about}")
        self.downloader.before = self._connect
        self.store.before = self._put

    def clock(self) -> datetime:
        return self.time.clock()

    def steady(self) -> float:
        return self.time.monotonic()

    def forward(self, span: timedelta) -> None:
        self.time.sleep(span.total_seconds())

    # --- what calls take

    def _send(self, first: bool) -> None:
        with self.permits.permit(3600, first=first):
            self.time.sleep(ASKING)

    def _enough_wait(self, *, first: bool) -> list[AccountName]:
        return [DEFAULT_ACCOUNT] if self.permits.is_full(first=first) else []

    def _connect(self, method: str, about: str) -> None:
        self.time.sleep(CONNECTING)
        self._meet(f"{method} {about}")
        self.watch.progress()

    def _put(self, method: str, about: str) -> None:
        if method != "find":
            self.time.sleep(PUTTING)
        self._meet(f"{method} {about}")

    def hangs(self, seconds: float) -> None:
        """Keep silent for so long, unless the thread's work is given up."""
        until, given_up = self.time.monotonic() + seconds, threading.Event()
        with self.watch.interruptible(given_up.set):
            while self.time.monotonic() < until and not given_up.is_set():
                self.time.sleep(min(1, until - self.time.monotonic()))
        self.watch.progress()

    def _meet(self, call: str) -> None:
        for begins, happens in self.on:
            if call.startswith(begins):
                happens(call)

    def flows(self, seconds: float = TRANSFER) -> Callable[[int], None]:
        """Return what makes each piece of a body come so slowly."""

        def comes(_: int) -> None:
            self.time.sleep(seconds)
            self.watch.progress()

        return comes

    # --- the daemon

    def works(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Do the daemon's jobs for so long, or until then."""
        ends = self.time.monotonic() + seconds
        while self.time.monotonic() < ends and not until():
            second = int(self.time.monotonic())
            while self.arrivals and self.arrivals[-1][0] <= second:
                self.accept(self.arrivals.pop()[1])
            if second % 30 == 0:
                self.dispatcher.renew()
            self.breakers.reload()
            self.dispatcher.pump()
            self.oldest = max(self.oldest, self.transfers.oldest(), self.writings.oldest_writing())
            self.clock_off = max(self.clock_off, abs(self.archiver.context.look.ahead().total_seconds()))
            self.time.run_to(second + 1)
        assert self.dispatcher.fault is None

    def leaps(self, span: timedelta) -> None:
        """Let time go by in leaps of two hours, with a moment of work after each."""
        for _ in range(int(span / timedelta(hours=2))):
            self.time.run_to(self.time.monotonic() + 7200)
            self.dispatcher.renew()
            self.works(5)


@contextmanager
def simulated(
    kind: Callable[..., SimulatedPath] = SimulatedPath,
    *,
    ledger_as: Callable[[Ledger], Ledger] = lambda ledger: ledger,
    threads: int = THREADS,
    **changes: Any,  # noqa: ANN401
) -> Iterator[Any]:
    """Build a path of that kind in simulated time, with so many threads for transfers; none: one does all."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    time = SimulatedTime()
    with (
        tempfile.TemporaryDirectory(dir=memory) as folder,
        closing(ready_ledger_at(f"sqlite:///{folder}/ledger.db")) as ledger,
        closing(TransferThreads(threads or 1, clock=time.monotonic, wall=time.clock)) as pool,
    ):
        path = kind(ledger_as(ledger), pool if threads else None, time, **changes)
        try:
            yield path
        finally:
            path.dispatcher.stop()
            path.cancelled.set()
            time.run_to(time.monotonic() + 3600)
