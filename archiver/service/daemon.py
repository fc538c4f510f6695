"""The long-running service: jobs, signals, drain. Is handed callables."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING

from archiver.core.errors import LedgerFault
from archiver.pipeline.dispatch import Dispatcher
from archiver.ports.runtime import Clock, EventLog, ServiceManager
from archiver.service.liveness import Pulse

if TYPE_CHECKING:
    from archiver.service.schedule import Schedule

CANCEL_PATIENCE = timedelta(seconds=5)
"""How long transfers get to notice that the grace is over and to abort what they had begun."""

LAST_RUNS = timedelta(seconds=5)
"""How long jobs that are running get to end: one that has read the queue file takes in what it read."""

HUNG_AFTER = timedelta(minutes=5)
"""How long a run of a job, or a step within it that it tells of, may take; longer counts as hung."""


class Stopping:
    """The process's wish to end: set by a first signal, made urgent by a second.

    A signal is heard between any two steps of the main thread, also of one that holds the lock of an Event it waits
    for: to set that would wait for ever. So there are no locks here, and a queue that is made for this.
    """

    def __init__(self) -> None:
        self.asked = False
        """Whether a signal (or a fault) asked the process to end."""
        self.urgent = False
        """Whether a second signal asked to end at once."""
        self.signal_number: int | None = None
        self._bell: SimpleQueue[None] = SimpleQueue()

    def ask(self, number: int | None = None) -> None:
        """Ask to end; asking with a signal twice makes it urgent."""
        if number is not None:
            self.urgent = self.asked
            self.signal_number = self.signal_number or number
        self.asked = True
        self._bell.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait until asked, at most `seconds`; return whether asked."""
        with suppress(Empty):
            if not self.asked:
                self._bell.get(timeout=seconds)
                self._bell.put(None)  # for whoever else waits
        return self.asked

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to SIGTERM and SIGINT while this lasts."""

        def heard(number: int, _frame: FrameType | None) -> None:
            self.ask(number)

        before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Hangup:
    """The operator's wish that the settings be read again: SIGHUP. Without locks, as Stopping."""

    def __init__(self) -> None:
        self._heard = False

    def hear(self) -> None:
        """Take note of the wish."""
        self._heard = True

    def taken(self) -> bool:
        """Whether there was such a wish since this was last asked."""
        if not self._heard:
            return False
        self._heard = False
        return True

    @contextmanager
    def on_signal(self) -> Iterator[None]:
        """Listen to SIGHUP while this lasts."""
        before = signal.signal(signal.SIGHUP, lambda _number, _frame: self.hear())
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)


class Unmanaged:
    """The ServiceManager of a process that nobody looks after."""

    def ready(self) -> None:
        """Say nothing."""

    def reloading(self) -> None:
        """Say nothing."""

    def stopping(self) -> None:
        """Say nothing."""

    def status(self, text: str) -> None:
        """Say nothing."""

    def progress(self) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class Care:
    """How the daemon is looked after: by whom, what it tells them, and what it does on SIGHUP."""

    manager: ServiceManager = field(default_factory=Unmanaged)
    status: Callable[[], str] = lambda: ""
    """What the daemon does now, in a few words."""
    hangup: Hangup = field(default_factory=Hangup)
    reload: Callable[[], None] = lambda: None


def drain(
    dispatcher: Dispatcher, stopping: Stopping, *, grace: timedelta, cancel: Callable[[], None], log: EventLog
) -> bool:
    """Let tasks in flight finish within `grace`, then cancel them; return whether none is left running.

    An urgent stop ends the wait at once. Leases are the caller's to release afterwards.
    """
    dispatcher.stop()
    log.info("daemon.draining", tasks_in_flight=dispatcher.working, grace_seconds=grace.total_seconds())
    waited = timedelta()
    pause = timedelta(seconds=0.1)
    while waited < grace and not stopping.urgent:
        if dispatcher.wait_idle(pause.total_seconds()):
            return True
        waited += pause
    cancel()
    return dispatcher.wait_idle(0.5 if stopping.urgent else CANCEL_PATIENCE.total_seconds())


def unless_asked(work: Callable[[], None], stopping: Stopping) -> None:
    """Do `work`, and raise what it raises; leave it to itself, in a thread, once the process is asked to end."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised to whoever waits
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, name="unless-asked", daemon=True).start()
    while not stopping.asked:
        if wait([done], 0.1).done:
            done.result()
            return


@dataclass(frozen=True, slots=True)
class Job:
    """A callable and how often it runs."""

    run: Callable[[], None]
    every: timedelta


class Daemon:
    """Runs jobs until asked to stop, or until the ledger fails.

    Each job beats `pulse` when a run of it has succeeded. While nothing in `pulse` is late, and only
    then, the service manager is told of progress.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        *,
        stopping: Stopping,
        clock: Clock,
        log: EventLog,
        pulse: Pulse | None = None,
        care: Care | None = None,
    ) -> None:
        self._jobs = jobs
        self._clock = clock
        self._stopping = stopping
        self._log = log
        self._pulse = pulse or Pulse()
        self._care = care or Care()
        self._stalled: AbstractSet[str] = frozenset()
        self._fault: LedgerFault | None = None

    def run(self, fault: Callable[[], LedgerFault | None]) -> LedgerFault | None:
        """Run until a signal, or until `fault()` or a job's LedgerFault; return that fault, if any."""
        # Loaded here, for `backfill` needs of this module no schedule.
        from archiver.service.schedule import Schedule  # noqa: PLC0415 - as said

        schedule = Schedule(self._pulse.beat, self._job_failed)
        for name, job in self._jobs.items():
            self._pulse.expect(name, job.every + HUNG_AFTER)
            schedule.add(name, job.run, job.every)
        schedule.start()
        self._care.manager.ready()
        before = self._clock()
        try:
            while not self._stopping.wait(0.5):
                before = self._kept_going(schedule, before)
                self._attend()
                self._fault = self._fault or fault()
                if self._fault is not None:
                    self._log.error("ledger.fault", error=str(self._fault), hint=self._fault.hint)
                    self._stopping.ask()
        finally:
            self._care.manager.stopping()
            schedule.stop(LAST_RUNS, lambda: self._stopping.urgent)
        return self._fault

    def _attend(self) -> None:
        """Do what SIGHUP asked for, and tell whoever looks after us how things stand."""
        manager = self._care.manager
        if self._care.hangup.taken():
            manager.reloading()
            self._care.reload()
            manager.ready()
        late = self._pulse.late()
        if fresh := late.keys() - self._stalled:
            silent = {name: round(late[name]) for name in sorted(fresh)}
            self._log.error("daemon.stalled", loops=sorted(fresh), silent_seconds=silent)
        if self._stalled and not late:
            self._log.info("daemon.recovered", loops=sorted(self._stalled))
        self._stalled = frozenset(late)
        manager.status(f"stalled: {', '.join(sorted(late))}" if late else self._care.status())
        if not late:
            manager.progress()

    def _kept_going(self, schedule: Schedule, before: datetime) -> datetime:
        """Return the time; where it is earlier than `before`, run all jobs now.

        APScheduler keeps their next times by the wall clock, and would sleep until it has caught up.
        """
        now = self._clock()
        if now < before:
            self._log.warning("clock.set_back", seconds=(before - now).total_seconds())
            schedule.run_all_now()
        return now

    def _job_failed(self, name: str, error: BaseException, traceback: str) -> None:
        if isinstance(error, LedgerFault):
            self._fault = error
            return
        self._log.error("job.failed", job=name, error=repr(error), traceback=traceback)
