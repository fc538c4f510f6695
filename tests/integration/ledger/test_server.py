"""What only a server does: it goes away and comes back, loses answers, refuses, and is shared."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg.errors import IntegrityError
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import select, text

from archiver.adapters.ledger.database.faults import LedgerAway
from archiver.adapters.ledger.schema.indexes import metadata
from archiver.adapters.ledger.schema.migrate import HEAD
from archiver.core.errors import LedgerFault
from archiver.core.intake import Cursor, Intake, Reject
from archiver.core.model import Archived, Claim, Dependency, Failed, Later, Stage, StemName, Yielded
from archiver.core.states import StemEvent, StemState, TaskState
from tests.fakes.relay import Relay
from tests.fixtures.ledgers import (
    DAY,
    LEASE,
    NOW,
    SECOND,
    accept,
    claim,
    engine_of,
    events,
    finish,
    hold,
    lift,
    listed,
    open_work,
    overview,
    pause,
    receipt,
    record,
    release,
    relisted,
    renew,
    retry,
    rows,
    shown,
    stem_failed,
    stored,
    take_in,
    tid,
)
from tests.fixtures.postgres import PostgresServer
from tests.house import Ledger, ledger_at

SHORT = timedelta(seconds=0.5)


@pytest.fixture
def database(postgres_ledger: str) -> str:
    return postgres_ledger


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[Relay]:
    with Relay(to=postgres.port) as proxy:
        yield proxy


@pytest.fixture
def ledger(postgres: PostgresServer, database: str, proxy: Relay) -> Iterator[Ledger]:
    """A ledger whose connections can be cut."""
    with closing(ledger_at(postgres.url(database, port=proxy.port))) as ledger:
        yield ledger


# --- connections that break


VOCAL, BASS = StemName("vocal"), StemName("bass")
Step = Callable[[Ledger], object]


def _story() -> Iterator[Step]:
    """Everything that writes, a call a step; each gives what it returned, as far as that is no token."""
    held: list[Claim] = []

    def listed_by(ledger: Ledger) -> object:
        held.append(relisted(ledger, held.pop(), record("vocal", "bass")))
        return held[0].stems

    def claimed(stage: Stage) -> Step:
        def step(ledger: Ledger) -> object:
            held.append(claim(ledger, stage=stage))
            return replace(held[0], token="")

        return step

    intake = Intake((tid(1), tid(2), tid(1)), (Reject("q", 9, "bad", "no id"),), Cursor("q", 1, 2, "", 0, 9))
    yield renew
    yield lambda ledger: accept(ledger, intake)
    yield lambda ledger: ledger.intakes.enlist("them", [tid(1), tid(2)])
    yield claimed(Stage.LIST)
    yield listed_by
    yield lambda ledger: ledger.uploads.opened("us", "stems/a", "u1", now=NOW)
    yield lambda ledger: stored(ledger, held[0])
    yield lambda ledger: ledger.uploads.closed("stems/a", "u1")
    yield lambda ledger: stem_failed(ledger, held[0], BASS, event=StemEvent.REFUSED, reason="html")
    yield lambda ledger: ledger.progress.stem_retried(held[0], BASS, now=NOW)
    yield lambda ledger: stem_failed(ledger, held[0], BASS, reason="busy", gone=True)
    yield lambda ledger: finish(ledger, held.pop(), Later(NOW, "api.busy"))
    yield claimed(Stage.STORE)
    yield lambda ledger: stored(ledger, held[0], BASS)
    yield lambda ledger: finish(ledger, held.pop(), Archived())
    yield claimed(Stage.LIST)
    yield lambda ledger: finish(ledger, held.pop(), Later(NOW + DAY, "not ready", fault=False))
    yield lambda ledger: ledger.intakes.wake([tid(2)], now=NOW)
    yield claimed(Stage.LIST)
    yield lambda ledger: finish(ledger, held.pop(), Failed("no audio"))
    yield lambda ledger: retry(ledger, [tid(2)])
    yield lambda ledger: pause(ledger, Dependency.STORE, reason="r", hint="h", lasting=True)
    yield lambda ledger: ledger.pauses.resume(Dependency.STORE)
    yield lambda ledger: hold(ledger, Dependency.STORE)
    yield lambda ledger: lift(ledger, Dependency.STORE)
    yield claimed(Stage.LIST)
    yield lambda ledger: ledger.claims.release_dead(lambda owner: owner == "us", now=NOW)
    yield release
    yield overview


def _content(url: str) -> dict[str, list[tuple[object, ...]]]:
    """All rows, but for what no two ledgers have in common: tokens, numbers of rows, and the server's own table."""
    with engine_of(url) as engine, engine.connect() as db:
        return {
            table.name: sorted(
                [tuple(row) for row in db.execute(select(*(c for c in table.c if c.name not in {"id", "token"})))],
                key=repr,
            )
            for table in metadata.sorted_tables
            if table.name != "writers"
        }


@pytest.fixture(scope="module")
def as_told(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[object], dict[str, list[tuple[object, ...]]]]:
    """What the story gives, and leaves behind, where nothing breaks."""
    url = f"sqlite:///{tmp_path_factory.mktemp('story')}/ledger.db"
    with closing(ledger_at(url)) as ledger:
        given = [step(ledger) for step in _story()]
    return given, _content(url)


@pytest.mark.parametrize(
    ("word", "after", "seconds"),
    [
        (b"INSERT INTO writers", False, 0),
        (b"COMMIT", False, 0),
        (b"COMMIT", True, 0.05),
    ],
    ids=["before the commit", "commit lost", "answer lost and commit late"],
)
def test_every_call_is_done_once_though_its_connection_is_cut(
    ledger: Ledger,
    postgres: PostgresServer,
    database: str,
    proxy: Relay,
    as_told: tuple[list[object], dict[str, list[tuple[object, ...]]]],
    word: bytes,
    after: bool,
    seconds: float,
) -> None:
    given, cuts = [], []
    proxy.after, proxy.meanwhile = after, lambda: time.sleep(seconds)
    for step in _story():
        proxy.cuts, proxy.cut_at = 0, word
        given.append(step(ledger))
        cuts.append(proxy.cuts)
    assert given == as_told[0]
    assert _content(postgres.url(database)) == as_told[1]
    assert set(cuts[:-1]) == {1}, "a step was not cut"


def test_a_connection_that_broke_while_idle_is_replaced(ledger: Ledger, postgres: PostgresServer) -> None:
    take_in(ledger, 1)
    postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert shown(ledger).state is TaskState.QUEUED
    postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert claim(ledger).task_id == tid(1)


# --- a server that goes away


@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.crash])
def test_work_goes_on_over_a_restart_of_the_server_and_each_task_is_done_once(
    postgres: PostgresServer, database: str, end: Callable[[PostgresServer], None]
) -> None:
    notified: list[LedgerAway] = []
    with closing(ledger_at(postgres.url(database), notify=notified.append)) as ledger:
        take_in(ledger, *range(120))

        def work(owner: str) -> int:
            done = 0
            while (mine := ledger.claims.claim(owner=owner, now=NOW, lease=LEASE, stage=Stage.LIST)) is not None:
                mine = relisted(ledger, mine, record("vocal"))
                stored(ledger, mine)
                finish(ledger, mine, Archived())
                done += 1
            return done

        with ThreadPoolExecutor(6) as pool:
            workers = [pool.submit(work, f"owner-{number}") for number in range(6)]
            for _ in range(2):
                time.sleep(0.2)
                end(postgres)
                postgres.start()
            done = [worker.result() for worker in workers]
        assert notified, "the server was away, and nobody noticed"
        assert sum(done) == 120
        seen = overview(ledger)
        assert (seen.tasks[TaskState.ARCHIVED], seen.stems[StemState.STORED], seen.working) == (120, 120, 0)
        for number in range(120):
            assert events(ledger, number) == [(None, "listed"), (VOCAL, "stored"), (None, "all_stored")]


def test_a_server_that_stays_away_is_a_fault_notified_once_and_work_goes_on_when_it_is_back(
    postgres: PostgresServer, database: str
) -> None:
    notified: list[LedgerAway] = []
    with closing(ledger_at(postgres.url(database), outage=SHORT, notify=notified.append)) as ledger:
        take_in(ledger, 1)
        postgres.stop()
        try:
            began = time.monotonic()
            for attempt in (lambda: take_in(ledger, 2), ledger.pauses.all):
                with pytest.raises(LedgerFault, match="cannot be reached") as caught:
                    attempt()
                assert "start the server" in caught.value.hint
                assert postgres.password not in _whole(caught.value)
            assert time.monotonic() - began < 20 * SHORT.total_seconds()
            assert len(notified) == 1
        finally:
            postgres.start()
        assert take_in(ledger, 1, 2) == [tid(2)]


def test_a_closed_ledger_leaves_no_trace_in_the_servers_own_table(
    ledger: Ledger, postgres: PostgresServer, database: str
) -> None:
    take_in(ledger, 1)
    assert len(rows(postgres.url(database), "SELECT * FROM writers")) == 1
    ledger.close()
    assert rows(postgres.url(database), "SELECT * FROM writers") == []


def test_a_transaction_that_wrote_nothing_leaves_no_number(
    ledger: Ledger, postgres: PostgresServer, database: str
) -> None:
    assert ledger.claims.claim(owner="us", now=NOW, lease=LEASE) is None
    assert rows(postgres.url(database), "SELECT * FROM writers") == []


# --- a server that refuses


def _whole(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + str(getattr(error, "hint", ""))


@pytest.fixture
def role(postgres: PostgresServer) -> Iterator[str]:
    """Name a user who has no rights and may not connect more than nought times at once."""
    postgres.run(SQL("CREATE ROLE guest LOGIN PASSWORD {}").format(Literal(postgres.password)))
    yield "guest"
    postgres.run("DROP ROLE guest")


def _refused(url: str) -> LedgerFault:
    with pytest.raises(LedgerFault) as caught:
        ledger_at(url, patience=SHORT)
    return caught.value


def test_a_server_that_refuses_says_why_and_what_to_do_and_no_password(postgres: PostgresServer, role: str) -> None:
    with postgres.database() as name:
        url = postgres.url(name)
        said = {
            "away": _refused(postgres.url(name, port=1)),
            "password": _refused(postgres.url(name, password="planted")),
            "user": _refused(postgres.url(name, user="nobody")),
            "database": _refused(postgres.url("nowhere")),
            "right": _refused(postgres.url(name, user=role)),
            "tls": _refused(f"{url}?sslmode=require"),
        }
        postgres.run(SQL("ALTER ROLE {} CONNECTION LIMIT 0").format(Identifier(role)))
        said["full"] = _refused(postgres.url(name, user=role))
        postgres.run(SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(Identifier(name)))
        said["standby"] = _refused(url)
    expected = {
        "away": ("cannot be reached", "start the server"),
        "password": ("refuses its user or password", "pgpass"),
        "user": ("refuses its user or password", "pg_hba.conf"),
        "database": ("does not exist", "createdb"),
        "right": ("denies a right", "owner of the tables"),
        "tls": ("cannot be reached by TLS", "sslmode"),
        "full": ("has no connection left", "max_connections"),
        "standby": ("is a standby", "primary"),
    }
    for case, (what, hint) in expected.items():
        fault = said[case]
        assert what in str(fault), case
        assert hint in fault.hint, case
        assert "127.0.0.1" in str(fault), case
        assert "\n" not in str(fault), case
        assert "planted" not in _whole(fault), case
        assert postgres.password not in _whole(fault), case


@pytest.mark.parametrize(
    "theirs", ["CREATE TABLE tasks (id int)", "CREATE TABLE alembic_version (version_num varchar(32))"]
)
def test_another_programs_database_is_refused_and_left_as_it_was(
    postgres: PostgresServer, postgres_url: str, theirs: str
) -> None:
    rows(postgres_url, theirs)
    fault = _refused(postgres_url)
    assert "another program's tables" in str(fault)
    found = rows(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    assert found == [(1,)]


def test_tables_of_other_programs_beside_ours_are_let_be(postgres: PostgresServer, postgres_url: str) -> None:
    rows(postgres_url, "CREATE TABLE procrastinate_jobs (id int)")
    for _ in range(2):
        with closing(ledger_at(postgres_url)) as ledger:
            take_in(ledger, 1)


def test_a_newer_schema_is_refused(postgres_url: str) -> None:
    ledger_at(postgres_url).close()
    rows(postgres_url, "UPDATE alembic_version SET version_num = '9999'")
    assert "written by a newer version (schema 9999)" in str(_refused(postgres_url))


def test_a_row_locked_too_long_is_a_fault_and_afterwards_work_goes_on(postgres: PostgresServer, database: str) -> None:
    with closing(ledger_at(postgres.url(database), patience=SHORT)) as ledger:
        mine = listed(ledger, 1, "vocal")
        with closing(postgres.connect(database)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM tallies FOR UPDATE")
            with pytest.raises(LedgerFault, match="stayed locked"):
                stored(ledger, mine)
        stored(ledger, mine)


# --- tables


def test_a_start_waits_for_another_start_no_longer_than_its_patience(
    postgres: PostgresServer, postgres_url: str
) -> None:
    held, go_on = threading.Event(), threading.Event()

    def hold(step: str) -> None:
        if step == "ledger.migrating":
            held.set()
            assert go_on.wait(60)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ledger_at, postgres_url, checkpoint=hold)
        assert held.wait(60)
        assert "stayed locked" in str(_refused(postgres_url))
        second = pool.submit(ledger_at, postgres_url)
        go_on.set()
        for each in (first, second):
            each.result().close()
    assert rows(postgres_url, "SELECT version_num FROM alembic_version") == [(HEAD,)]


def test_a_migration_cut_by_an_exception_leaves_no_table_behind(postgres: PostgresServer, postgres_url: str) -> None:
    def cut(step: str) -> None:
        if step == "ledger.migrating":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger_at(postgres_url, checkpoint=cut)
    assert rows(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    ledger_at(postgres_url).close()


_ITS_OWN = {"tasks_by_prefix", "tasks_title_words"}
"""Indexes that PostgreSQL has in a way of its own; tests/golden has them."""
_OF_EXPRESSIONS = {"tasks_by_why", "tasks_unlisted"}
"""Indexes whose expressions PostgreSQL words anew: it compares them itself, below."""


def _is_compared(_: object, name: str | None, *_of_it: object) -> bool:
    return name not in _ITS_OWN | _OF_EXPRESSIONS


def test_the_migrations_lead_to_the_tables_as_they_are_declared(postgres: PostgresServer, database: str) -> None:
    with engine_of(postgres.url(database)) as engine, engine.connect() as db:
        context = MigrationContext.configure(db, opts={"include_object": _is_compared})
        assert compare_metadata(context, metadata) == []
    with postgres.database() as name:
        with engine_of(postgres.url(name)) as declared:
            metadata.create_all(declared)
        assert _constraints(postgres.url(database)) == _constraints(postgres.url(name))


def _constraints(url: str) -> list[tuple[object, ...]]:
    checks = (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c'"
    )
    indexes = "SELECT tablename::text, indexname::text, indexdef FROM pg_indexes WHERE indexname ~ '^(tasks|stems)_' "
    found = [row for row in rows(url, indexes) if row[1] not in _ITS_OWN]
    return sorted(rows(url, checks) + found, key=repr)


@pytest.mark.parametrize(
    "broken",
    [
        "UPDATE tasks SET state = 'nonsense'",
        "UPDATE tasks SET deadline = NULL",
        "UPDATE stems SET state = 'stored'",
        "UPDATE stems SET shown_url = 'https://h/a?sig=1'",
        "UPDATE tasks SET title = ''",
        "UPDATE stems SET media = 'nonsense'",
        "UPDATE tallies SET stems = -1",
        "DELETE FROM tasks",
    ],
)
def test_the_tables_repeat_the_rules(ledger: Ledger, postgres: PostgresServer, database: str, broken: str) -> None:
    listed(ledger, 1, "vocal")
    with closing(postgres.connect(database)) as db, pytest.raises(IntegrityError):
        db.execute(broken.encode())


def test_an_etag_with_a_nul_is_kept_with_the_sign_for_it(ledger: Ledger) -> None:
    stored(ledger, listed(ledger, 1, "vocal"), "vocal", replace(receipt(), etag="a\0b"))
    [stem] = shown(ledger).stems
    assert stem.receipt == replace(receipt(), etag="a\N{SYMBOL FOR NULL}b")


def test_connection_that_forgets_its_transaction_is_ended_after_ten_seconds(ledger: Ledger) -> None:
    with ledger.db.read() as db:
        assert db.scalar(text("SHOW idle_in_transaction_session_timeout")) == "10s"


def test_all_that_is_read_at_once_is_of_one_moment(ledger: Ledger) -> None:
    count = text("SELECT count(*) FROM tasks")
    with ledger.db.read() as db:
        before = db.scalar(count)
        take_in(ledger, 1)
        assert db.scalar(count) == before == 0


# --- owners of other machines


def test_an_owner_nobody_can_judge_is_dead_once_its_own_lease_has_run_out(ledger: Ledger) -> None:
    """Whoever signed on keeps its list though it holds nothing."""
    take_in(ledger, 1, 2)
    assert not renew(ledger, "there")
    ledger.intakes.enlist("there", [tid(1)])
    ledger.uploads.opened("there", "key", "upload", now=NOW)
    assert ledger.claims.release_dead(lambda _: None, now=NOW + LEASE - SECOND) == []
    assert ledger.uploads.of_dead(lambda _: None) == []
    assert renew(ledger, "there", now=NOW + LEASE)
    assert ledger.claims.release_dead(lambda _: None, now=NOW + 2 * LEASE - SECOND) == []
    assert open_work(ledger, "there").tasks == 1
    assert ledger.claims.release_dead(lambda _: None, now=NOW + 2 * LEASE) == ["there"]
    assert open_work(ledger, "there").tasks == 0
    assert ledger.uploads.of_dead(lambda _: None) == [("key", "upload")]
    assert not renew(ledger, "there", now=NOW + 2 * LEASE), "it must learn of it"


def test_an_owner_that_has_just_claimed_is_not_dead_though_it_is_late_to_renew(ledger: Ledger) -> None:
    """As when the server was away for longer than a lease, and its first claim afterwards came before its renewal."""
    take_in(ledger, 1)
    renew(ledger, "there")
    late = NOW + 2 * LEASE
    claim = ledger.claims.claim(owner="there", now=late, lease=LEASE)
    assert claim is not None
    assert ledger.claims.release_dead(lambda _: None, now=late + SECOND) == []
    finish(ledger, claim, Yielded(), now=late + SECOND)
    assert ledger.claims.release_dead(lambda _: None, now=late + 2 * SECOND) == ["there"]
