"""Backups: written from one moment of a ledger that is worked on, and taken back into an empty one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, delete, exists, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from archiver.adapters.ledger.database.base import Database
from archiver.adapters.ledger.database.faults import translated
from archiver.adapters.ledger.database.sqlite import SqliteFile
from archiver.adapters.ledger.database.transactions import LedgerPart
from archiver.adapters.ledger.every_row import (
    NamedRow,
    OnCopied,
    Tables,
    compare,
    fill,
    lock,
    parts_of,
    rows_of,
    tables_of,
    take_time,
)
from archiver.adapters.ledger.schema.migrate import HEAD, revision
from archiver.core.backup import BackupBroken, BackupReader, BackupRefused, BackupSummary, BackupWriter, Head, Scope
from archiver.ports.runtime import PATIENCE, Checkpoint, unobserved

Pieces = Callable[[], Iterable[bytes]]
"""Returns a backup's bytes, from the start each time."""

_REPLACED = (
    *("pauses", "cursors", "tallies", "task_counts"),
    *("faults", "fixity_checks", "fixity_reports", "rounds", "slices", "walks"),
)
"""Rows of these in a new ledger are worth nothing beside those of a backup."""


_BESIDE_OTHERS = 250
"""Rows written at a time: a thread that waits for its turn waits no longer than they take, some milliseconds."""
_OF_VALUES = ("22", "23")
"""The beginnings of PostgreSQL's SQLSTATEs that are about the values, and not about the server."""


class SqlBackups(LedgerPart):
    """The Backups of `ports.backups` in a SQL database."""

    def write(
        self,
        scope: Scope,
        out: Callable[[bytes], object],
        *,
        now: datetime,
        version: str,
        rest: Callable[[], object] = lambda: None,
    ) -> BackupSummary:
        """See Backups."""
        with self._db.read() as db:
            return write_backup(db, scope, out, now=now, version=version, rest=rest)


def write_backup(
    db: Connection,
    scope: Scope,
    out: Callable[[bytes], object],
    *,
    now: datetime,
    version: str,
    rest: Callable[[], object] = lambda: None,
) -> BackupSummary:
    """Write all that the transaction sees of the scope; see Backups."""
    take_time(db)
    tables = tables_of(db)
    columns = {name: tuple(table.c.keys()) for name, table in tables.items()}
    writer = BackupWriter(Head(scope, revision(db) or "", now, version, columns), out)
    for name, parts in parts_of(db, tables, scope, _BESIDE_OTHERS):
        for part in parts:
            writer.add(name, part)
            rest()
    return writer.close()


@dataclass(frozen=True, slots=True)
class Restoring:
    """Takes a backup into an empty ledger: in one transaction, at whose end every row is compared.

    Checkpoints: restore.checked, restore.staged (of an older schema), restore.filled, restore.compared,
    restore.committed.
    """

    pieces: Pieces
    target: Database
    progress: OnCopied
    checkpoint: Checkpoint = unobserved

    def restore(self, *, keep_schema: bool = False) -> BackupSummary:
        """Return what was restored; `keep_schema` leaves the schema as it was, for an older version.

        Raises BackupBroken, BackupRefused or LedgerFault, with nothing restored.
        """
        summary = BackupReader(self.pieces()).check()
        self.checkpoint("restore.checked")
        schema = summary.head.schema
        _refuse_unfit(summary.head)
        if keep_schema or schema == HEAD:
            with translated(self.target.where):
                self.target.prepare(unobserved, schema=schema)
            self._take(partial(_rows, self.pieces))
        else:
            with _staged(self.pieces, schema) as staged, staged.reading() as old:
                self.checkpoint("restore.staged")
                with translated(self.target.where):
                    self.target.prepare(unobserved)
                self._take(lambda tables: rows_of(old, tables))
        self.checkpoint("restore.committed")
        return summary

    def _take(self, rows: Callable[[Tables], Iterator[NamedRow]]) -> None:
        with translated(self.target.where), self.target.writing() as new:
            take_time(new)
            tables = tables_of(new)
            lock(new, tables)
            _refuse_full(new, tables, self.target.where)
            _fill(new, tables, rows(tables), self.progress)
            self.checkpoint("restore.filled")
            compare(rows(tables), rows_of(new, tables), self.target.where)
            self.checkpoint("restore.compared")


def _refuse_unfit(head: Head) -> None:
    from archiver.adapters.ledger.schema import upgrade  # noqa: PLC0415 - Alembic would be a fifth of every start

    if head.scope is not Scope.WHOLE:
        raise BackupRefused(
            "this backup holds open tasks alone",
            "`stem-archiver rebuild` reads such a one by itself from the bucket, and all that ended from the manifests",
        )
    if not upgrade.knows(head.schema):
        raise _newer(head)


def fill_open(new: Connection, pieces: Pieces) -> Head:
    """Take a backup of open tasks into a ledger that has none; return its head.

    Raises BackupBroken and BackupRefused. The totals of stems are not moved.
    """
    from archiver.adapters.ledger.schema import upgrade  # noqa: PLC0415 - Alembic would be a fifth of every start

    head = BackupReader(pieces()).check().head
    if not upgrade.knows(head.schema):
        raise _newer(head)
    tables = tables_of(new)
    if head.schema == HEAD:
        _fill(new, tables, _rows(pieces, tables), lambda _table, _count: None)
        return head
    with _staged(pieces, head.schema) as staged, staged.reading() as old:
        _fill(new, tables, rows_of(old, tables), lambda _table, _count: None)
    return head


def _newer(head: Head) -> BackupRefused:
    return BackupRefused(
        f"this backup was written by a newer version ({ascii(head.archiver)[1:-1]}, schema {head.schema!a})",
        "restore it with that version or a later one",
    )


def _refuse_full(new: Connection, tables: Tables, where: str) -> None:
    filled = [
        name for name, table in tables.items() if name not in _REPLACED and new.scalar(select(exists(table.select())))
    ]
    held = tables["pauses"].c.get("held")
    if held is not None and new.scalar(select(exists().where(held))):
        filled.append("pauses")
    if filled:
        raise BackupRefused(
            f"the ledger {where} is not empty ({', '.join(filled)})",
            "restore into a new one: set ledger.url to it; what is in this one was left as it is",
        )


def _fill(new: Connection, tables: Tables, rows: Iterator[NamedRow], progress: OnCopied) -> None:
    """Replace what a new ledger has; raise BackupBroken for rows that no ledger can have had."""
    for name in (each for each in _REPLACED if each in tables):
        new.execute(delete(tables[name]))
    try:
        fill(new, tables, rows, progress)
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        if not isinstance(error, IntegrityError | DataError) and not state.startswith(_OF_VALUES):
            raise
        raise BackupBroken("a row of it breaks the ledger's rules") from error
    except (StatementError, ValueError, TypeError, OverflowError) as error:
        raise BackupBroken(f"a row of it can stand in no ledger ({type(error).__name__})") from error


@contextmanager
def _staged(pieces: Pieces, schema: str) -> Iterator[Database]:
    """Fill a ledger of that schema in a temporary folder, and bring it to the present one."""
    with TemporaryDirectory(prefix="stem-archiver-") as folder:
        path = Path(folder, "older.db")
        with closing(SqliteFile(path, PATIENCE, keeps=False)) as older:
            with translated(older.where):
                older.prepare(unobserved, schema=schema)
                with older.writing() as db:
                    _fill(db, tables_of(db), _rows(pieces, tables_of(db)), lambda _table, _count: None)
                older.prepare(unobserved)
            yield older


def _rows(pieces: Pieces, tables: Tables) -> Iterator[NamedRow]:
    """Return the rows of a backup of these tables."""
    reader = BackupReader(pieces())
    if dict(reader.head.tables) != {name: tuple(table.c.keys()) for name, table in tables.items()}:
        raise BackupBroken("its tables are not those of its schema")
    return reader.rows()
