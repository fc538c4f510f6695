"""Every row of a ledger, in an order that is the same everywhere: read, written into another one, and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, islice, takewhile, zip_longest
from operator import itemgetter, ne
from typing import Any, TypeAlias

from sqlalchemy import Column as SqlColumn
from sqlalchemy import (
    Connection,
    MetaData,
    Select,
    String,
    Table,
    collate,
    func,
    inspect,
    null,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from archiver.adapters.ledger.database.base import NUL
from archiver.adapters.ledger.schema import faults, fixity, standing  # noqa: F401 - their tables are of the same metadata
from archiver.adapters.ledger.schema.tables import (
    enlisted,
    metadata,
    owners,
    permits,
    processes,
    proofs,
    rates,
    writers,
)
from archiver.core.backup import Scope
from archiver.core.errors import LedgerFault

AT_ONCE = 2000
"""Rows held in memory."""

Tables: TypeAlias = Mapping[str, Table]
"""By name, what is referred to first."""
NamedRow: TypeAlias = tuple[str, Sequence[Any]]
"""The name of its table, and its values."""
OnCopied: TypeAlias = Callable[[str, int], None]
"""Called with the name of each table once its rows are copied, and their number."""

_OF_PROCESSES = {writers, rates, permits, processes, proofs, enlisted, owners}
_OF_LEASES = {"token", "owner", "leased_until"}
_OF_TASKS = {"tasks", "stems", "tracks", "history"}
_KEPT = tuple(table.name for table in metadata.sorted_tables if table not in _OF_PROCESSES)


def tables_of(db: Connection) -> Tables:
    """Return the tables as they stand there, of whatever schema, but for what is of processes only."""
    look = inspect(db)
    there = set(look.get_table_names())
    return {name: _table(look, name) for name in _KEPT if name in there}


def _table(look: Any, name: str) -> Table:  # noqa: ANN401 - SQLAlchemy's Inspector
    keys = set(look.get_pk_constraint(name)["constrained_columns"])
    columns = [
        SqlColumn(each["name"], each["type"], primary_key=each["name"] in keys) for each in look.get_columns(name)
    ]
    return Table(name, MetaData(), *columns)


def rows_of(db: Connection, tables: Tables, scope: Scope | None = None) -> Iterator[NamedRow]:
    """Yield the rows of a scope, else all, table by table; but for open ones in the order of their keys' bytes."""
    for name, parts in parts_of(db, tables, scope):
        for part in parts:
            yield from ((name, row) for row in part)


def parts_of(
    db: Connection, tables: Tables, scope: Scope | None = None, at_once: int = AT_ONCE
) -> Iterator[tuple[str, Iterator[Sequence[Sequence[Any]]]]]:
    """Yield each table's name and its rows, some at a time."""
    for name in tables:
        if (wanted := _select(db, tables, name, scope)) is not None:
            with db.execute(wanted.execution_options(yield_per=at_once)) as found:
                yield name, found.partitions()


def _select(db: Connection, tables: Tables, name: str, scope: Scope | None) -> Select[Any] | None:
    """Return what reads the rows of a table that belong to the scope; None where there are none."""
    table = tables[name]
    if scope is None:
        return select(table).order_by(*_in_order(db, table))
    wanted = select(*(null().label(each.name) if _is_of_lease(name, each.name) else each for each in table.c))
    if name == "pauses":
        held = table.c.get("held")
        return None if held is None else wanted.where(held).order_by(*_in_order(db, table))
    if scope is Scope.WHOLE or name in {"rejects", "dropped_rejects"}:
        return wanted.order_by(*_in_order(db, table))
    return _select_open(db, tables["tasks"], table, wanted) if name in _OF_TASKS else None


def _select_open(db: Connection, tasks: Table, table: Table, wanted: Select[Any]) -> Select[Any]:
    """Return the rows of open tasks, in the order of the index that knows only those: what ended costs nothing."""
    order = [tasks.c.stage, tasks.c.urgency, tasks.c.task_id, *_in_order(db, table)]
    if table is not tasks:
        wanted = wanted.select_from(tasks.join(table, tasks.c.task_id == table.c.task_id))
    return wanted.where(tasks.c.ended_at.is_(None)).order_by(*order)


def _is_of_lease(table: str, column: str) -> bool:
    return table in {"tasks", "slices"} and column in _OF_LEASES


def _in_order(db: Connection, table: Table) -> list[Any]:
    """Return the key, which is sorted by its bytes: that is the same everywhere."""
    bytewise = db.dialect.name == "postgresql"
    return [collate(key, "C") if bytewise and isinstance(key.type, String) else key for key in table.primary_key]


def take_time(db: Connection) -> None:
    """Let one side wait while the other sorts, writes, or stands still."""
    if db.dialect.name == "postgresql":
        db.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def lock(new: Connection, tables: Iterable[str]) -> None:
    """Keep others from writing meanwhile; on SQLite the transaction does."""
    if new.dialect.name == "postgresql":
        new.execute(text(f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE"))


def fill(new: Connection, tables: Tables, rows: Iterable[NamedRow], progress: OnCopied) -> Mapping[str, int]:
    """Write the rows, which come in the order of `tables`; return their number by table."""
    counts = dict.fromkeys(tables, 0)
    left = iter(tables)
    for name, group in groupby(rows, key=itemgetter(0)):
        for empty in takewhile(partial(ne, name), left):
            progress(empty, 0)
        values = (row for _, row in group)
        while part := list(islice(values, AT_ONCE)):
            write(new, tables[name], tables[name].c.keys(), part)
            counts[name] += len(part)
        progress(name, counts[name])
    for empty in left:
        progress(empty, 0)
    _number_on(new, tables)
    return counts


def write(new: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write rows of the values of those columns: as they are, without SQLAlchemy's work for each value."""
    named = [table.c[name] for name in columns]
    types = [column.type.dialect_impl(new.dialect).bind_processor(new.dialect) for column in named]
    in_columns = zip(types, zip(*rows, strict=True), strict=True)
    write_plain(
        new, table, columns, zip(*(map(kind, each) if kind else each for kind, each in in_columns), strict=True)
    )


def write_plain(new: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows of the values of those columns, which are such as the database keeps."""
    names = ", ".join(f'"{name}"' for name in columns)
    if new.dialect.name == "postgresql":
        _stream(new, f"COPY {table.name} ({names}) FROM STDIN", rows)
        return
    places = ", ".join("?" * len(columns))
    new.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({places})", list(rows))  # noqa: S608 - our names


def _stream(new: Connection, statement: str, rows: Iterable[Sequence[Any]]) -> None:
    """Write by COPY, which takes a third of the time of INSERTs."""
    driver: Any = new.connection.dbapi_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copied:
            for row in rows:
                copied.write_row(row)
    except new.dialect.loaded_dbapi.Error as error:  # which SQLAlchemy does not wrap, here
        raise DBAPIError("COPY", {}, error) from error


def _number_on(new: Connection, tables: Tables) -> None:
    """Let new rows be numbered after those that were copied with their numbers; SQLite does so by itself."""
    if new.dialect.name != "postgresql":
        return
    for table in tables.values():
        if "id" in table.c:
            sequence = func.pg_get_serial_sequence(table.name, "id")
            new.execute(select(func.setval(sequence, func.coalesce(func.max(table.c.id), 0) + 1, False)))


def compare(originals: Iterable[NamedRow], copies: Iterable[NamedRow], where: str) -> int:
    """Return how many rows there are; raise LedgerFault unless both are the same."""
    compared: Counter[str] = Counter()
    for mine, copied in zip_longest(originals, copies):
        name, _ = either = mine or copied
        compared[name] += 1
        if mine is None or copied is None or copied[0] != name or _kept(mine[1]) != _kept(copied[1]):
            raise LedgerFault(
                f"the copy of {either[0]} in {where} differs from the original in row {compared[name]}",
                "nothing was copied, and the original is whole; look for a trigger or program that writes there",
            )
    return compared.total()


def _kept(row: Sequence[object]) -> list[object]:
    """Return the row as either database keeps it."""
    return [value.replace("\0", NUL) if isinstance(value, str) else value for value in row]
