"""The queue of jobs on a real PostgreSQL: what is deferred, taken, put back and struck out."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import psycopg
import pytest
from sqlalchemy import make_url

from archiver.adapters.jobs import Procrastinate, counts
from archiver.adapters.jobs.database import migrations, parameters, prepare
from archiver.core.due import Due
from archiver.core.errors import LedgerFault
from archiver.core.model import Stage, TaskId
from archiver.core.reports import JobCounts
from archiver.ports.work import JobKind
from tests import ROOT
from tests.fakes.waiting import until
from tests.fixtures.ledgers import tid
from tests.fixtures.postgres import PostgresServer

SOON = timedelta(seconds=30)
DAY = timedelta(days=1)


def both(*stages: Stage) -> list[list[JobKind]]:
    """Return all kinds of jobs of these stages."""
    return [[JobKind(stage, again=False), JobKind(stage, again=True)] for stage in stages]


def now() -> datetime:
    return datetime.now(UTC)


def due(number: int, *, stage: Stage = Stage.LIST, urgency: timedelta = DAY, wait: timedelta = -SOON) -> Due:
    return Due(tid(number), stage, now() + urgency, now() + urgency, now() + wait)


@dataclass
class Took:
    """A JobHandler that notes what it is given, and does nothing else until it may go on."""

    wanted: Sequence[Sequence[JobKind]] = field(default_factory=lambda: both(*Stage))
    done: list[TaskId] = field(default_factory=list)
    may_go_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_go_on.set()

    def wants(self) -> Sequence[Sequence[JobKind]]:
        return self.wanted

    def begins(self, task_id: TaskId, kind: JobKind) -> None:
        del task_id, kind

    def work(self, task_id: TaskId, stage: Stage) -> None:
        del stage
        self.done.append(task_id)
        self.may_go_on.wait(60)

    def idles(self) -> None:
        pass


@pytest.fixture
def jobs(postgres_url: str) -> Iterator[Procrastinate]:
    with closing(Procrastinate.open(postgres_url)) as opened:
        yield opened


def asked(url: str, statement: LiteralString) -> list[tuple[object, ...]]:
    """What one statement gives when it is asked past the engine."""
    with psycopg.connect(**parameters(url)) as db:
        db.execute("SET search_path TO procrastinate")
        cursor = db.execute(statement)
        return cursor.fetchall() if cursor.description else []


def states(url: str) -> list[tuple[object, ...]]:
    return asked(url, "SELECT queueing_lock, status FROM procrastinate_jobs ORDER BY id")


def silence(url: str) -> None:
    """Let every worker that is on record have been silent for too long, as one does that is killed or frozen."""
    asked(url, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 h'")


def take(url: str) -> None:
    """Let the job that waits be in the hands of a worker that was killed."""
    asked(
        url,
        "WITH dead AS (INSERT INTO procrastinate_workers (last_heartbeat)"
        " VALUES (now() - interval '1 hour') RETURNING id) UPDATE procrastinate_jobs"
        " SET status = 'doing', worker_id = dead.id FROM dead WHERE status = 'todo'",
    )


# ---------------------------------------------------------------- the tables


def test_tables_are_made_once_by_whoever_comes_first(postgres_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for made in [pool.submit(prepare, postgres_url) for _ in range(4)]:
            made.result()
    assert counts(postgres_url) == JobCounts(0, 0, 0, 0, 0, 0)


def test_counts_where_nobody_made_the_tables_are_none(postgres_url: str) -> None:
    assert counts(postgres_url) is None


def test_tables_of_an_older_procrastinate_are_upgraded_by_its_own_migrations(postgres_url: str) -> None:
    older = [name for name in sorted(migrations()) if name < "03.03"]
    with psycopg.connect(**parameters(postgres_url)) as db:
        db.execute("CREATE SCHEMA procrastinate")
        db.execute("SET search_path TO procrastinate")
        for name in older:
            db.execute(migrations()[name].encode())
        db.execute("CREATE TABLE stem_archiver_schema AS SELECT %s::text AS migration", (older[-1],))
    with closing(Procrastinate.open(postgres_url)) as opened:
        opened.defer([due(1)], now=now())
        take(postgres_url)
        assert opened.rescue() == [tid(1)], "a function that the older version had not"
    assert asked(postgres_url, "SELECT migration FROM stem_archiver_schema") == [(max(migrations()),)]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DROP TABLE stem_archiver_schema", "belongs to another program"),
        ("UPDATE stem_archiver_schema SET migration = '99.sql'", "newer version"),
    ],
)
def test_tables_that_are_not_ours_are_refused(postgres_url: str, statement: LiteralString, reason: str) -> None:
    prepare(postgres_url)
    asked(postgres_url, statement)
    with pytest.raises(LedgerFault, match=reason):
        Procrastinate.open(postgres_url)


def test_user_who_may_not_make_the_schema_is_told_how_to_be_given_it(
    postgres: PostgresServer, postgres_url: str
) -> None:
    name = make_url(postgres_url).database
    assert name is not None
    postgres.run("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    try:
        with pytest.raises(LedgerFault, match="may not make the schema") as caught:
            prepare(postgres.url(name, user="guest", password="guest"))
        assert "CREATE SCHEMA procrastinate AUTHORIZATION" in caught.value.hint
        postgres.run("CREATE SCHEMA procrastinate AUTHORIZATION guest", name)
        prepare(postgres.url(name, user="guest", password="guest"))
    finally:
        postgres.run("DROP OWNED BY guest CASCADE", name)
        postgres.run("DROP ROLE guest")


def test_server_that_is_not_there_is_a_fault_that_says_so_without_the_password() -> None:
    with pytest.raises(LedgerFault, match="cannot be used") as caught:
        Procrastinate.open("postgresql+psycopg://archiver:planted-password@127.0.0.1:1/nothing")
    assert "planted-password" not in str(caught.value)


# ---------------------------------------------------------------- deferring


def test_task_gets_one_job_however_often_and_by_however_many_it_is_deferred(
    jobs: Procrastinate, postgres_url: str
) -> None:
    tasks = [due(number) for number in range(50)]
    with closing(Procrastinate.open(postgres_url)) as other, ThreadPoolExecutor(8) as pool:
        deferred = [pool.submit(each.defer, tasks, now=now()) for each in (jobs, other) * 4]
        assert sum(each.result() for each in deferred) == 50
    assert sorted(states(postgres_url)) == [(tid(number), "todo") for number in range(50)]


def test_server_counts_the_jobs_anew_after_a_thousand_so_that_it_plans_each_fetch_well(
    jobs: Procrastinate, postgres_url: str
) -> None:
    """The tests' server never counts by itself."""
    counted: LiteralString = "SELECT reltuples::int FROM pg_class WHERE oid = 'procrastinate_jobs'::regclass"
    jobs.defer([due(number) for number in range(999)], now=now())
    assert asked(postgres_url, counted) == [(-1,)]
    jobs.defer([due(999)], now=now())
    assert asked(postgres_url, counted) == [(1000,)]


def test_job_of_the_nearest_deadline_is_taken_first_and_of_one_that_is_past_last(jobs: Procrastinate) -> None:
    days = (5, 1, 9, -1, 3)
    jobs.defer([due(number, urgency=day * DAY) for number, day in enumerate(days)], now=now())
    hand = Took()
    jobs.start(hand, at_once=1)
    until(lambda: len(hand.done) == 5)
    assert hand.done == [tid(number) for number in (1, 4, 0, 2, 3)]


def test_job_whose_time_is_to_come_is_scheduled_and_brought_forward_when_it_is_due_earlier(
    jobs: Procrastinate, postgres_url: str
) -> None:
    assert jobs.defer([due(1, wait=SOON)], now=now()) == 1
    counted = counts(postgres_url)
    assert counted is not None
    assert (counted.waiting, counted.scheduled) == (0, 1)
    assert jobs.defer([due(1)], now=now()) == 0
    counted = counts(postgres_url)
    assert counted is not None
    assert (counted.waiting, counted.scheduled) == (1, 0)


def test_job_is_taken_at_its_time_and_not_before(jobs: Procrastinate) -> None:
    began = now()
    jobs.defer([due(1, wait=timedelta(seconds=2))], now=began)
    hand = Took()
    jobs.start(hand, at_once=1)
    until(lambda: hand.done)
    assert timedelta(seconds=1.9) < now() - began < timedelta(seconds=10)


def test_only_jobs_of_wanted_stages_are_taken(jobs: Procrastinate, postgres_url: str) -> None:
    jobs.defer([due(1, stage=Stage.LIST), due(2, stage=Stage.STORE)], now=now())
    hand = Took(wanted=both(Stage.STORE))
    jobs.start(hand, at_once=2)
    until(lambda: states(postgres_url) == [(tid(1), "todo")])
    assert hand.done == [tid(2)]


def test_job_of_a_tried_task_waits_while_no_such_is_wanted_and_goes_by_urgency_where_all_are(
    jobs: Procrastinate,
) -> None:
    urgent, fresh = due(1, stage=Stage.STORE, urgency=SOON), due(2, stage=Stage.STORE)
    jobs.defer([replace(urgent, again=True), fresh, due(3, stage=Stage.STORE, urgency=2 * DAY)], now=now())
    hand = Took(wanted=[[JobKind(Stage.STORE, again=False)]])
    jobs.start(hand, at_once=1)
    until(lambda: hand.done == [tid(2), tid(3)])
    hand.wanted = ()
    jobs.defer([fresh], now=now())
    hand.wanted = both(Stage.STORE)
    until(lambda: hand.done == [tid(2), tid(3), tid(1), tid(2)])


def test_job_that_is_being_done_is_not_deferred_again(jobs: Procrastinate) -> None:
    jobs.defer([due(1)], now=now())
    hand = Took()
    hand.may_go_on.clear()
    jobs.start(hand, at_once=2)
    until(lambda: hand.done)
    assert jobs.defer([due(1)], now=now()) == 0
    hand.may_go_on.set()
    until(lambda: jobs.defer([due(1)], now=now()) == 1)


# ---------------------------------------------------------------- rescue


def test_job_of_a_killed_worker_waits_again(jobs: Procrastinate, postgres_url: str) -> None:
    jobs.defer([due(1)], now=now())
    take(postgres_url)
    counted = counts(postgres_url)
    assert counted is not None
    assert (counted.stalled, counted.silent_workers) == (1, 1)
    assert jobs.rescue() == [tid(1)]
    assert states(postgres_url) == [(tid(1), "todo")]
    assert jobs.rescue() == []


def test_job_of_a_killed_worker_with_a_duplicate_that_waits_ends_and_the_duplicate_goes_on(
    jobs: Procrastinate, postgres_url: str
) -> None:
    """Both cannot wait under one queueing lock: put back as procrastinate advises, the first would fail for ever."""
    jobs.defer([due(1)], now=now())
    take(postgres_url)
    assert jobs.defer([due(1)], now=now()) == 1
    assert states(postgres_url) == [(tid(1), "doing"), (tid(1), "todo")]
    assert jobs.rescue() == [tid(1)]
    assert states(postgres_url) == [(tid(1), "todo")]
    hand = Took()
    jobs.start(hand, at_once=1)
    until(lambda: states(postgres_url) == [])
    assert hand.done == [tid(1)]


def test_jobs_with_duplicates_are_ended_though_several_come_to_the_rescue_at_once(
    jobs: Procrastinate, postgres_url: str
) -> None:
    tasks = [due(number) for number in range(200)]
    jobs.defer(tasks, now=now())
    take(postgres_url)
    jobs.defer(tasks, now=now())
    with closing(Procrastinate.open(postgres_url)) as other, ThreadPoolExecutor(2) as pool:
        for rescued in [pool.submit(each.rescue) for each in (jobs, other)]:
            rescued.result()
    assert sorted(states(postgres_url)) == [(task.task_id, "todo") for task in tasks]


def test_job_of_a_worker_that_lives_is_left_to_it(jobs: Procrastinate, postgres_url: str) -> None:
    jobs.defer([due(1)], now=now())
    hand = Took()
    hand.may_go_on.clear()
    jobs.start(hand, at_once=1)
    until(lambda: hand.done)
    silence(postgres_url)
    until(lambda: (found := counts(postgres_url)) is not None and found.workers == 1, seconds=8)
    assert jobs.rescue() == []
    assert states(postgres_url) == [(tid(1), "doing")]
    hand.may_go_on.set()
    until(lambda: states(postgres_url) == [])


def test_job_that_was_rescued_from_a_frozen_worker_is_not_struck_out_when_that_ends_it(
    jobs: Procrastinate, postgres_url: str
) -> None:
    jobs.defer([due(1)], now=now())
    frozen, hand = Took(), Took()
    frozen.may_go_on.clear()
    jobs.start(frozen, at_once=1)
    until(lambda: frozen.done)
    with closing(Procrastinate.open(postgres_url)) as other:
        silence(postgres_url)
        assert other.rescue() == [tid(1)]
        hand.may_go_on.clear()
        other.start(hand, at_once=1)
        until(lambda: hand.done)
        frozen.may_go_on.set()
        jobs.close()
        assert states(postgres_url) == [(tid(1), "doing")]
        hand.may_go_on.set()
        until(lambda: states(postgres_url) == [])


def test_job_that_the_table_gave_us_and_we_never_heard_of_waits_again(jobs: Procrastinate, postgres_url: str) -> None:
    hand = Took()
    jobs.start(hand, at_once=1)
    until(lambda: asked(postgres_url, "SELECT 1 FROM procrastinate_workers"))
    hand.wanted = ()
    time.sleep(1.5)
    jobs.defer([due(1)], now=now())
    asked(
        postgres_url,
        "UPDATE procrastinate_jobs SET status = 'doing', worker_id = (SELECT id FROM procrastinate_workers)",
    )
    assert jobs.rescue() == []
    assert jobs.rescue() == [tid(1)]
    hand.wanted = both(*Stage)
    until(lambda: hand.done == [tid(1)])


# ---------------------------------------------------------------- outages


def test_worker_goes_on_after_a_restart_of_the_server_with_heartbeat_and_jobs(
    postgres: PostgresServer, postgres_url: str, jobs: Procrastinate
) -> None:
    hand = Took()
    jobs.start(hand, at_once=2)
    jobs.defer([due(1)], now=now())
    until(lambda: hand.done)
    postgres.stop()
    time.sleep(2)
    postgres.start()
    assert jobs.defer([due(2)], now=now()) == 1
    until(lambda: len(hand.done) == 2)
    silence(postgres_url)
    until(lambda: (found := counts(postgres_url)) is not None and found.workers == 1)
    assert jobs.fault is None


def test_server_that_stays_away_ends_the_worker_with_a_fault(postgres: PostgresServer, postgres_url: str) -> None:
    with closing(Procrastinate.open(postgres_url, outage=timedelta(seconds=2))) as jobs:
        jobs.start(Took(), at_once=1)
        postgres.stop()
        try:
            until(lambda: jobs.fault is not None, 40)
            with pytest.raises(LedgerFault):
                jobs.defer([due(1)], now=now())
        finally:
            postgres.start()


def test_job_that_hangs_does_not_hold_up_the_end_of_the_process(postgres_url: str) -> None:
    """As the daemon ends when a transfer does not heed that its grace is over."""
    script = """
import sys, time
from contextlib import closing
from tests.integration.jobs.test_engine import Procrastinate, Took, due, now, until
jobs, hand = Procrastinate.open(sys.stdin.read()), Took()
hand.may_go_on.clear()
jobs.defer([due(1)], now=now())
jobs.start(hand, at_once=1)
until(lambda: hand.done)
jobs.close(within=0.5)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], input=postgres_url, text=True, timeout=40, check=False, cwd=ROOT
    )
    assert done.returncode == 0


def test_call_that_is_under_way_when_the_engine_is_closed_ends_with_a_fault(postgres_url: str) -> None:
    """A thread that waited for ever would hold up the end of the process."""
    jobs = Procrastinate.open(postgres_url)
    with psycopg.connect(**parameters(postgres_url)) as db, ThreadPoolExecutor(1) as pool:
        db.execute("LOCK TABLE procrastinate.procrastinate_jobs")
        deferring = pool.submit(jobs.defer, [due(1)], now=now())
        until(lambda: asked(postgres_url, "SELECT 1 FROM pg_locks WHERE NOT granted"))
        jobs.close(within=0.5)
        with pytest.raises(LedgerFault, match="closed"):
            deferring.result(timeout=10)
    with pytest.raises(LedgerFault, match="closed"):
        jobs.rescue()
