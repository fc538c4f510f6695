"""The long-running service: APScheduler jobs, signals, drain. Is handed callables; the only user of APScheduler."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import TYPE_CHECKING

from archiver.core.errors import LedgerFault
from archiver.dispatch import Dispatcher
from archiver.ports import Clock, EventLog

if TYPE_CHECKING:
    from apscheduler.events import JobExecutionEvent
    from apscheduler.schedulers.background import BackgroundScheduler

CANCEL_PATIENCE = timedelta(seconds=5)
"""How long transfers get to notice that the grace is over and to abort what they had begun."""


class Stopping:
    """The process's wish to end: set by a first signal, made urgent by a second."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._urgent = threading.Event()
        self.signal_number: int | None = None

    @property
    def asked(self) -> bool:
        """Whether a signal (or a fault) asked the process to end."""
        return self._asked.is_set()

    @property
    def urgent(self) -> bool:
        """Whether a second signal asked to end at once."""
        return self._urgent.is_set()

    def ask(self, number: int | None = None) -> None:
        """Ask to end; asking with a signal twice makes it urgent."""
        if number is not None and self._asked.is_set():
            self._urgent.set()
        if number is not None and self.signal_number is None:
            self.signal_number = number
        self._asked.set()

    def wait(self, seconds: float) -> bool:
        """Wait until asked, at most `seconds`; return whether asked."""
        return self._asked.wait(seconds)

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


@dataclass(frozen=True, slots=True)
class Job:
    """A callable and how often it runs."""

    run: Callable[[], None]
    every: timedelta


class Daemon:
    """Runs jobs until asked to stop, or until the ledger fails."""

    def __init__(self, jobs: Mapping[str, Job], *, stopping: Stopping, clock: Clock, log: EventLog) -> None:
        self._jobs = jobs
        self._clock = clock
        self._stopping = stopping
        self._log = log
        self._fault: LedgerFault | None = None

    def run(self, fault: Callable[[], LedgerFault | None]) -> LedgerFault | None:
        """Run until a signal, or until `fault()` or a job's LedgerFault; return that fault, if any."""
        scheduler = self._scheduler()
        scheduler.start()
        before = self._clock()
        try:
            while not self._stopping.wait(0.5):
                before = self._kept_going(scheduler, before)
                self._fault = self._fault or fault()
                if self._fault is not None:
                    self._log.error("ledger.fault", error=str(self._fault), hint=self._fault.hint)
                    self._stopping.ask()
        finally:
            scheduler.shutdown(wait=False)
        return self._fault

    def _kept_going(self, scheduler: BackgroundScheduler, before: datetime) -> datetime:
        """Return the time; where it is earlier than `before`, run all jobs now.

        APScheduler keeps their next times by the wall clock, and would sleep until it has caught up.
        """
        now = self._clock()
        if now < before:
            self._log.warning("clock.set_back", seconds=(before - now).total_seconds())
            for job in scheduler.get_jobs():
                job.modify(next_run_time=datetime.now(UTC))
        return now

    def _scheduler(self) -> BackgroundScheduler:
        # Loaded here, for `backfill` needs of this module only Stopping.
        from apscheduler.events import EVENT_JOB_ERROR  # noqa: PLC0415 - see above
        from apscheduler.executors.pool import ThreadPoolExecutor  # noqa: PLC0415 - see above
        from apscheduler.schedulers.background import BackgroundScheduler  # noqa: PLC0415 - see above

        # The defaults skip a run silently when a second is busy; a late run is right here, a lost one is not.
        scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(max(len(self._jobs), 1))},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone="UTC",
        )
        scheduler.add_listener(self._job_failed, EVENT_JOB_ERROR)
        for name, job in self._jobs.items():
            scheduler.add_job(
                job.run, "interval", id=name, seconds=job.every.total_seconds(), next_run_time=datetime.now(UTC)
            )
        return scheduler

    def _job_failed(self, event: JobExecutionEvent) -> None:
        error = event.exception
        if isinstance(error, LedgerFault):
            self._fault = error
            return
        self._log.error("job.failed", job=event.job_id, error=repr(error), traceback=event.traceback)
