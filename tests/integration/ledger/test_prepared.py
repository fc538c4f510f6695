"""Prepared statements: on SQLite they mean what SQLAlchemy's own execution would."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, bindparam, event, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from archiver.adapters.ledger import SqlLedger
from archiver.adapters.ledger.database.prepared import Prepared
from archiver.adapters.ledger.schema.tables import history, tallies
from archiver.core.states import StemState

MOMENT = datetime(2026, 11, 29, 1, 2, 3, 456789, tzinfo=UTC)
LINE: Mapping[str, object] = {
    "task_id": "a" * 32,
    "stem": None,
    "at": MOMENT,
    "event": "LISTED",
    "before": "QUEUED",
    "after": "LISTED",
    "detail": {"stems": 2, "ü": [None, True]},
}
LINES = select(history).where(history.c.task_id == bindparam("its_task")).order_by(history.c.id)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Connection]:
    ledger = SqlLedger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    with ledger.db.write() as db:
        db.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        yield db
        db.rollback()
    ledger.close()


def test_rows_written_and_read_have_the_types_of_their_columns(db: Connection) -> None:
    Prepared(insert(history)).write(db, LINE, {**LINE, "stem": "vocal"})

    found = Prepared(LINES).all(db, {"its_task": LINE["task_id"]})

    assert [tuple(row) for row in found] == [tuple(row) for row in db.execute(LINES, {"its_task": LINE["task_id"]})]
    assert (found[0].at, found[0].detail, found[1].stem) == (MOMENT, LINE["detail"], "vocal")


def test_the_first_row_is_none_where_there_is_none(db: Connection) -> None:
    assert Prepared(LINES).first(db, {"its_task": "nobody"}) is None


def test_values_that_stand_in_the_statement_are_kept(db: Connection) -> None:
    more = Prepared(
        update(tallies)
        .where(tallies.c.state == StemState.STORED)
        .values(stems=tallies.c.stems + bindparam("count"))
        .returning(tallies.c.state, tallies.c.stems)
    )

    assert [tuple(row) for row in more.all(db, {"count": 3})] == [(StemState.STORED, 3)]
    assert [tuple(row) for row in more.all(db, {"count": 4})] == [(StemState.STORED, 7)]


def test_other_names_of_values_make_another_statement(db: Connection) -> None:
    stored = Prepared(update(tallies).where(tallies.c.state == StemState.STORED))
    stored.write(db, {"stems": 5})
    stored.write(db, {"bytes": 6})

    row = db.execute(select(tallies).where(tallies.c.state == StemState.STORED)).one()

    assert (row.stems, row.bytes) == (5, 6)


def test_a_list_among_the_values_is_taken(db: Connection) -> None:
    states = Prepared(select(tallies.c.state).where(tallies.c.state.in_(bindparam("states", expanding=True))))

    assert {row.state for row in states.all(db, {"states": [StemState.STORED, StemState.LOST]})} == {
        StemState.STORED,
        StemState.LOST,
    }


def test_a_broken_rule_is_raised_as_sqlalchemy_does(db: Connection) -> None:
    with pytest.raises(IntegrityError):
        Prepared(update(tallies)).write(db, {"stems": None})


def test_a_fault_in_the_midst_of_the_rows_is_raised_as_sqlalchemy_does(db: Connection) -> None:
    Prepared(insert(history)).write(db, *[LINE] * 500)
    raw = db.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    raw.set_progress_handler(lambda: True, 100)

    with pytest.raises(DBAPIError, match="interrupted"):
        Prepared(select(history)).all(db, {})


def test_listeners_hear_of_each_statement(db: Connection) -> None:
    heard: list[str] = []

    def note(_db: object, _cursor: object, statement: str, *_: object) -> None:
        heard.append(statement.split(maxsplit=1)[0])

    event.listen(db, "before_cursor_execute", note)
    Prepared(LINES).first(db, {"its_task": "nobody"})

    assert heard == ["SELECT"]
