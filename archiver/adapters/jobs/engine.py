"""Procrastinate as our Engine: its jobs, its worker, in an event loop of its own thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import wait
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg
from procrastinate import App, JobContext
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException, UniqueViolation
from procrastinate.jobs import Job, Status
from psycopg.rows import dict_row

from archiver.adapters.jobs.database import SCHEMA, RetryingConnector, fault, parameters, prepare
from archiver.adapters.jobs.manager import Manager, StageWorker, kind_of, number_of, queue_of
from archiver.core import plan
from archiver.core.due import Due
from archiver.core.errors import LedgerFault
from archiver.core.model import TaskId
from archiver.core.reports import JobCounts
from archiver.ports.work import JobHandler, JobKind

SILENT_AFTER = timedelta(seconds=8)
"""A worker without a heartbeat for so long counts as dead: its jobs are put back."""
_SILENT = SILENT_AFTER.total_seconds()

_OUTAGE = timedelta(minutes=1)

SOON = timedelta(hours=1)
"""More than tasks are deferred early by, and than jobs are scheduled ahead."""
_GLANCE = 0.5
"""Seconds after which a call that was not answered looks whether it can still be."""
_ANALYZE_AFTER = 1000
"""New jobs until PostgreSQL counts them again: by old counts it may plan to read all of them for each fetch."""
_RACES = 10
"""Times that another who defers the same may be first."""

_TASK = "archive"

_WORKERS = """WITH workers AS (
    SELECT id, last_heartbeat >= now() - make_interval(secs => %(silent)s) AS alive FROM procrastinate_workers)
"""
_KNOWN = """SELECT id, queueing_lock, scheduled_at FROM procrastinate_jobs
    WHERE status = 'todo' AND queueing_lock = ANY(%(locks)s)
    UNION ALL SELECT jobs.id, queueing_lock, NULL
    FROM procrastinate_jobs AS jobs JOIN workers ON workers.id = jobs.worker_id
    WHERE status = 'doing' AND alive AND queueing_lock = ANY(%(locks)s)"""
_BRING_FORWARD = "UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo' AND id = ANY(%(ids)s)"
_COUNTS = """SELECT
    count(*) FILTER (WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())) AS waiting,
    count(*) FILTER (WHERE status = 'todo' AND scheduled_at > now()) AS scheduled,
    count(*) FILTER (WHERE status = 'doing' AND alive) AS doing,
    count(*) FILTER (WHERE status = 'doing' AND alive IS NOT TRUE) AS stalled,
    (SELECT count(*) FROM workers WHERE alive) AS workers,
    (SELECT count(*) FROM workers WHERE NOT alive) AS silent_workers
    FROM procrastinate_jobs AS jobs LEFT JOIN workers ON workers.id = jobs.worker_id"""

T = TypeVar("T")


def counts(url: str) -> JobCounts | None:
    """Say how the queue in the database of ledger.url stands; None where it has none yet. Raises LedgerFault."""
    try:
        with psycopg.connect(**parameters(url), row_factory=dict_row) as db:
            db.execute(f"SET search_path TO {SCHEMA}")
            found = db.execute("SELECT to_regclass('procrastinate_jobs') AS jobs").fetchone()
            if found is None or found["jobs"] is None:
                return None
            row = db.execute(_WORKERS + _COUNTS, {"silent": _SILENT}).fetchone()
            return JobCounts(**(row or {}))
    except psycopg.Error as error:
        raise fault(error) from error


class Procrastinate:
    """The Engine of archiver.ports; safe for many threads. `close` it.

    A server that is away for less than `outage` is waited for.
    """

    def __init__(self, url: str, *, connections: int = 4, outage: timedelta = _OUTAGE) -> None:
        self.fault: LedgerFault | None = None
        self._connector = RetryingConnector(
            url, connections=connections, outage=outage.total_seconds(), on_outage=self._note_outage
        )
        self._app = App(connector=self._connector)
        self._jobs = self._app.job_manager = Manager(self._connector)
        self._worker: StageWorker | None = None
        self._serving: asyncio.Task[None] | None = None
        self._suspects: set[int] = set()
        self._uncounted = 0
        self._over = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, url: str, *, outage: timedelta = _OUTAGE) -> Procrastinate:
        """Make or upgrade the tables in the database of ledger.url, and connect; raise LedgerFault."""
        prepare(url)
        engine = cls(url, outage=outage)
        try:
            engine._call(engine._connector.open_async())
        except (ConnectorException, psycopg.Error) as error:
            engine.close()
            raise fault(error) from error
        except BaseException:
            engine.close()
            raise
        return engine

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
            self._over.set()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            called = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise _at_its_end() from None
        while wait([called], _GLANCE).not_done:
            if self._over.is_set():
                raise _at_its_end()
        return called.result()

    def _asked(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._call(work)
        except ConnectorException as error:
            raise fault(error) from error

    def _note_outage(self, error: BaseException) -> None:
        self.fault = self.fault or fault(error)

    # --- the Jobs

    def defer(self, tasks: Sequence[Due], *, now: datetime) -> int:
        """Queue a job for each task that has none waiting; return how many."""
        return self._asked(self._defer(tasks, now)) if tasks else 0

    async def _defer(self, tasks: Sequence[Due], now: datetime) -> int:
        for _ in range(_RACES):
            known = {row["queueing_lock"]: row for row in await self._known(tasks)}
            await self._bring_forward([known[task.task_id] for task in tasks if task.task_id in known], tasks, now)
            fresh = [_job(task, now) for task in tasks if task.task_id not in known]
            with suppress(AlreadyEnqueued):
                if fresh:
                    await self._jobs.batch_defer_jobs_async(fresh)
                    await self._count(len(fresh))
                return len(fresh)
        return 0

    async def _known(self, tasks: Sequence[Due]) -> list[dict[str, Any]]:
        locks = [task.task_id for task in tasks]
        return await self._connector.execute_query_all_async(_WORKERS + _KNOWN, locks=locks, silent=_SILENT)

    async def _bring_forward(self, known: Sequence[dict[str, Any]], tasks: Sequence[Due], now: datetime) -> None:
        at = {task.task_id: _scheduled(task, now) for task in tasks}
        late = [row["id"] for row in known if row["scheduled_at"] and at[row["queueing_lock"]] is None]
        if late:
            await self._connector.execute_query_async(_BRING_FORWARD, ids=late)

    async def _count(self, jobs: int) -> None:
        self._uncounted += jobs
        if self._uncounted >= _ANALYZE_AFTER:
            await self._connector.execute_query_async("ANALYZE procrastinate_jobs")
            self._uncounted = 0

    def rescue(self) -> Sequence[TaskId]:
        """Put back the jobs of workers that are gone; return their tasks."""
        return self._asked(self._rescue())

    async def _rescue(self) -> list[TaskId]:
        stalled = list(await self._jobs.get_stalled_jobs(seconds_since_heartbeat=_SILENT))
        stalled += await self._answers_lost()
        return [TaskId(str(job.task_kwargs["task_id"])) for job in stalled if await self._put_back(job)]

    async def _answers_lost(self) -> list[Job]:
        """Return jobs that stand as taken by us twice in a row, and are not in our hands."""
        if self._worker is None or self._worker.worker_id is None:
            return []
        ours = await self._jobs.list_jobs_async(status=Status.DOING.value, worker_id=self._worker.worker_id)
        before, self._suspects = self._suspects, {number_of(job) for job in ours} - self._jobs.taken
        return [job for job in ours if number_of(job) in before & self._suspects]

    async def _put_back(self, job: Job) -> bool:
        """Let a stalled job wait again, or end it where another of its task waits already: both cannot."""
        try:
            await self._jobs.retry_job(job)
        except UniqueViolation:
            await self._jobs.finish_job(job, Status.FAILED, delete_job=True)
        except ConnectorException as error:
            if not isinstance(error.__cause__, psycopg.errors.RaiseException):
                raise
            return False  # another was quicker
        return True

    # --- the worker

    def start(self, handler: JobHandler, *, at_once: int) -> None:
        """Take jobs for `handler`, so many at once, until `stop`."""
        self._jobs.handler = handler

        @self._app.task(name=_TASK, pass_context=True)
        async def archive(context: JobContext, task_id: str) -> None:
            await _in_thread(lambda: handler.work(TaskId(task_id), kind_of(context.job).stage))

        async def begin() -> None:
            self._worker = StageWorker(self._app, at_once)
            self._serving = self._loop.create_task(self._serve(self._worker))

        self._call(begin())

    async def _serve(self, worker: StageWorker) -> None:
        try:
            await worker.run()  # type: ignore[no-untyped-call]  # procrastinate names no types here
        except ConnectorException as error:
            self._note_outage(error)
        except Exception as bug:
            logging.getLogger(__name__).exception("the worker of the queue of jobs ended")
            self._note_outage(bug)

    def stop(self) -> None:
        """Take no more jobs; returns at once, those taken are finished."""
        if self._worker is not None:
            self._worker.stop()  # type: ignore[no-untyped-call]  # procrastinate names no types here

    def close(self, within: float = 5) -> None:
        """End the worker and the connections, in `within` seconds each; jobs then under way are put back by others."""

        async def end() -> None:
            if self._serving is not None:
                await asyncio.wait([self._serving], timeout=within)
            with suppress(Exception):
                await asyncio.wait_for(self._connector.close_async(), within)
            self._loop.stop()

        if not self._thread.is_alive():
            return
        self.stop()
        asyncio.run_coroutine_threadsafe(end(), self._loop)
        self._thread.join(3 * within)
        # Whoever still waits for an answer waits in vain, and would hold up the end of the process.
        self._over.set()


async def _in_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread that holds up no end of the process, as those of an executor do."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised in the loop
            errors.append(error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="job", daemon=True).start()
    await done.wait()
    if errors:
        raise errors[0]


def _at_its_end() -> LedgerFault:
    return LedgerFault("the queue of jobs is closed", "start the service again: it goes on where the ledger stands")


def _job(task: Due, now: datetime) -> Job:
    return Job(
        queue=queue_of(JobKind(task.stage, task.again)),
        priority=plan.priority(task.urgency, task.deadline, now),
        lock=None,
        queueing_lock=task.task_id,
        task_name=_TASK,
        task_kwargs={"task_id": task.task_id},
        scheduled_at=_scheduled(task, now),
    )


def _scheduled(task: Due, now: datetime) -> datetime | None:
    """Return when a job may be taken; None for at once.

    Tasks are deferred half a minute early: a time farther ahead was written while the clock was wrong.
    """
    return task.not_before if now < task.not_before <= now + SOON else None
