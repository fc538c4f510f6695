"""APScheduler for the daemon: a late run is made up for, and none holds up the end of the process for long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler


class Schedule:
    """Runs jobs every so often, none twice at once, each run in a thread of its own.

    Calls `succeeded` with a job's name after each of its runs, or `failed` with the exception and its traceback too.
    """

    def __init__(self, succeeded: Callable[[str], None], failed: Callable[[str, BaseException, str], None]) -> None:
        # The defaults skip a run silently when a second is busy; a late run is right here, a lost one is not.
        self._threads = _Threads(failed)
        self._scheduler = BackgroundScheduler(
            executors={"default": self._threads},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone="UTC",
        )

        def ended(event: JobExecutionEvent) -> None:
            if event.exception is None:
                succeeded(event.job_id)
            else:
                failed(event.job_id, event.exception, event.traceback)

        self._scheduler.add_listener(ended, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)

    def add(self, name: str, run: Callable[[], object], every: timedelta) -> None:
        """Let `run` be run at once, and then every so often."""
        seconds = every.total_seconds()
        self._scheduler.add_job(run, "interval", id=name, seconds=seconds, next_run_time=datetime.now(UTC))

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def run_all_now(self) -> None:
        """Run all jobs now, whenever their next times are."""
        for job in self._scheduler.get_jobs():
            job.modify(next_run_time=datetime.now(UTC))

    def run_now(self, name: str) -> None:
        """Run that job now, unless it is under way, or this was stopped."""
        if not any(thread.name == _thread(name) for thread in tuple(self._threads.at_work)):
            with suppress(JobLookupError):
                self._scheduler.modify_job(name, next_run_time=datetime.now(UTC))

    def stop(self, patience: timedelta, urgent: Callable[[], bool]) -> None:
        """Begin no more runs; let those under way end for so long, unless `urgent`, then leave them to themselves."""
        self._scheduler.shutdown(wait=False)
        give_up = time.monotonic() + patience.total_seconds()
        while self._threads.at_work and time.monotonic() < give_up and not urgent():
            time.sleep(0.02)


def _thread(job: str) -> str:
    return f"job-{job}"


class _Threads(BaseExecutor):  # type: ignore[misc]  # APScheduler has no types
    """Daemon threads: a run that hangs when the process ends is left behind. Those of a pool would be waited for."""

    def __init__(self, refused: Callable[[str, BaseException, str], None]) -> None:
        super().__init__()
        self._refused = refused
        self.at_work: set[threading.Thread] = set()

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:  # noqa: ANN401 - as above
        def run() -> None:
            try:
                events = run_job(job, job._jobstore_alias, run_times, self._logger.name)  # noqa: SLF001 - as every executor
            except BaseException:  # noqa: BLE001 - the scheduler reports it
                self._run_job_error(job.id, *sys.exc_info()[1:])
            else:
                self._run_job_success(job.id, events)
            finally:
                self.at_work.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=_thread(job.id), daemon=True)
        self.at_work.add(thread)
        try:
            thread.start()
        except RuntimeError as fault:  # the system gives no further thread
            self.at_work.discard(thread)
            self._refused(job.id, fault, "")
            raise
