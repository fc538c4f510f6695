"""How either database finds tasks: by the indexes of open ones, so that a million finished ones cost nothing."""

from __future__ import annotations

import itertools
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, event

from archiver.core.listing import Span, TaskFilter, TaskOrder, TaskPlace
from archiver.core.model import AccountName, Archived, Claim, Later, Stage, TaskId
from archiver.core.slices import Course
from archiver.core.states import TaskState
from archiver.ports.listing import Moment
from tests.fixtures.ledgers import (
    DAY,
    LEASE,
    NOW,
    claim,
    finish,
    listed,
    open_work,
    overview,
    record,
    release,
    renew,
    stored,
    take_in,
    tid,
)
from tests.house import Ledger

FINISHED = 5000
"""So many that PostgreSQL finds an index worth its while."""

TWO = AccountName("two")
NOBODY: tuple[AccountName, ...] = ()
Statements = list[tuple[str, object]]


def _analyze(db: Connection) -> None:
    """Let PostgreSQL know how many there are, as its autovacuum would; SQLite has no need of it."""
    if db.dialect.name == "postgresql":
        db.exec_driver_sql("ANALYZE tasks")


@pytest.fixture
def filled(ledger: Ledger) -> Claim:
    """A claim on an open task beside many finished ones."""
    take_in(ledger, *range(100, 100 + FINISHED))
    with ledger.db.write() as db:
        db.exec_driver_sql("UPDATE tasks SET state = 'archived', ended_at = accepted_at, not_before = NULL")
        _analyze(db)
    ledger.intakes.enlist("us", [tid(1)])
    return listed(ledger, 1, "vocal")


@contextmanager
def _noted(ledger: Ledger) -> Iterator[Statements]:
    """The statements on tasks, as they are sent: the plans are the database's own secret."""
    statements: Statements = []
    engine = ledger.db._database.engine

    def note(_db: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith(("SELECT", "UPDATE")) and "tasks" in statement:
            statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def _plans(ledger: Ledger, work: Callable[[], object], *, of_many: bool = False) -> dict[str, list[str]]:
    """The plan of each statement of `work`; if `of_many`, as if the table were too large to be read."""
    with _noted(ledger) as statements:
        work()
    assert statements
    with ledger.db.read() as db:
        if of_many and db.dialect.name == "postgresql":
            db.exec_driver_sql("SET LOCAL enable_seqscan = off")
        return {statement: _plan(db, statement, parameters) for statement, parameters in statements}


def _scans(plans: dict[str, list[str]]) -> dict[str, list[str]]:
    """Those that read the whole table."""
    return {statement: plan for statement, plan in plans.items() if any(map(_reads_all, plan))}


def _plan(db: Connection, statement: str, parameters: object) -> list[str]:
    sqlite = db.dialect.name == "sqlite"
    rows = db.exec_driver_sql(f"EXPLAIN {'QUERY PLAN ' if sqlite else ''}{statement}", parameters)  # type: ignore[arg-type]
    return [row.detail if sqlite else row[0] for row in rows]


def _reads_all(step: str) -> bool:
    """Leaves out SQLite's walk along an index: those of open tasks are short."""
    return re.search(r"SCAN tasks(?! USING (COVERING )?INDEX tasks_)|Seq Scan on tasks", step) is not None


@pytest.mark.parametrize("blocked", [NOBODY, (TWO,)])
@pytest.mark.parametrize("fresh_only", [False, True])
def test_claims_and_looks_for_the_next_read_no_finished_task(
    ledger: Ledger, filled: Claim, fresh_only: bool, blocked: tuple[AccountName, ...]
) -> None:
    claims, everything = ledger.claims, (None, *Stage)

    def work() -> None:
        for stage, enlisted_only, now in itertools.product(everything, (False, True), (NOW, NOW + 20 * DAY)):
            claims.claim(
                owner="us",
                now=now,
                lease=LEASE,
                stage=stage,
                enlisted_only=enlisted_only,
                fresh_only=fresh_only,
                blocked_accounts=blocked,
            )
        claims.claim_task(
            TaskId("unknown"),
            owner="us",
            now=NOW,
            lease=LEASE,
            stages=list(Stage),
            fresh_only=fresh_only,
            blocked_accounts=blocked,
        )
        for stage in Stage:
            claims.due(stage, now=NOW, until=NOW + DAY, limit=9, fresh_only=fresh_only, blocked_accounts=blocked)
        for deadline in (NOW - DAY, NOW + 20 * DAY):
            ledger.progress.more_urgent_waits(filled, deadline, NOW, blocked)

    plans = _plans(ledger, work)
    assert _scans(plans) == {}
    searches = {statement: plan for statement, plan in plans.items() if "ORDER BY tasks.urgency" in statement}
    alone = [plan for statement, plan in searches.items() if "enlisted" not in statement]
    assert alone
    assert all("tasks_waiting" in " ".join(plan) for plan in alone), "in the order of claims"


def test_chores_read_no_finished_task(ledger: Ledger, filled: Claim) -> None:
    def work() -> None:
        ledger.claims.next_deadline("us", now=NOW)
        ledger.claims.next_deadline("us", now=NOW, enlisted_only=True)
        ledger.claims.are_held(now=NOW)
        renew(ledger)
        open_work(ledger)
        open_work(ledger, "us")
        open_work(ledger, "us", [TWO])
        ledger.intakes.wake([filled.task_id], now=NOW)
        ledger.claims.release_dead(lambda _: True, now=NOW)
        release(ledger)

    assert _scans(_plans(ledger, work)) == {}


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_overview_on_sqlite_counts_along_indexes(ledger: Ledger, filled: Claim) -> None:
    """PostgreSQL counts by state over the whole table, of which it keeps what it read last in memory."""
    assert filled.stems
    assert _scans(_plans(ledger, lambda: overview(ledger))) == {}


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_overview_on_sqlite_counts_tasks_by_indexes_that_have_all_it_asks_for(ledger: Ledger, filled: Claim) -> None:
    finish(ledger, filled, Later(NOW + DAY, "cdn.busy: HTTP 503", fault=True))
    with _noted(ledger) as statements:
        overview(ledger, now=NOW + 20 * DAY)
    counts = [(statement, asked) for statement, asked in statements if "LIMIT" not in statement]
    counts = [pair for pair in counts if "ORDER BY" not in pair[0]]  # the first of each minute is looked at
    of_many = "unlisted", "by_why", "deadline", "unarchived", "waiting"
    looks: dict[str, list[bool]] = {f"tasks_{index}": [] for index in of_many}
    with ledger.db.read() as db:
        for statement, asked in counts:
            steps = " ".join(_plan(db, statement, asked))
            for index in looks:
                looks[index] += [_looks_at_a_task(db, statement, asked)] if f"INDEX {index}" in steps else []
    assert {index for index, found in looks.items() if not found} == set()
    assert {index for index, found in looks.items() if any(found)} == set()


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_unlisted_tasks_on_sqlite_are_gone_along_in_their_order(ledger: Ledger, filled: Claim) -> None:
    assert filled.stems
    plans = _plans(ledger, lambda: overview(ledger, now=NOW + 20 * DAY))
    unlisted = [plan for statement, plan in plans.items() if "deadline IS NULL" in statement]
    assert len(unlisted) >= len(("by minute", "counted", "the first")), "as many statements"
    assert all("INDEX tasks_unlisted" in " ".join(plan) for plan in unlisted)
    assert not any("TEMP B-TREE" in step for plan in unlisted for step in plan)


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_no_statement_of_a_tasks_path_is_planned_anew_on_sqlite(ledger: Ledger) -> None:
    """It would be each time, where a bound value is compared as an index does."""
    planned: list[str] = []

    def path(number: int) -> None:
        take_in(ledger, number)
        finish(ledger, claim(ledger, stage=Stage.LIST), Later(NOW, "not ready"))
        mine = claim(ledger, stage=Stage.LIST)
        for deadline in (NOW - DAY, NOW + DAY):
            ledger.progress.more_urgent_waits(mine, deadline, NOW)
        ledger.claims.claim(owner="us", now=NOW, lease=LEASE, stage=Stage.LIST, fresh_only=True)
        ledger.claims.due(Stage.LIST, now=NOW, until=NOW + DAY, limit=9, fresh_only=True)
        mine = ledger.progress.listed(mine, record("vocal"), NOW + DAY, settled=True, now=NOW)
        stored(ledger, mine)
        finish(ledger, mine, Archived())

    def note(action: int, *_: object) -> int:
        if action in {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}:
            planned.append(now_run[-1])
        return sqlite3.SQLITE_OK

    known: set[int] = set()

    def watch(db: Connection, _cursor: object, statement: str, *_: object) -> None:
        now_run.append(statement)
        connection: sqlite3.Connection = db.connection.dbapi_connection  # type: ignore[assignment]  # SQLAlchemy's is of any
        if id(connection) not in known:
            known.add(id(connection))
            connection.set_authorizer(note)

    now_run: list[str] = []
    event.listen(ledger.db._database.engine, "before_cursor_execute", watch)
    for number in (1, 2):
        path(number)
    planned.clear()
    path(3)
    assert planned == []


def _looks_at_a_task(db: Connection, statement: str, parameters: object) -> bool:
    """Return whether SQLite's program reads a column of a task beside those of the index that it goes along."""
    root = db.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'tasks'").scalar()
    program = db.exec_driver_sql(f"EXPLAIN {statement}", parameters).all()  # type: ignore[arg-type]
    cursors = {step.p1 for step in program if step.opcode == "OpenRead" and step.p2 == root}
    return any(step.opcode == "Column" and step.p1 in cursors for step in program)


def test_tasks_that_were_trimmed_are_read_by_no_count_and_no_look_for_what_is_due(
    ledger: Ledger, filled: Claim
) -> None:
    def work() -> None:
        overview(ledger)
        ledger.objects.holdings()
        ledger.trimming.due(NOW, (NOW - DAY, tid(1)), 9)

    plans = _plans(ledger, work)
    if ledger.db.where.endswith(".db"):  # PostgreSQL reads the table where none was trimmed, which is right
        assert _scans(plans) == {}
        of_archived = {statement: plan for statement, plan in plans.items() if "folder_digest IS NULL" in statement}
        assert len(of_archived) >= 3
        assert all("tasks_untrimmed" in step for plan in of_archived.values() for step in plan if "SEARCH" in step)


def test_no_page_of_any_listing_reads_the_whole_table(ledger: Ledger, filled: Claim) -> None:
    filters = [
        TaskFilter(),
        TaskFilter(states=(TaskState.LISTED, TaskState.FAILED)),
        TaskFilter(account=TWO),
        TaskFilter(source="queue", stem="vocal"),
        TaskFilter(prefix="task-00000"),
        TaskFilter(needs_person=True),
        TaskFilter(words=("sea",)),
        TaskFilter(accepted=Span(NOW, NOW + DAY)),
        TaskFilter(ended=Span(NOW, NOW + DAY)),
    ]
    moment, start = Moment(NOW, DAY), TaskPlace(1 << 50, filled.task_id)

    def work() -> None:
        for wanted, order in itertools.product(filters, TaskOrder):
            ledger.listings.page(wanted, order, moment)
            ledger.listings.page(wanted, order, moment, start=start, back=True)
            ledger.listings.count(wanted, moment)

    assert _scans(_plans(ledger, work, of_many=True)) == {}


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_page_deep_in_a_span_begins_at_its_place_on_sqlite_and_not_where_the_span_does(
    ledger: Ledger, filled: Claim
) -> None:
    moment, start = Moment(NOW, DAY), TaskPlace(int(NOW.timestamp()) * 1_000_000, filled.task_id)
    span = Span(NOW - DAY, NOW + DAY)
    views = [
        (TaskFilter(accepted=span), TaskOrder.NEWEST),
        (TaskFilter(deadline=span), TaskOrder.DEADLINE),
        (TaskFilter(ended=span), TaskOrder.ENDED),
    ]

    def work() -> None:
        for (wanted, order), back in itertools.product(views, (False, True)):
            ledger.listings.page(wanted, order, moment, start=start, back=back)

    plans = _plans(ledger, work, of_many=True)
    deep = [plan for statement, plan in plans.items() if re.search(r", tasks\.task_id\) [<>]", statement)]
    assert len(deep) >= len(views) * 2
    reads = [
        step for plan in deep for step in plan if re.search("SEARCH tasks .*(accepted_at|deadline|ended_at)", step)
    ]
    assert [step for step in reads if ",task_id)" not in step] == []


def test_pages_by_size_go_along_their_index(ledger: Ledger, filled: Claim) -> None:
    with ledger.db.write() as db:
        db.exec_driver_sql("UPDATE tasks SET bytes_stored = slice WHERE state = 'archived'")
        _analyze(db)
    moment, start = Moment(NOW, DAY), TaskPlace(2000, filled.task_id)

    def work() -> None:
        for back in (False, True):
            ledger.listings.page(TaskFilter(), TaskOrder.SIZE, moment, start=start, back=back)

    plans = _plans(ledger, work, of_many=True)
    in_order = [plan for statement, plan in plans.items() if "ORDER BY tasks.bytes_stored" in statement]
    assert in_order
    assert all("tasks_by_size" in " ".join(plan) for plan in in_order)


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_backlog_on_sqlite_is_counted_without_the_stems_of_finished_tasks(ledger: Ledger, filled: Claim) -> None:
    assert filled.stems
    plans = _plans(ledger, lambda: overview(ledger, now=NOW + DAY))
    steps = [step for plan in plans.values() for step in plan]
    walks = [step for step in steps if re.search(r"SCAN stems(?! USING (COVERING )?INDEX)", step)]
    assert sum("FROM stems" in statement for statement in plans) > 1
    assert walks == []


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("unread", [0, 3])
def test_oldest_check_on_sqlite_is_found_without_a_walk_through_archived_tasks(
    ledger: Ledger, filled: Claim, unread: int
) -> None:
    assert filled.stems
    ledger.rounds.begin(Course.READ, now=NOW)
    with ledger.db.write() as db:
        db.exec_driver_sql(f"UPDATE slices SET ended_at = 1 WHERE number >= {unread}")
    plans = _plans(ledger, lambda: ledger.checks.oldest(now=NOW))
    looks = [step for statement, plan in plans.items() if "slice IN" in statement for step in plan if "tasks" in step]
    assert all("tasks_by_slice" in step for step in looks)
    assert bool(looks) == bool(unread)


def test_needy_tasks_are_searched_once_for_a_page_and_once_to_count_them(ledger: Ledger, filled: Claim) -> None:
    assert filled.stems
    moment, needy = Moment(NOW + 20 * DAY, DAY), TaskFilter(needs_person=True)
    for work in (
        lambda: ledger.listings.page(needy, TaskOrder.NEWEST, moment),
        lambda: ledger.listings.count(needy, moment),
    ):
        with _noted(ledger) as statements:
            work()
        assert sum("refused" in statement or "UNION" in statement for statement, _ in statements) == 1
