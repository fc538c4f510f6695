"""A SQLite ledger for readers alone: no byte of it is written, and no statement runs for long."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from archiver.adapters.ledger.database.sqlite import SqliteFile, identity
from archiver.adapters.ledger.schema.migrate import HEAD, require_current
from archiver.core.errors import LedgerFault
from archiver.ports.runtime import Checkpoint

_LOOK_EVERY = 20_000
"""Steps of SQLite's machine from one look at the clock to the next: some milliseconds."""

_CACHE_KIB = 4 * 1024


class ReadOnlyFile:
    """A Database in a file that others write; `writing` raises LedgerFault."""

    def __init__(self, path: Path, patience: timedelta, connections: int) -> None:
        self.where = str(path)
        self._path = path
        self._patience = patience.total_seconds()
        self._identity: tuple[int, int] | None = None
        self.engine = create_engine(
            "sqlite://",
            creator=self._connected,
            poolclass=QueuePool,
            hide_parameters=True,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=self._patience,
            pool_use_lifo=True,
        )
        event.listen(self.engine, "begin", self._begin)
        event.listen(self.engine, "checkin", _end_of_limit)

    def stands(self) -> bool:
        """Return whether the file is there and holds something; raise LedgerFault where that cannot be seen."""
        return SqliteFile(self._path, timedelta(seconds=self._patience)).stands()

    def prepare(self, checkpoint: Checkpoint, *, schema: str = HEAD) -> None:
        """Look at the schema; raise LedgerFault where it is another."""
        del checkpoint, schema
        self._identity = identity(self._path)
        with self.engine.connect() as db:
            require_current(db, self.where)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read what was committed before, beside whoever writes."""
        if identity(self._path) != self._identity:
            # Another file in its place is another ledger, perhaps of another schema.
            self.engine.dispose()
            self.prepare(lambda _: None)
        try:
            with self.engine.connect() as db, db.begin():
                yield db
        except DBAPIError as error:
            if "interrupted" in str(error.orig):
                hint = "the machine is busy, or the ledger large: try again"
                raise LedgerFault(f"the ledger {self.where} took longer than {self._patience:g} s", hint) from error
            raise

    def writing(self, *, passing: bool = False) -> AbstractContextManager[Connection]:
        """Raise LedgerFault: nobody writes here."""
        del passing
        raise LedgerFault(f"the ledger {self.where} is open for reading alone", "this is a bug worth reporting")

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=ro", uri=True, timeout=self._patience, check_same_thread=False
        )
        connection.isolation_level = None
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        return connection

    def _begin(self, db: Connection) -> None:
        ends = time.monotonic() + self._patience
        raw = db.connection.driver_connection
        if isinstance(raw, sqlite3.Connection):
            raw.set_progress_handler(lambda: time.monotonic() > ends, _LOOK_EVERY)
            raw.execute("BEGIN")


def _end_of_limit(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.set_progress_handler(None, 0)
