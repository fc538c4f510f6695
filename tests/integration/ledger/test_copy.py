"""A whole ledger moved from one database into another, both ways."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import Result

from archiver.adapters.ledger.copying import TABLES
from archiver.app.ledger import copy_ledger
from archiver.commands.invocation import Exit
from archiver.core.errors import LedgerFault
from archiver.core.intake import Intake, Reject
from tests import FIXTURES
from tests.fixtures.ledgers import (
    DAY,
    NOW,
    accept,
    claim,
    engine_of,
    listed,
    overview,
    record,
    release,
    relisted,
    renew,
    rows,
    shown,
    stored,
    take_in,
    tid,
)
from tests.fixtures.postgres import PostgresServer
from tests.house import command, ledger_at

SCHEMAS = FIXTURES / "schemas"


def _content(url: str) -> dict[str, list[tuple[object, ...]]]:
    with engine_of(url) as engine, engine.connect() as db:
        return {table.name: sorted(map(tuple, db.execute(select(table))), key=repr) for table in TABLES}


def _quiet(_table: str, _rows: int) -> None:
    pass


@pytest.fixture(params=["0001", "0003"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A ledger with a row in every table and a task in every state, of this version or of an older one."""
    with closing(sqlite3.connect(tmp_path / "old.db")) as db:
        db.executescript((SCHEMAS / f"{request.param}.sql").read_text(encoding="utf-8"))
    return f"sqlite:///{tmp_path}/old.db"


@pytest.fixture
def full(tmp_path: Path) -> str:
    """A ledger that nobody works on."""
    url = f"sqlite:///{tmp_path}/full.db"
    with closing(ledger_at(url)) as ledger:
        mine = listed(ledger, 1, "vocal", "a-b", "a_c", "B")
        stored(ledger, mine, mine.stems[0].name)
        release(ledger)
        take_in(ledger, *range(2, 2500))
        accept(ledger, Intake(rejects=(Reject("q", 1, "bad", "no\0id"),)))
    return url


def test_a_ledger_is_the_same_after_a_copy_to_a_server_and_back(old: str, postgres_url: str, tmp_path: Path) -> None:
    back = f"sqlite:///{tmp_path}/back.db"
    there = copy_ledger(old, postgres_url, _quiet)
    assert _content(postgres_url) == _content(old)
    assert copy_ledger(postgres_url, back, _quiet) == there
    assert _content(back) == _content(old)
    assert there["tasks"] == 7
    assert sum(there.values()) == sum(map(len, _content(back).values()))


def test_a_copy_is_worked_on_as_the_original_would_have_been(full: str, postgres_url: str) -> None:
    copied: list[tuple[str, int]] = []
    copy_ledger(full, postgres_url, lambda table, count: copied.append((table, count)))
    assert ("tasks", 2499) in copied
    with closing(ledger_at(postgres_url)) as ledger:
        assert take_in(ledger, 1, 2, 9000) == [tid(9000)]
        again = Reject("q", 2, "worse", "no id")
        accept(ledger, Intake(rejects=(again,)))
        assert [reject.reason for reject in overview(ledger).rejects] == [
            "no\N{SYMBOL FOR NULL}id",
            "no id",
        ]
        mine = claim(ledger)
        relisted(ledger, mine, record("vocal"), NOW + DAY)
        assert [move.event for move in shown(ledger, 1).history] == ["listed", "stored"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_target_with_rows_is_refused_and_left_as_it_was(
    full: str, postgres_url: str, tmp_path: Path, kind: str
) -> None:
    target = postgres_url if kind == "postgresql" else f"sqlite:///{tmp_path}/other.db"
    with closing(ledger_at(target)) as ledger:
        take_in(ledger, 9)
    before = _content(target)
    with pytest.raises(LedgerFault, match=r"is not empty \(tasks\)"):
        copy_ledger(full, target, _quiet)
    assert _content(target) == before


def test_a_copy_onto_itself_is_refused(full: str) -> None:
    with pytest.raises(LedgerFault, match="is not empty"):
        copy_ledger(full, full, _quiet)


@pytest.mark.parametrize("source", ["sqlite:///{folder}/nowhere.db", "{empty}"])
def test_a_source_that_is_not_there_is_a_fault_and_nothing_is_made(
    postgres_url: str, tmp_path: Path, source: str
) -> None:
    with pytest.raises(LedgerFault, match="there is no ledger at"):
        copy_ledger(source.format(folder=tmp_path, empty=postgres_url), f"sqlite:///{tmp_path}/new.db", _quiet)
    assert list(tmp_path.iterdir()) == []
    assert rows(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_ledger_that_somebody_works_on_is_not_copied(full: str, postgres_url: str) -> None:
    with closing(ledger_at(full)) as ledger:
        renew(ledger, now=NOW + 1000 * DAY, lease=DAY)
        with pytest.raises(LedgerFault, match="is being worked on"):
            copy_ledger(full, postgres_url, _quiet)
        release(ledger)
        copy_ledger(full, postgres_url, _quiet)


def test_a_copy_that_is_cut_leaves_the_target_empty_and_is_done_the_next_time(full: str, postgres_url: str) -> None:
    def cut(table: str, _rows: int) -> None:
        if table == "stems":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_ledger(full, postgres_url, cut)
    assert rows(postgres_url, "SELECT count(*) FROM tasks") == [(0,)]
    assert copy_ledger(full, postgres_url, _quiet)["tasks"] == 2499


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE tasks SET source = 'else' WHERE task_id = 'task-002499'",
        "DELETE FROM rejects",
        "INSERT INTO cursors VALUES ('more', '1', '2', '', 0, 0) ON CONFLICT DO NOTHING",
    ],
)
def test_a_copy_that_differs_in_one_row_is_undone(
    full: str, postgres: PostgresServer, postgres_url: str, change: str
) -> None:
    """A trigger on the server stands for whatever changes rows on their way."""
    ledger_at(postgres_url).close()
    rows(
        postgres_url,
        f"""CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {change}; RETURN NULL; END $$;
        CREATE TRIGGER meddle AFTER INSERT ON stems FOR EACH STATEMENT EXECUTE FUNCTION meddle()""",
    )
    with pytest.raises(LedgerFault, match="differs from the original in row"):
        copy_ledger(full, postgres_url, _quiet)
    assert rows(postgres_url, "SELECT count(*) FROM tasks") == [(0,)]


def _called(*words: str) -> Result:
    return command("ledger", "copy", *words)


def test_the_command_prints_figures_and_no_password(full: str, postgres: PostgresServer, postgres_url: str) -> None:
    done = _called(full, postgres_url)
    assert done.exit_code == Exit.DONE
    assert "tasks: 2499 rows" in done.stdout
    assert "rows copied and compared in" in done.stdout
    again = _called(full, postgres_url)
    assert again.exit_code == Exit.PAUSED
    assert "is not empty" in again.stderr
    away = _called(full, postgres_url.replace(str(postgres.port), "1"))
    assert (away.exit_code, "cannot be reached" in away.stderr) == (Exit.PAUSED, True)
    assert postgres.password not in done.output + again.output + away.output
