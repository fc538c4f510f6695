"""Copying of a whole ledger from one database into another, empty one, of whatever kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any

from sqlalchemy import Connection, Result, String, Table, collate, delete, exists, func, insert, or_, select, text
from sqlalchemy.exc import DBAPIError

from archiver.adapters.ledger.database.base import NUL, Database
from archiver.adapters.ledger.database.faults import translated
from archiver.adapters.ledger.rows import AnyRow
from archiver.adapters.ledger.schema.tables import (
    metadata,
    owners,
    permits,
    processes,
    proofs,
    rates,
    tallies,
    tasks,
    writers,
)
from archiver.core.errors import LedgerFault
from archiver.ports.runtime import unobserved

TABLES = tuple(table for table in metadata.sorted_tables if table not in {writers, rates, permits, processes, proofs})
"""All that a ledger knows, what is referred to first. The others are of processes only, or found out anew."""

_AT_ONCE = 2000
"""Rows held in memory."""

OnCopied = Callable[[str, int], None]
"""Called with the name of each table once its rows are copied, and their number."""


def copy(source: Database, target: Database, *, now: datetime, progress: OnCopied) -> Mapping[str, int]:
    """Copy every row, compare all of it, and commit; return the number of rows by table.

    The source, which nobody may be working on, is brought to the present schema and else left as it is. The target
    must be empty; it is written in one transaction. Raises LedgerFault, with nothing copied.
    """
    with translated(source.where):
        if not source.stands():
            raise LedgerFault(f"there is no ledger at {source.where}", "name the one to copy first, then the new one")
        source.prepare(unobserved)
    with translated(target.where):
        target.prepare(unobserved)
    both = f"{target.where} (copied from {source.where})"
    with translated(both), target.writing() as new, source.reading() as old:
        _take_time(old)
        _take_time(new)
        _refuse_busy(old, source.where, now)
        _lock(new)
        _refuse_full(new, target.where)
        new.execute(delete(tallies))
        counts = {table.name: _copy_table(old, new, table, progress) for table in TABLES}
        _number_on(new)
        for table in TABLES:
            _compare(old, new, table, counts[table.name], target.where)
    return counts


def _take_time(db: Connection) -> None:
    """Let one side wait while the other sorts or writes."""
    if db.dialect.name == "postgresql":
        db.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def _refuse_busy(old: Connection, where: str, now: datetime) -> None:
    working = or_(
        exists().where(owners.c.alive_until > now),
        exists().where(tasks.c.leased_until > now),
    )
    if not old.scalar(select(working)):
        return
    until = old.scalar(select(func.max(owners.c.alive_until))) or old.scalar(select(func.max(tasks.c.leased_until)))
    raise LedgerFault(
        f"the ledger {where} is being worked on",
        "stop `run` and `backfill` on every machine. What was killed counts as working "
        f"until {until:%Y-%m-%d %H:%M:%S} UTC, or until the service was started and stopped once more",
    )


def _lock(new: Connection) -> None:
    """Keep others from writing meanwhile; on SQLite the transaction does."""
    if new.dialect.name == "postgresql":
        new.execute(text(f"LOCK TABLE {', '.join(table.name for table in TABLES)} IN EXCLUSIVE MODE"))


def _refuse_full(new: Connection, where: str) -> None:
    filled = [table.name for table in TABLES if table is not tallies and new.scalar(select(exists(table.select())))]
    if filled or new.scalar(select(exists().where(tallies.c.stems > 0))):
        raise LedgerFault(
            f"the ledger {where} is not empty ({', '.join(filled or ['tallies'])})",
            "copy into a new database; what is in this one was left as it is",
        )


def _copy_table(old: Connection, new: Connection, table: Table, progress: OnCopied) -> int:
    count = 0
    write = _stream if new.dialect.name == "postgresql" else _insert
    with _in_order(old, table) as found:
        for rows in found.partitions():
            write(new, table, rows)
            count += len(rows)
    progress(table.name, count)
    return count


def _insert(new: Connection, table: Table, rows: Sequence[AnyRow]) -> None:
    names = table.c.keys()
    new.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])


def _stream(new: Connection, table: Table, rows: Sequence[AnyRow]) -> None:
    """Write by COPY, which takes a third of the time of INSERTs."""
    types = [column.type.dialect_impl(new.dialect).bind_processor(new.dialect) for column in table.c]
    names = ", ".join(f'"{column.name}"' for column in table.c)
    driver: Any = new.connection.dbapi_connection
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copied:
            for row in rows:
                copied.write_row([kind(value) if kind else value for kind, value in zip(types, row, strict=True)])
    except new.dialect.loaded_dbapi.Error as error:  # which SQLAlchemy does not wrap, here
        raise DBAPIError("COPY", {}, error) from error


def _in_order(db: Connection, table: Table) -> Result[Any]:
    """Return all rows, a part at a time, by their key in the order of its bytes: that is the same everywhere."""
    bytewise = db.dialect.name == "postgresql"
    keys = [collate(key, "C") if bytewise and isinstance(key.type, String) else key for key in table.primary_key]
    return db.execute(select(table).order_by(*keys).execution_options(yield_per=_AT_ONCE))


def _number_on(new: Connection) -> None:
    """Let new rows be numbered after those that were copied with their numbers; SQLite does so by itself."""
    if new.dialect.name != "postgresql":
        return
    for table in TABLES:
        if "id" in table.c:
            sequence = func.pg_get_serial_sequence(table.name, "id")
            new.execute(select(func.setval(sequence, func.coalesce(func.max(table.c.id), 0) + 1, False)))


def _compare(old: Connection, new: Connection, table: Table, count: int, where: str) -> None:
    """Raise LedgerFault unless both hold the same rows, and as many as were copied."""
    compared = 0
    with _in_order(old, table) as originals, _in_order(new, table) as copies:
        for mine, copied in zip_longest(originals, copies):
            compared += 1
            if mine is None or copied is None or _kept(mine) != _kept(copied):
                raise LedgerFault(
                    f"the copy of {table.name} in {where} differs from the original in row {compared}",
                    "nothing was copied, and the original is whole; look for a trigger or program that writes there",
                )
    if compared != count:
        raise LedgerFault(f"{count} rows of {table.name} were copied, {compared} stand there", "nothing was copied")


def _kept(row: AnyRow) -> list[object]:
    """Return the row as either database keeps it."""
    return [value.replace("\0", NUL) if isinstance(value, str) else value for value in row]
