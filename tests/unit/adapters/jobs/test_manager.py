"""The inside of procrastinate that archiver.adapters.jobs.manager reaches for, in the installed version."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable

import pytest
from procrastinate import App
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.testing import InMemoryConnector

from archiver.adapters.jobs.manager import Manager, StageWorker, queue_of
from archiver.core.model import Stage
from archiver.ports.work import JobKind


@pytest.mark.parametrize("name", ["fetch_job", "finish_job"])
def test_method_that_is_overridden_takes_what_it_took(name: str) -> None:
    ours, theirs = getattr(Manager, name), getattr(JobManager, name)
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
    assert inspect.iscoroutinefunction(theirs)


class Watched(JobManager):
    """Procrastinate's own, and what its worker asked of it."""

    def __init__(self, connector: InMemoryConnector) -> None:
        super().__init__(connector)
        self.fetched: list[tuple[list[str], int]] = []
        self.finished: list[tuple[int | None, Status, bool]] = []

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        self.fetched.append((list(queues or ()), worker_id))
        return await super().fetch_job(queues, worker_id)

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        self.finished.append((job.worker_id, status, delete_job))
        await super().finish_job(job, status, delete_job)


def test_worker_fetches_and_ends_its_jobs_by_the_manager_that_its_app_was_given() -> None:
    connector = InMemoryConnector()
    app = App(connector=connector)
    manager = app.job_manager = Watched(connector)

    worker = StageWorker(app, 1)
    worker.wait = False
    numbers: list[int | None] = []

    @app.task(name="archive", queue=Stage.LIST.value)
    def archive() -> None:
        numbers.append(worker.worker_id)

    async def run() -> None:
        await archive.defer_async()
        await worker.run()  # type: ignore[no-untyped-call]  # procrastinate names no types here

    asyncio.run(run())
    assert [worker_id for _, worker_id in manager.fetched[:1]] == numbers
    assert manager.fetched[0][0] == [queue_of(JobKind(stage, again)) for stage in Stage for again in (False, True)]
    assert manager.finished == [(numbers[0], Status.SUCCEEDED, True)]
