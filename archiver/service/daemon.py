"""The daemon: runs its jobs until the process is to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from archiver.core.clocks import Steps
from archiver.core.errors import LedgerFault
from archiver.ports.runtime import Clock, EventLog
from archiver.service.shutdown import Shutdown
from archiver.service.supervision import Supervision

if TYPE_CHECKING:
    from archiver.service.schedule import Schedule

LAST_RUNS = timedelta(seconds=5)
"""The time that running jobs get to end: one that has read the queue file takes in what it read."""

HUNG_AFTER = timedelta(minutes=5)
"""The time that a run of a job, or a step within it that shows progress, may take; longer counts as hung."""


@dataclass(frozen=True, slots=True)
class Job:
    """A callable and how often it runs."""

    run: Callable[[], object]
    every: timedelta
    hung_after: timedelta = HUNG_AFTER
    wanted: Callable[[], bool] = lambda: False
    """Is asked twice a second whether to run at once; costs next to nothing, but may hang as a file system does."""


class Daemon:
    """Runs jobs until asked to stop, or until the ledger fails.

    Each run of a job that succeeds is progress of its own.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        *,
        shutdown: Shutdown,
        supervision: Supervision,
        clock: Clock,
        log: EventLog,
        steady: Callable[[], float] = time.monotonic,
        set_back: Callable[[timedelta], None] = lambda _: None,
    ) -> None:
        """Run nothing yet.

        Args:
            jobs: by name.
            shutdown: ends the run.
            supervision: is attended to several times a second.
            clock: the wall clock.
            log: hears of steps of the wall clock, and of what fails.
            steady: seconds that nobody sets, and that go on while the machine sleeps.
            set_back: is called with the span by which the wall clock was set back; may raise LedgerFault.
        """
        self._jobs = jobs
        self._shutdown = shutdown
        self._supervision = supervision
        self._clock = clock
        self._log = log
        self._steady = steady
        self._set_back = set_back
        self._steps = Steps()
        self._fault: LedgerFault | None = None

    def run(self, fault: Callable[[], LedgerFault | None]) -> LedgerFault | None:
        """Run until a signal, or until `fault()` or a job's LedgerFault; return that fault, if any.

        Begins no job where the process was asked to end before.
        """
        if self._shutdown.asked:
            self._supervision.manager.stopping()
            return None
        # Loaded here, for `backfill` needs of this room no schedule.
        from archiver.service.schedule import Schedule  # noqa: PLC0415 - as said

        liveness, manager = self._supervision.liveness, self._supervision.manager
        schedule = Schedule(liveness.progress, self._job_failed)
        for name, job in self._jobs.items():
            liveness.expect(name, job.every + job.hung_after)
            schedule.add(name, job.run, job.every)
        schedule.start()
        threading.Thread(target=self._run_wanted, args=(schedule,), name="wanted", daemon=True).start()
        manager.ready()
        before = self._clock()
        try:
            while not self._shutdown.wait(0.5):
                before = self._kept_going(schedule, before)
                self._supervision.attend()
                self._fault = self._fault or fault()
                if self._fault is not None:
                    self._log.error("ledger.fault", error=str(self._fault), hint=self._fault.hint)
                    self._shutdown.ask()
        finally:
            manager.stopping()
            schedule.stop(LAST_RUNS, lambda: self._shutdown.urgent)
        return self._fault

    def _run_wanted(self, schedule: Schedule) -> None:
        while not self._shutdown.wait(0.5):
            for name in [name for name, job in self._jobs.items() if job.wanted()]:
                schedule.run_now(name)

    def _kept_going(self, schedule: Schedule, before: datetime) -> datetime:
        """Return the time; where the clock was set back, run all jobs now, and let nothing wait for longer.

        APScheduler keeps their next times by the wall clock, and would sleep until it has caught up.
        """
        now = self._clock()
        step = self._steps.look(now, self._steady())
        back = max(before - now, -step)
        if back > timedelta():
            self._log.warning("clock.set_back", seconds=back.total_seconds())
            schedule.run_all_now()
            self._wait_less(back)
        elif step:
            self._log.warning("clock.set_ahead", seconds=step.total_seconds())
        return now

    def _wait_less(self, back: timedelta) -> None:
        try:
            self._set_back(back)
        except LedgerFault as fault:
            self._fault = fault

    def _job_failed(self, name: str, error: BaseException, traceback: str) -> None:
        if isinstance(error, LedgerFault):
            self._fault = error
            return
        self._log.error("job.failed", job=name, error=repr(error), traceback=traceback)
