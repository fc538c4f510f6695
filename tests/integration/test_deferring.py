"""Deferrer and JobRunner over a real ledger of either kind: what each defers or does, and when it does nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NoReturn

import pytest

from archiver.core import plan
from archiver.core.due import Due
from archiver.core.errors import LedgerFault
from archiver.core.model import Claim, Dependency, Later, Outcome, Paused, Stage, TaskId, Yielded
from archiver.pipeline.cluster import Deferrer, JobRunner
from archiver.ports.work import JobHandler, JobKind
from tests.fixtures.ledgers import DAY, NOW, SECOND, claim, finish, listed, no_claim, take_in, tid
from tests.house import Ledger
from tests.worlds.path import Path

AHEAD = timedelta(seconds=30)
LEASE = timedelta(seconds=10)
WINDOW = 1000


@dataclass
class FakeEngine:
    """Remembers what was deferred."""

    deferred: list[Due] = field(default_factory=list)
    rescued: list[TaskId] = field(default_factory=list)
    handlers: list[JobHandler] = field(default_factory=list)
    fault: LedgerFault | None = None

    def defer(self, tasks: Sequence[Due], *, now: datetime) -> int:
        del now
        self.deferred += tasks
        return len(tasks)

    def rescue(self) -> Sequence[TaskId]:
        return self.rescued

    def start(self, handler: JobHandler, *, at_once: int) -> None:
        del at_once
        self.handlers.append(handler)

    def stop(self) -> None:
        pass


@dataclass
class Half(Path):
    """One half of a cluster, whose tasks end as they are told."""

    now: datetime = NOW
    engine: FakeEngine = field(default_factory=FakeEngine)
    tried: list[Claim] = field(default_factory=list)
    outcome: Callable[[Claim], Outcome] = lambda _: Yielded()

    def archive(self, mine: Claim) -> Outcome:
        self.tried.append(mine)
        outcome = self.outcome(mine)
        finish(self.ledger, mine, outcome, now=self.now)
        return outcome

    def deferrer(self) -> Deferrer:
        return Deferrer(self.me.context("intake"), self.engine)

    def runner(self, workers: int = 2) -> JobRunner:
        return JobRunner(self.me.context("worker", workers=workers, lease=LEASE), self.engine, self.archive)

    def pause(self, dependency: Dependency) -> None:
        self.breakers.trip(Paused(dependency, "out", "wait", lasting=False))


@pytest.fixture
def half(ledger: Ledger) -> Half:
    return Half(ledger)


def store(ledger: Ledger, number: int, deadline: datetime) -> None:
    """A task whose stems are listed and wait to be stored."""
    finish(ledger, listed(ledger, number, deadline=deadline), Yielded())


def both(*stages: Stage) -> list[list[JobKind]]:
    """Return all kinds of jobs of these stages, as they are wanted where there is room for each."""
    return [[JobKind(stage, again=False), JobKind(stage, again=True)] for stage in stages]


def work(runner: JobRunner, number: int, stage: Stage = Stage.LIST) -> None:
    runner.begins(tid(number), JobKind(stage, again=False))
    runner.work(tid(number), stage)


# ---------------------------------------------------------------- the ledger's part


def test_due_tasks_come_by_deadline_and_those_past_it_last(ledger: Ledger) -> None:
    for number, days in enumerate((5, -1, 1, 3)):
        store(ledger, number, NOW + days * DAY)
    due = ledger.claims.due(Stage.STORE, now=NOW, until=NOW, limit=10)
    assert [task.task_id for task in due] == [tid(number) for number in (2, 3, 0, 1)]
    assert [task.task_id for task in ledger.claims.due(Stage.STORE, now=NOW, until=NOW, limit=2)] == [tid(2), tid(3)]
    assert ledger.claims.due(Stage.LIST, now=NOW, until=NOW, limit=10) == []
    priorities = [plan.priority(task.urgency, task.deadline, NOW) for task in due]
    assert priorities == sorted(priorities, reverse=True)


def test_due_tasks_are_not_those_that_are_held_or_wait_beyond_the_time_asked_for(ledger: Ledger) -> None:
    take_in(ledger, 1, 2, 3)
    claim(ledger)
    finish(ledger, claim(ledger), Later(NOW + AHEAD, "pending", fault=False))
    assert [task.task_id for task in ledger.claims.due(Stage.LIST, now=NOW, until=NOW, limit=10)] == [tid(3)]
    soon = ledger.claims.due(Stage.LIST, now=NOW, until=NOW + AHEAD, limit=10)
    assert [(task.task_id, task.not_before) for task in soon] == [(tid(3), NOW), (tid(2), NOW + AHEAD)]
    lapsed = ledger.claims.due(Stage.LIST, now=NOW + DAY, until=NOW + DAY, limit=10)
    assert {task.task_id for task in lapsed} == {tid(1), tid(2), tid(3)}, "a lease that ran out holds nothing"


def test_a_task_is_claimed_by_name_once_until_its_lease_runs_out(ledger: Ledger) -> None:
    take_in(ledger, 1, 2)

    def named(number: int, at: datetime, *stages: Stage, fresh_only: bool = False) -> Claim | None:
        return ledger.claims.claim_task(
            tid(number), owner="us", now=at, lease=LEASE, stages=stages or tuple(Stage), fresh_only=fresh_only
        )

    assert named(2, NOW, Stage.STORE) is None
    assert named(3, NOW) is None, "nobody took it in"
    mine = named(2, NOW, fresh_only=True)
    assert mine is not None
    assert mine.task_id == tid(2)
    assert named(2, NOW + LEASE - SECOND) is None
    again = named(2, NOW + LEASE)
    assert again is not None
    assert again.token != mine.token
    finish(ledger, again, Later(NOW + DAY, "pending", fault=False))
    assert named(2, NOW + LEASE) is None, "it is not due"


def test_a_listed_task_is_not_claimed_by_name_where_only_fresh_ones_are_wanted(ledger: Ledger) -> None:
    store(ledger, 1, NOW + DAY)
    asked = {"owner": "us", "now": NOW, "lease": LEASE, "stages": tuple(Stage)}
    assert ledger.claims.claim_task(tid(1), fresh_only=True, **asked) is None  # type: ignore[arg-type]  # mypy sees one type
    assert ledger.claims.claim_task(tid(1), fresh_only=False, **asked) is not None  # type: ignore[arg-type]


# ---------------------------------------------------------------- the Deferrer


def test_pump_defers_what_is_due_or_soon_of_both_stages_and_claims_nothing(half: Half) -> None:
    store(half.ledger, 1, NOW + DAY)
    take_in(half.ledger, 2, 3)
    finish(half.ledger, claim(half.ledger, stage=Stage.LIST), Later(NOW + AHEAD, "", fault=False))
    take_in(half.ledger, 4)
    finish(half.ledger, claim(half.ledger, stage=Stage.LIST), Later(NOW + AHEAD + SECOND, "", fault=False))
    assert half.deferrer().pump() == 3
    assert {(task.task_id, task.stage) for task in half.engine.deferred} == {
        (tid(1), Stage.STORE),
        (tid(2), Stage.LIST),
        (tid(4), Stage.LIST),
    }
    assert half.tried == []
    assert not no_claim(half.ledger)


@pytest.mark.parametrize(("dependency", "left"), [(Dependency.PROVIDER, Stage.STORE), (Dependency.STORE, Stage.LIST)])
def test_pump_while_a_dependency_is_paused_defers_only_what_does_without_and_a_few_once_it_is_probed(
    half: Half, dependency: Dependency, left: Stage
) -> None:
    for number in range(20):
        store(half.ledger, number, NOW + DAY)
    take_in(half.ledger, *range(20, 40))
    half.pause(dependency)
    deferrer = half.deferrer()
    assert deferrer.pump() == 20
    assert {task.stage for task in half.engine.deferred} == {left}
    half.now += timedelta(minutes=1)
    assert deferrer.pump() == 28


def test_pump_with_more_due_than_the_window_holds_defers_the_oldest_and_the_latest_and_the_rest_as_these_are_done(
    half: Half,
) -> None:
    take_in(half.ledger, *range(WINDOW), now=NOW - DAY)
    take_in(half.ledger, *range(WINDOW, WINDOW + 10), now=NOW)
    deferrer = half.deferrer()
    assert deferrer.pump() == WINDOW
    latest = range(WINDOW, WINDOW + 10)
    assert {task.task_id for task in half.engine.deferred} == {tid(n) for n in (*range(WINDOW - 10), *latest)}
    half.engine.deferred.clear()
    half.outcome = lambda _: Later(NOW + DAY, "pending", fault=False)
    runner = half.runner()
    for number in range(10):
        work(runner, number)
    assert deferrer.pump() == WINDOW
    assert {task.task_id for task in half.engine.deferred} >= {tid(number) for number in range(WINDOW - 10, WINDOW)}


def test_pump_looks_ahead_now_and_then_but_for_what_is_due_each_time(half: Half) -> None:
    deferrer = half.deferrer()
    assert deferrer.pump() == 0
    take_in(half.ledger, 1, 2)
    finish(half.ledger, claim(half.ledger), Later(NOW + AHEAD, "", fault=False))
    half.now += SECOND
    assert deferrer.pump() == 1
    half.now = NOW + timedelta(seconds=9)
    assert deferrer.pump() == 1
    half.now += SECOND
    assert deferrer.pump() == 2
    assert [task.task_id for task in half.engine.deferred] == [tid(2), tid(2), tid(2), tid(1)]


def test_pump_after_stop_defers_nothing(half: Half) -> None:
    take_in(half.ledger, 1)
    deferrer = half.deferrer()
    deferrer.stop()
    assert deferrer.pump() == 0
    assert deferrer.wait_idle(0)


# ---------------------------------------------------------------- the JobRunner


def test_job_takes_its_task_along_the_path_under_a_short_lease(half: Half) -> None:
    take_in(half.ledger, 1, 2)
    leased: list[datetime | None] = []

    def look(mine: Claim) -> Outcome:
        row = half.ledger.reports.show(mine.task_id)
        leased.append(None if row is None else row.leased_until)
        return Yielded()

    half.outcome = look
    work(half.runner(), 2)
    assert [mine.task_id for mine in half.tried] == [tid(2)]
    assert leased == [NOW + LEASE]


def test_job_whose_task_another_holds_is_skipped_and_leaves_it_alone(half: Half) -> None:
    take_in(half.ledger, 1)
    theirs = claim(half.ledger, owner="them")
    runner = half.runner()
    work(runner, 1)
    assert half.tried == []
    assert len(half.events.of("job.skipped")) == 1
    finish(half.ledger, theirs, Yielded())
    assert half.deferrer().pump() == 1, "it is deferred again as soon as it is free"


def test_job_that_needs_what_is_paused_is_skipped(half: Half) -> None:
    take_in(half.ledger, 1)
    half.pause(Dependency.PROVIDER)
    runner = half.runner()
    work(runner, 1)
    assert half.tried == []
    assert runner.wants() == both(Stage.STORE)


def test_runner_wants_the_stage_that_has_fewer_tasks_first_and_nothing_once_stopped(half: Half) -> None:
    runner = half.runner(workers=4)
    runner.begins(tid(11), JobKind(Stage.LIST, again=False))
    assert runner.wants() == both(Stage.STORE, Stage.LIST)
    runner.begins(tid(12), JobKind(Stage.STORE, again=False))
    runner.begins(tid(13), JobKind(Stage.STORE, again=False))
    assert runner.wants() == both(Stage.LIST, Stage.STORE)
    assert runner.working == 3
    runner.stop()
    assert not runner.wants()


def test_ledger_that_fails_in_a_job_stops_the_runner_and_is_its_fault(half: Half) -> None:
    def fail(_: Claim) -> NoReturn:
        raise LedgerFault("gone", "mend it")

    take_in(half.ledger, 1)
    half.outcome = fail
    runner = half.runner()
    work(runner, 1)
    assert runner.fault is not None
    assert runner.wants() == []
    assert runner.wait_idle(0)


def test_wait_idle_lasts_until_the_job_in_flight_has_ended(half: Half) -> None:
    take_in(half.ledger, 1)
    begun, may_end = threading.Event(), threading.Event()

    def slow(_: Claim) -> Outcome:
        begun.set()
        may_end.wait(30)
        return Yielded()

    half.outcome = slow
    runner = half.runner()
    thread = threading.Thread(target=work, args=(runner, 1))
    thread.start()
    begun.wait(30)
    assert not runner.wait_idle(0.05)
    may_end.set()
    assert runner.wait_idle(30)
    thread.join()


def test_first_pump_starts_the_engine_with_the_runner_as_its_handler_and_no_other_does(half: Half) -> None:
    runner = half.runner()
    assert half.engine.handlers == []
    runner.pump()
    runner.pump()
    assert half.engine.handlers == [runner]


# ---------------------------------------------------------------- quarantine


def quarantined(half: Half, number: int) -> None:
    """Let two processes die that are at this task."""
    take_in(half.ledger, number)
    for owner in ("first", "second"):
        assert claim(half.ledger, owner=owner).task_id == tid(number)
        half.ledger.claims.release_dead(lambda _: False, now=half.now)


def test_quarantined_task_is_deferred_once_nothing_else_is_due_or_once_it_waited_for_an_hour(half: Half) -> None:
    quarantined(half, 1)
    take_in(half.ledger, 2)
    deferrer = half.deferrer()
    assert deferrer.pump() == 1
    assert [task.task_id for task in half.engine.deferred] == [tid(2)]
    half.now += timedelta(hours=1)
    assert deferrer.pump() == 2
    mine = claim(half.ledger, now=half.now)
    half.engine.deferred.clear()
    assert deferrer.pump() == 1
    assert [task.task_id for task in half.engine.deferred] == [tid(1)]
    finish(half.ledger, mine, Yielded())


def test_job_of_a_quarantined_task_is_skipped_beside_another_and_else_has_the_worker_for_itself(half: Half) -> None:
    quarantined(half, 1)
    take_in(half.ledger, 2)
    runner, wanted = half.runner(), []
    runner.begins(tid(3), JobKind(Stage.LIST, again=False))
    work(runner, 1)
    assert half.tried == []
    runner.work(tid(3), Stage.LIST)

    def look(_: Claim) -> Outcome:
        wanted.append(runner.wants())
        work(runner, 2)
        half.now += timedelta(minutes=1)
        wanted.append(runner.wants())
        return Yielded()

    half.outcome = look
    work(runner, 1)
    assert [mine.task_id for mine in half.tried] == [tid(1)], "what another thread had taken already is left for later"
    assert [bool(stages) for stages in wanted] == [False, True]
    assert runner.wants()
