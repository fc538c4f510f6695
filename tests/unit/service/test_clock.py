"""The daemon on a machine whose clock is set back."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from archiver.adapters.systemd import Systemd
from archiver.service.daemon import Daemon, Job
from archiver.service.liveness import Liveness
from archiver.service.shutdown import Shutdown
from archiver.service.supervision import Hangup, Supervision
from tests.fakes.events import Events

HOUR = timedelta(hours=1)


class Clock:
    """Right, until it is set back."""

    def __init__(self) -> None:
        self.wrong_by = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) - self.wrong_by


def test_daemon_when_the_clock_is_set_back_runs_its_jobs_and_says_so() -> None:
    shutdown, events, clock, runs = Shutdown(), Events(), Clock(), threading.Semaphore(0)
    supervision = Supervision(Systemd(None), Liveness(), str, Hangup(), lambda: None, events)
    jobs = {"intake": Job(runs.release, HOUR)}
    daemon = Daemon(jobs, shutdown=shutdown, supervision=supervision, clock=clock, log=events)
    thread = threading.Thread(target=daemon.run, args=(lambda: None,))
    thread.start()
    try:
        assert runs.acquire(timeout=10), "each job runs at the start"
        assert not runs.acquire(timeout=1), "and then once an hour"
        clock.wrong_by = HOUR
        assert runs.acquire(timeout=10)
    finally:
        shutdown.ask()
        thread.join()
    [said] = events.of("clock.set_back")
    assert abs(float(str(said["seconds"])) - 3600) < 5
