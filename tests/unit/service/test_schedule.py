"""The daemon's jobs on APScheduler, where the system gives no thread."""

from __future__ import annotations

import threading
from datetime import timedelta

from archiver.service.schedule import Schedule
from tests.fakes.threads import no_threads
from tests.fakes.waiting import until

NEVER = timedelta(hours=1)


def test_job_that_gets_no_thread_is_told_and_runs_once_there_is_one() -> None:
    failed: list[str] = []
    ran = threading.Event()
    schedule = Schedule(lambda _: None, lambda name, error, _: failed.append(f"{name}: {error}"))
    schedule.start()
    with no_threads():
        schedule.add("intake", ran.set, NEVER)
        until(lambda: bool(failed), 5)
    assert failed == ["intake: can't start new thread"]
    schedule.run_now("intake")
    assert ran.wait(5)
    schedule.stop(NEVER, lambda: False)
