"""All that is SQLite's own: its file, its PRAGMAs, how it begins a transaction."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from archiver.adapters.ledger.database.base import APPLICATION_ID
from archiver.adapters.ledger.schema.migrate import HEAD, WRITES, is_older, migrate
from archiver.adapters.ownership import give_to_owner_of_folder, make_folder
from archiver.core.errors import LedgerFault
from archiver.ports.runtime import Checkpoint

_WAL_PAGES = 1000
_WAL_LIMIT = 16 * 1024 * 1024
_CACHE_KIB = 8 * 1024
_LOCK_POLL = 0.05
_OUT_OF_SIGHT = ("cannot be looked at", "run it as the service's user, or give this one the right to read its folder")


class SqliteFile:
    """A Database in a file on this machine's disk; where it `keeps`, a migration leaves a copy of before beside it."""

    def __init__(self, path: Path, patience: timedelta, *, keeps: bool = True) -> None:
        self.where = str(path)
        self.engine = sqlite_engine(URL.create("sqlite", database=str(path)), patience)
        self._path = path
        self._patience = patience
        self._keeps = keeps
        self._identity: tuple[int, int] | None = None
        self._writers: dict[bool, Connection] = {}
        """By `passing`. They are kept: to get one ready takes as long as to write a line."""

    def stands(self) -> bool:
        """Return whether the file is there and holds something; raise LedgerFault where that cannot be seen."""
        try:
            return self._path.stat().st_size > 0
        except FileNotFoundError:
            return False
        except NotADirectoryError as error:
            raise _no_such_place(self._path, "opened", error) from error
        except OSError as error:
            what, hint = _OUT_OF_SIGHT
            raise LedgerFault(f"the ledger {self._path} {what}: {error.strerror}", hint) from error

    def prepare(self, checkpoint: Checkpoint, *, schema: str = HEAD) -> None:
        """Create the file where there is none, make it ours and migrate it, one process at a time."""
        create_file(self._path)
        with one_at_a_time(self._path, self._patience):
            adopt(self.engine, self._path)
            checkpoint("ledger.adopted")
            if self._keeps and is_older(self.engine):
                from archiver.adapters.ledger.older import keep_copy  # noqa: PLC0415 - for a migration alone

                keep_copy(self.engine, self._path, checkpoint)
            migrate(self.engine, self.where, checkpoint, to=schema)
        self._identity = identity(self._path)

    def close(self) -> None:
        """Close every connection; the last process to do so folds the write-ahead log into the file."""
        while self._writers:
            self._writers.popitem()[1].close()
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read what was committed before, beside whoever writes."""
        try:
            with self.engine.connect() as db, db.begin():
                yield db
        except DBAPIError:
            # Of a file that took the place of ours it would be said that a table is missing.
            if self._identity is not None:
                self._refuse_if_gone()
            raise

    @contextmanager
    def writing(self, *, passing: bool = False) -> Iterator[Connection]:
        """See Database; other processes wait meanwhile."""
        db = self._writers.get(passing) or self._open_writer(passing=passing)
        try:
            with db.begin():
                self._refuse_if_gone()
                yield db
        except BaseException:
            # A commit that fails may leave its transaction open; `close` may have taken the connection meanwhile.
            self._writers.pop(passing, None)
            if not db.closed:
                db.invalidate()
            raise

    def _open_writer(self, *, passing: bool) -> Connection:
        db = self._writers[passing] = self.engine.connect().execution_options(**{WRITES: True})
        with closing(db.connection.cursor()) as cursor:
            cursor.execute(f"PRAGMA synchronous = {'NORMAL' if passing else 'FULL'}")
        return db

    def _refuse_if_gone(self) -> None:
        """Raise LedgerFault where the file was deleted or replaced: what is written then is kept by nobody."""
        if identity(self._path) != self._identity:
            raise LedgerFault(
                f"the ledger {self.where} was deleted or replaced while it was in use",
                "stop all that uses it, and restore it from a backup if there is one; "
                "in a new one the queue file is read from its start",
            )


def sqlite_engine(url: URL, patience: timedelta) -> Engine:
    """An engine whose transactions are durable and, when they write, serial from the first statement."""
    engine = create_engine(url, hide_parameters=True, pool_size=4, max_overflow=-1, pool_use_lifo=True)

    def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # None: the driver must not begin transactions by itself, `begin` below does.
        connection.isolation_level = None
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {patience // timedelta(milliseconds=1)}")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
            cursor.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
            cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")

    def begin(db: Connection) -> None:
        with closing(db.connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE" if db.get_execution_options().get(WRITES, False) else "BEGIN")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", begin)
    return engine


def create_file(path: Path) -> None:
    """Create the folder 0700 and the file 0600 where they are missing; -wal and -shm take its mode and owner."""
    try:
        make_folder(path.parent)
        with suppress(FileExistsError):
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                give_to_owner_of_folder(handle, path.parent)
            finally:
                os.close(handle)
    except OSError as error:
        raise _no_such_place(path, "created", error) from error


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from any other, whatever their names; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def one_at_a_time(path: Path, patience: timedelta) -> Iterator[None]:
    """Keep other processes from starting on `path` meanwhile; the kernel ends it should we die.

    The lock is on the folder: closing a second descriptor of the database file itself would drop
    SQLite's own locks on it.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _no_such_place(path, "created", error) from error
    try:
        _lock(folder, path, patience)
        yield
    finally:
        os.close(folder)


def _lock(folder: int, path: Path, patience: timedelta) -> None:
    give_up = time.monotonic() + patience.total_seconds()
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= give_up:
                raise LedgerFault(
                    f"another process has been starting on the ledger {path} for too long",
                    "wait for its migration to end, or stop that process",
                ) from error
            time.sleep(_LOCK_POLL)
        else:
            return


def adopt(engine: Engine, path: Path) -> None:
    """Mark an empty file as ours and switch it to WAL; raise LedgerFault, touching nothing, for a foreign one."""
    with closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
        mark = _one(cursor.execute("PRAGMA application_id"))
        if mark != APPLICATION_ID:
            if mark != 0 or _one(cursor.execute("SELECT count(*) FROM sqlite_master")) != 0:
                raise LedgerFault(
                    f"{path} is another program's database",
                    "set ledger.url to a file of its own; this one was left as it is",
                )
            cursor.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        mode = _one(cursor.execute("PRAGMA journal_mode = WAL"))
        if mode != "wal":
            raise LedgerFault(
                f"the file system of {path} cannot hold the ledger (journal mode {mode} instead of wal)",
                "put the ledger on a local disk, not on a network share",
            )


def _one(cursor: object) -> object:
    return next(iter(cursor))[0]  # type: ignore[call-overload]


def _no_such_place(path: Path, done: str, error: OSError) -> LedgerFault:
    return LedgerFault(
        f"the ledger {path} cannot be {done}: {error.strerror}",
        "check that ledger.url names a file in a folder the service can write to",
    )
