"""The daemon on a machine whose clock is set back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def running(job: Job, clock: Clock, events: Events, status: Callable[[], str] = str) -> Iterator[None]:
    shutdown = Shutdown()
    supervision = Supervision(Systemd(None), Liveness(), status, Hangup(), lambda: None, events)
    daemon = Daemon({"intake": job}, shutdown=shutdown, supervision=supervision, clock=clock, log=events)
    thread = threading.Thread(target=daemon.run, args=(lambda: None,))
    thread.start()
    try:
        yield
    finally:
        shutdown.ask()
        thread.join()


def test_daemon_when_the_clock_is_set_back_runs_its_jobs_and_says_so() -> None:
    events, clock, runs = Events(), Clock(), threading.Semaphore(0)
    with running(Job(runs.release, HOUR), clock, events):
        assert runs.acquire(timeout=10), "each job runs at the start"
        assert not runs.acquire(timeout=1), "and then once an hour"
        clock.wrong_by = HOUR
        assert runs.acquire(timeout=10)
    [said] = events.of("clock.set_back")
    assert abs(float(str(said["seconds"])) - 3600) < 5


def test_job_that_is_wanted_runs_at_once_and_never_twice_at_a_time() -> None:
    runs, wanted, go_on = threading.Semaphore(0), threading.Event(), threading.Semaphore(0)

    def run() -> None:
        runs.release()
        go_on.acquire(timeout=30)

    with running(Job(run, HOUR, wanted=wanted.is_set), Clock(), Events()):
        assert runs.acquire(timeout=10), "each job runs at the start"
        wanted.set()
        assert not runs.acquire(timeout=2), "it is under way"
        go_on.release()
        assert runs.acquire(timeout=5)
        wanted.clear()
        go_on.release(2)
        assert not runs.acquire(timeout=2), "nobody wants it"


def test_look_that_does_not_come_back_holds_up_neither_supervision_nor_the_end() -> None:
    looking, attended, goes_on, came_back = (threading.Event() for _ in range(4))

    def wanted() -> bool:
        looking.set()
        goes_on.wait(30)
        came_back.set()
        return True

    def attend() -> str:
        if looking.is_set():
            attended.set()
        return ""

    with running(Job(lambda: None, HOUR, wanted=wanted), Clock(), Events(), status=attend):
        assert looking.wait(10)
        assert attended.wait(5), "a file system that hangs would have the whole process taken for dead"
    assert not came_back.is_set(), "the end waited for it"
    goes_on.set()
    assert came_back.wait(10)
