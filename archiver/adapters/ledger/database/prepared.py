"""Prepared statements: compiled once, and on SQLite run without SQLAlchemy's part of each execution.

That part takes several times what SQLite takes for the statement itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import BindParameter, Connection, Delete, Insert, Row, Select, Update
from sqlalchemy.engine import Dialect, result_tuple
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Found: TypeAlias = "Row[*tuple[Any, ...]]"
Values: TypeAlias = Mapping[str, Any]
Statement: TypeAlias = "Select[*tuple[Any, ...]] | Insert | Update | Delete"
T = TypeVar("T")
_Process: TypeAlias = Callable[[Any], Any] | None


class Prepared:
    """A statement; what its methods do is what `Connection.execute` would."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self._plans: dict[tuple[str, ...], _Plan | None] = {}
        """By the names of the values, of which an INSERT or UPDATE makes its columns."""

    def all(self, db: Connection, values: Values) -> Sequence[Found]:
        """Return the rows."""
        plan = self._plan(db, values)
        if plan is None:
            return db.execute(self._statement, values).all()
        return [plan.row(raw) for raw in plan.run(db, [values], sqlite3.Cursor.fetchall)]

    def first(self, db: Connection, values: Values) -> Found | None:
        """Return the first row, if there is one."""
        plan = self._plan(db, values)
        if plan is None:
            return db.execute(self._statement, values).first()
        raw = plan.run(db, [values], _first_of)
        return None if raw is None else plan.row(raw)

    def write(self, db: Connection, *rows: Values) -> None:
        """Run it with each of `rows`, at least one, which name the same values."""
        plan = self._plan(db, rows[0])
        if plan is None:
            db.execute(self._statement, list(rows))
        else:
            plan.run(db, rows, sqlite3.Cursor.close)

    def _plan(self, db: Connection, values: Values) -> _Plan | None:
        """Return how SQLite is to run it; None for another database, or where lists are among the values."""
        if db.dialect.name != "sqlite":
            return None
        names = tuple(values)
        if names not in self._plans:
            compiled = self._statement.compile(dialect=db.dialect, column_keys=list(names))
            has_lists = any(bind.expanding for bind in compiled.binds.values())
            self._plans[names] = None if has_lists else _Plan(self._statement, compiled, names)
        return self._plans[names]


class _Plan:
    """A statement as SQLite takes it: its text, the places of its values, and what makes rows of what it answers."""

    def __init__(self, statement: Statement, compiled: SQLCompiler, names: Sequence[str]) -> None:
        dialect = compiled.dialect
        self._text = str(compiled)
        self._places = [_place(compiled.binds[name], name in names, dialect) for name in compiled.positiontup or ()]
        columns = (
            statement.column_descriptions if isinstance(statement, Select) else statement.returning_column_descriptions
        )
        self._made = result_tuple([column["name"] for column in columns])
        processes = [_impl(column["type"], dialect).result_processor(dialect, None) for column in columns]
        self._processed = [(at, process) for at, process in enumerate(processes) if process is not None]

    def run(self, db: Connection, rows: Sequence[Values], take: Callable[[sqlite3.Cursor], T]) -> T:
        """Run it for each of `rows` and return what `take` takes of the answer; raise DBAPIError."""
        raw: sqlite3.Connection = db.connection.driver_connection  # type: ignore[assignment]  # any driver's
        bound = [self._bound(row) for row in rows]
        for note in db.dispatch.before_cursor_execute:
            note(db, None, self._text, bound[0], None, len(bound) > 1)
        try:
            return take(raw.execute(self._text, bound[0]) if len(bound) == 1 else raw.executemany(self._text, bound))
        except sqlite3.Error as error:
            raise DBAPIError.instance(self._text, None, error, sqlite3.Error, hide_parameters=True) from error

    def row(self, raw: tuple[Any, ...]) -> Found:
        """Return a row as SQLAlchemy would."""
        cells = list(raw)
        for at, process in self._processed:
            cells[at] = process(cells[at])
        return self._made(cells)

    def _bound(self, values: Values) -> tuple[Any, ...]:
        return tuple(
            constant if name is None else values[name] if process is None else process(values[name])
            for name, process, constant in self._places
        )


def _first_of(cursor: sqlite3.Cursor) -> tuple[Any, ...] | None:
    with closing(cursor):
        raw: tuple[Any, ...] | None = cursor.fetchone()
    return raw


def _place(bind: BindParameter[Any], given: bool, dialect: Dialect) -> tuple[str | None, _Process, Any]:
    process = _impl(bind.type, dialect).bind_processor(dialect)
    if given:
        return bind.key, process, None
    value = bind.effective_value
    return None, None, value if process is None else process(value)


def _impl(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return kind.dialect_impl(dialect)
