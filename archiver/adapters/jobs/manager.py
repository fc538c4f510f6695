"""The inside of procrastinate that we reach for: its job manager and its worker. No other file does.

No public way chooses the queue anew at each fetch, lets a job be ended by its own worker alone, or tells a worker's
number. What is relied on here, `tests/unit/adapters/jobs/test_manager.py` asks of the installed version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

from procrastinate import App
from procrastinate.jobs import DeleteJobCondition, Job, Status
from procrastinate.manager import JobManager
from procrastinate.worker import Worker

from archiver.adapters.jobs.database import RetryingConnector
from archiver.core.model import Stage, TaskId
from archiver.ports.work import JobHandler, JobKind

HEARTBEAT = timedelta(seconds=2)
_POLL = timedelta(seconds=0.5)
"""Between the looks of a worker without work. A notification of each job would cost all of them more, for little."""
_FORGET_WORKERS = timedelta(days=1)

_QUEUES = {
    stage.value + suffix: JobKind(stage, again) for stage in Stage for again, suffix in ((False, ""), (True, "-again"))
}
"""The kinds of jobs, by the names of their queues."""

_DONE = """DELETE FROM procrastinate_jobs
    WHERE id = %(id)s AND status = 'doing' AND worker_id IS NOT DISTINCT FROM %(worker)s"""
"""Not as procrastinate ends a job, for that raises, or ends another's, where it was put back meanwhile."""


class Manager(JobManager):
    """Procrastinate's, but for which job a worker takes, and that only a job's own worker ends it."""

    def __init__(self, connector: RetryingConnector) -> None:
        super().__init__(connector)
        self.handler: JobHandler | None = None
        self.taken: set[int] = set()
        """The jobs in our hands; the table may show one more, when the answer that gave it was lost."""
        self._ended = asyncio.Event()
        """Set when one of them has ended."""

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        """Take the most urgent job of the kinds whose turn it is, else of others."""
        del queues
        if self.handler is None:
            return None
        self._ended.clear()
        wanted = self.handler.wants()
        job = await self._first(wanted, worker_id)
        if job is None and self.taken and sum(map(len, wanted)) < len(_QUEUES):
            # Perhaps there is no room for what waits: there is when one of ours ends, and not at the next poll.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _POLL.total_seconds())
            wanted = self.handler.wants()
            job = await self._first(wanted, worker_id)
        if job is None and (wanted or not self.taken):
            self.handler.idles()
        return job

    async def _first(self, wanted: Iterable[Iterable[JobKind]], worker_id: int) -> Job | None:
        for group in wanted:
            job = await super().fetch_job([queue_of(kind) for kind in group], worker_id)
            if job is not None and self.handler is not None:
                self.taken.add(number_of(job))
                self.handler.begins(TaskId(str(job.task_kwargs["task_id"])), kind_of(job))
                return job
        return None

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """Strike the job out, unless it was taken from us meanwhile: then it is another's, or waits."""
        del status, delete_job
        try:
            await self.connector.execute_query_async(_DONE, id=job.id, worker=job.worker_id)
        finally:
            self.taken.discard(number_of(job))
            self._ended.set()


class StageWorker(Worker):
    """Works off the jobs of every stage, so many at once."""

    def __init__(self, app: App, at_once: int) -> None:
        super().__init__(
            app,
            queues=list(_QUEUES),
            concurrency=at_once,
            fetch_job_polling_interval=_POLL.total_seconds(),
            listen_notify=False,
            delete_jobs=DeleteJobCondition.ALWAYS,
            install_signal_handlers=False,
            update_heartbeat_interval=HEARTBEAT.total_seconds(),
            stalled_worker_timeout=_FORGET_WORKERS.total_seconds(),
        )


def queue_of(kind: JobKind) -> str:
    """Return the name of the queue of such jobs."""
    return next(queue for queue, its in _QUEUES.items() if its == kind)


def kind_of(job: Job) -> JobKind:
    """Return what kind of job it is."""
    return _QUEUES[job.queue]


def number_of(job: Job) -> int:
    """Return the number of a job that came out of the table."""
    if job.id is None:
        raise AssertionError("every job in the table has its number")
    return job.id
