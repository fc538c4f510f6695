"""All that is PostgreSQL's own: its connections, its locks, how it begins a transaction."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from archiver.adapters.ledger.database.base import APPLICATION_ID, NUL
from archiver.adapters.ledger.schema.migrate import HEAD, migrate, require_current
from archiver.adapters.ledger.schema.tables import metadata
from archiver.core.errors import LedgerFault
from archiver.ports.runtime import Checkpoint

_IDLE_CONNECTIONS = 4
_MORE_CONNECTIONS = 8
"""At once, over the idle ones: reads only, as a process writes one transaction at a time."""

_WRITES = "read-write"

_CONNECTION: Mapping[str, object] = {
    "application_name": "stem-archiver",
    "connect_timeout": 10,
    # A server that is gone without a word is noticed within a minute, not after hours.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    # Of several hosts the one that takes writes; a standby alone is refused.
    "target_session_attrs": _WRITES,
}
"""Given to libpq, in seconds and milliseconds, where ledger.url says nothing else."""

_LOOK_AGAIN = 0.5
"""Seconds."""

_SESSION = """SELECT set_config(name, value, false) FROM (VALUES
    ('lock_timeout', %(patience)s), ('idle_in_transaction_session_timeout', '10s'),
    ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3'),
    ('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'))
) AS wanted (name, value)"""
"""So that the server, too, soon ends the transaction of a machine that hangs or is gone, and frees its locks; and
answers a commit only once it would survive a crash."""

_SIGN = text("""INSERT INTO writers (writer, serial, at)
    SELECT :writer, :serial, CAST(1000000 * extract(epoch FROM clock_timestamp()) AS bigint)
    WHERE pg_current_xact_id_if_assigned() IS NOT NULL
    ON CONFLICT (writer) DO UPDATE SET serial = excluded.serial, at = excluded.at""")
"""Written last in every transaction that has written anything."""

_LOOK = text("""INSERT INTO writers (writer, serial, at) VALUES (:writer, 0, 0)
    ON CONFLICT (writer) DO UPDATE SET serial = writers.serial RETURNING serial""")
"""Waits for the transaction whose end is not known, as it writes to the same row: then tells which was the last."""

_FORGET = text("""DELETE FROM writers
    WHERE writer = :writer OR at < 1000000 * extract(epoch FROM clock_timestamp() - interval '30 days')""")


class PostgresDatabase:
    """A Database on a PostgreSQL server, which must have it already; its user creates the tables.

    Each transaction that writes leaves its number in `writers`. Where a connection breaks while a commit is under
    way, that is looked at over another: a transaction counts as written if it is, and never else.
    """

    def __init__(self, url: URL, patience: timedelta, outage: timedelta, *, readers: int = 0) -> None:
        self.where = place(url)
        self._outage = outage.total_seconds()
        self._writer = secrets.token_hex(16)
        self._serials = itertools.count(1)
        self._has_written = False
        self._reads_only = bool(readers)
        self.engine = _reading_engine(url, patience, readers) if readers else _engine(url, patience)
        self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def stands(self) -> bool:
        """Return whether the tables are there."""
        with self.engine.connect() as db:
            return inspect(db).has_table("alembic_version")

    def prepare(self, checkpoint: Checkpoint, *, schema: str = HEAD) -> None:
        """Create or migrate the tables, one process at a time; by readers they are looked at."""
        if self._reads_only:
            with self.engine.connect() as db:
                require_current(db, self.where)
            return

        def adopt(db: Connection) -> None:
            db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": APPLICATION_ID})
            _refuse_foreign(db, self.where)
            checkpoint("ledger.adopted")

        migrate(self.engine, self.where, checkpoint, adopt, to=schema)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read what was committed before, beside whoever writes."""
        with self._reader.connect() as db, db.begin():
            yield db

    @contextmanager
    def writing(self, *, passing: bool = False) -> Iterator[Connection]:  # noqa: ARG002 - the server waits for the disk
        """Write beside others; rows are locked, not the whole."""
        with self.engine.connect() as db, db.begin() as transaction:
            yield db
            serial = next(self._serials)
            db.execute(_SIGN, {"writer": self._writer, "serial": serial})
            try:
                transaction.commit()
            except DBAPIError as error:
                if not (error.connection_invalidated and self._is_written(serial)):
                    raise
            self._has_written = True

    def _is_written(self, serial: int) -> bool:
        """Return whether a transaction whose answer is lost was committed; raise LedgerFault where nobody can tell."""
        give_up = time.monotonic() + self._outage
        while True:
            try:
                with self.engine.begin() as db:
                    return bool(db.execute(_LOOK, {"writer": self._writer}).scalar_one() == serial)
            except DBAPIError as error:
                if time.monotonic() > give_up:
                    raise LedgerFault(
                        f"the ledger {self.where} does not tell whether the last transaction was written "
                        f"({' '.join(str(error.orig).split())})",
                        "start the server, then the service: it goes on from what stands in the ledger",
                    ) from error
            time.sleep(_LOOK_AGAIN)

    def close(self) -> None:
        """Close every connection; where we wrote, strike out our number, if the server is there."""
        if self._has_written:
            with suppress(SQLAlchemyError), self.engine.begin() as db:
                db.execute(_FORGET, {"writer": self._writer})
        self.engine.dispose()


def place(url: URL) -> str:
    """Return host, port and database, which are no secrets."""
    given = url.query.get("host", "")
    hosts = [given] if isinstance(given, str) else list(given)
    hosts = [host for host in hosts if host] or [url.host or "localhost"]
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{','.join(hosts)}{port}/{url.database}"


def _reading_engine(url: URL, patience: timedelta, readers: int) -> Engine:
    """An engine of so many connections that write nothing, and give a statement up after `patience`."""
    milliseconds = patience // timedelta(milliseconds=1)
    given = url.query.get("options", "")
    options = f"{given} -c default_transaction_read_only=on -c statement_timeout={milliseconds}".strip()
    wanted = url.query.get("target_session_attrs", _WRITES)
    where = "primary" if wanted == _WRITES else wanted  # no session of ours passes for one that writes
    rest = url.difference_update_query(["options", "target_session_attrs"])
    return _engine(rest, patience, readers, 0, {"options": options, "target_session_attrs": where})


def _engine(
    url: URL,
    patience: timedelta,
    idle: int = _IDLE_CONNECTIONS,
    more: int = _MORE_CONNECTIONS,
    options: Mapping[str, object] = MappingProxyType({}),
) -> Engine:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_size=idle,
        max_overflow=more,
        pool_timeout=patience.total_seconds(),
        pool_use_lifo=True,
        connect_args={name: value for name, value in _CONNECTION.items() if name not in url.query} | {**options},
    )
    milliseconds = str(patience // timedelta(milliseconds=1))

    def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        try:
            _show_nul(connection)
            with closing(connection.cursor()) as cursor:
                cursor.execute(_SESSION, {"patience": milliseconds})
            connection.commit()
        except engine.dialect.loaded_dbapi.Error as error:  # which SQLAlchemy neither wraps nor cleans up after, here
            connection.close()
            raise DBAPIError("connecting", {}, error, connection_invalidated=True) from error

    event.listen(engine, "connect", configure)
    return engine


def _show_nul(connection: Any) -> None:  # noqa: ANN401 - psycopg's, an extra
    """Keep a NUL in a text, which PostgreSQL has none of, as the sign for it."""
    from psycopg.types.string import StrDumper  # noqa: PLC0415 - an extra

    class Shown(StrDumper):
        def dump(self, obj: str) -> Any:  # noqa: ANN401 - psycopg's Buffer
            return super().dump(obj.replace("\0", NUL))

    connection.adapters.register_dumper(str, Shown)


def _refuse_foreign(db: Connection, where: str) -> None:
    names = set(inspect(db).get_table_names())
    taken = names & set(metadata.tables)
    versioned = "alembic_version" in names
    if versioned != ({"stems", "tallies"} <= taken) or (taken and not versioned):
        raise LedgerFault(
            f"the database {where} holds another program's tables ({', '.join(sorted(taken) or ['alembic_version'])})",
            "give the ledger a database of its own; this one was left as it is",
        )
