"""The places of a worker of jobs: others beside those that wait for their turn to ask again."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from archiver.core.model import Claim, Later, Outcome, Stage, TaskId, Yielded
from archiver.pipeline.cluster import JobRunner
from archiver.ports.work import JobKind
from tests.fakes.events import Events
from tests.fakes.time import NOW, Clock
from tests.fixtures.ledgers import LEASE, finish, listed, take_in, tid
from tests.house import Ledger, breakers_on, context_on, ready_ledger_at

WORKERS = 2


class Held:
    """Attempts that last until they are let go."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.clock = Clock(NOW + timedelta(days=1))
        self.began = threading.Semaphore(0)
        self.go = threading.Event()
        breakers = breakers_on(ledger, self.clock, Events())
        context = context_on(ledger, breakers, self.clock, Events(), owner="us", workers=WORKERS)
        self.engine = SimpleNamespace(start=self._start, stop=lambda: None, fault=None, at_once=0)
        self.runner = JobRunner(context, cast("Any", self.engine), self._archive)
        self.jobs: list[threading.Thread] = []

    def _start(self, _: JobRunner, *, at_once: int) -> None:
        self.engine.at_once = at_once

    def _archive(self, claim: Claim) -> Outcome:
        self.began.release()
        assert self.go.wait(30)
        finish(self.ledger, claim, Yielded(), now=self.clock())
        return Yielded()

    def begin(self, *ids: TaskId, stage: Stage = Stage.LIST) -> None:
        for task_id in ids:
            self.runner.begins(task_id, JobKind(stage, again=False))
            self.jobs.append(threading.Thread(target=self.runner.work, args=(task_id, stage)))
            self.jobs[-1].start()
            assert self.began.acquire(timeout=30)

    @property
    def wants(self) -> Sequence[Collection[JobKind]]:
        return self.runner.wants()

    def end(self) -> None:
        self.go.set()
        for job in self.jobs:
            job.join(30)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    with closing(ready_ledger_at(f"sqlite:///{tmp_path}/ledger.db")) as ledger:
        held = Held(ledger)
        try:
            yield held
        finally:
            held.end()


def asked_about(ledger: Ledger, *numbers: int) -> list[TaskId]:
    """Take these in, and have each answered `not ready`."""
    take_in(ledger, *numbers, now=NOW)
    for _ in numbers:
        claim = ledger.claims.claim(owner="them", now=NOW, lease=LEASE, stage=Stage.LIST)
        assert claim is not None
        finish(ledger, claim, Later(NOW + timedelta(hours=1), "not ready"), now=NOW)
    return list(map(tid, numbers))


def test_worker_of_jobs_with_a_fresh_task_in_each_place_takes_no_other(held: Held) -> None:
    take_in(held.ledger, 1, 2, 3, now=NOW)
    held.begin(tid(1))
    assert held.wants
    held.begin(tid(2))
    assert not held.wants
    held.end()
    assert held.wants


def test_worker_of_jobs_has_a_place_beside_each_task_that_is_asked_about_again(held: Held) -> None:
    again = asked_about(held.ledger, 1, 2)
    take_in(held.ledger, 3, 4, now=NOW)
    held.begin(*again)
    assert held.wants
    held.begin(tid(3), tid(4))
    assert not held.wants


def failed(ledger: Ledger, *numbers: int) -> list[TaskId]:
    """Have the stems of these listed, and a try to store them fail."""
    for number in numbers:
        finish(ledger, listed(ledger, number), Later(NOW, "busy", fault=True))
    return list(map(tid, numbers))


def test_worker_of_jobs_stores_untried_tasks_first_while_one_place_in_four_has_a_tried_one(held: Held) -> None:
    [tried] = failed(held.ledger, 1)
    fresh, again = (JobKind(Stage.STORE, again) for again in (False, True))
    assert [fresh, again] in held.wants
    held.begin(tried, stage=Stage.STORE)
    assert [[fresh], [again]] == [group for group in held.wants if Stage.STORE in {kind.stage for kind in group}]
    held.end()
    assert [fresh, again] in held.wants


def test_worker_of_jobs_takes_no_tried_task_while_as_many_as_there_are_workers_are_at_such(held: Held) -> None:
    held.begin(*failed(held.ledger, 1, 2), stage=Stage.STORE)
    assert held.wants
    assert not any(kind.again for group in held.wants for kind in group)


def test_job_that_was_taken_counts_before_its_claim(held: Held) -> None:
    again = JobKind(Stage.STORE, again=True)
    for number in range(WORKERS):
        assert any(again in group for group in held.wants)
        held.runner.begins(tid(number), again)
    assert not any(again in group for group in held.wants)
    for number in range(WORKERS):
        held.runner.work(tid(number), Stage.STORE)
    assert any(again in group for group in held.wants), "jobs without a task hold no place"


def test_engine_is_to_take_as_many_jobs_as_there_are_places_at_most(held: Held) -> None:
    held.runner.pump()
    assert held.engine.at_once == 2 * WORKERS
