"""The daemon: runs its jobs until the process is to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

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


class Daemon:
    """Runs jobs until asked to stop, or until the ledger fails.

    Each run of a job that succeeds is progress of its own.
    """

    def __init__(
        self, jobs: Mapping[str, Job], *, shutdown: Shutdown, supervision: Supervision, clock: Clock, log: EventLog
    ) -> None:
        self._jobs = jobs
        self._shutdown = shutdown
        self._supervision = supervision
        self._clock = clock
        self._log = log
        self._fault: LedgerFault | None = None

    def run(self, fault: Callable[[], LedgerFault | None]) -> LedgerFault | None:
        """Run until a signal, or until `fault()` or a job's LedgerFault; return that fault, if any."""
        # Loaded here, for `backfill` needs of this room no schedule.
        from archiver.service.schedule import Schedule  # noqa: PLC0415 - as said

        liveness, manager = self._supervision.liveness, self._supervision.manager
        schedule = Schedule(liveness.progress, self._job_failed)
        for name, job in self._jobs.items():
            liveness.expect(name, job.every + HUNG_AFTER)
            schedule.add(name, job.run, job.every)
        schedule.start()
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
