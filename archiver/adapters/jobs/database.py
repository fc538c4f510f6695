"""Procrastinate's tables, made and upgraded, and its connections, which outlast an outage of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any, LiteralString, TypeVar

import psycopg
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.schema import SchemaManager
from psycopg.sql import SQL, Literal
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import make_url

from archiver.core.errors import LedgerFault

SCHEMA = "procrastinate"
"""Of PostgreSQL: a namespace beside that of the ledger's tables."""

_LOCK = 0x4A4F4253
"""`JOBS`: held by whoever makes or upgrades the tables, until its transaction ends."""

_PAUSE = 0.5
_CONNECT_TIMEOUT = 10

_MADE = "CREATE TABLE stem_archiver_schema (migration text NOT NULL)"
"""Holds one row: the last of procrastinate's own migrations that the tables have. It keeps no such record."""

T = TypeVar("T")


def parameters(url: str) -> dict[str, Any]:
    """Return what psycopg connects with for a ledger.url."""
    parsed = make_url(url).set(drivername="postgresql+psycopg")
    _, found = parsed.get_dialect()().create_connect_args(parsed)
    given: Mapping[str, Any] = found
    defaults = {
        "application_name": "stem-archiver jobs",
        "connect_timeout": _CONNECT_TIMEOUT,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "target_session_attrs": "read-write",
    }
    return {**defaults, **given}


def fault(error: BaseException) -> LedgerFault:
    """Say what happened, and the way out."""
    said = " ".join(str(error.__cause__ or error).split())
    return LedgerFault(
        f"the queue of jobs cannot be used ({said})",
        "start the server of ledger.url, or see its log; jobs are made anew from the ledger",
    )


# ---------------------------------------------------------------- the tables


def prepare(url: str) -> None:
    """Make or upgrade the tables, one process at a time, all or nothing; raise LedgerFault."""
    try:
        with psycopg.connect(**parameters(url)) as db:
            db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            _migrate(db)
    except psycopg.errors.InsufficientPrivilege as error:
        raise LedgerFault(
            f"the user of ledger.url may not make the schema {SCHEMA} ({' '.join(str(error).split())})",
            f"make it owner of the database, or as its owner: CREATE SCHEMA {SCHEMA} AUTHORIZATION USER",
        ) from error
    except psycopg.Error as error:
        raise fault(error) from error


def _migrate(db: psycopg.Connection) -> None:
    if _one(db, SQL("SELECT to_regnamespace({})").format(Literal(SCHEMA))) is None:
        db.execute(f"CREATE SCHEMA {SCHEMA}")
    db.execute(f"SET LOCAL search_path TO {SCHEMA}")
    if _one(db, SQL("SELECT to_regclass('procrastinate_jobs')")) is None:
        db.execute(SchemaManager.get_schema())
        db.execute(_MADE)
        db.execute("INSERT INTO stem_archiver_schema VALUES (%s)", (max(migrations()),))
        return
    if _one(db, SQL("SELECT to_regclass('stem_archiver_schema')")) is None:
        raise LedgerFault(
            f"the schema {SCHEMA} in the database of ledger.url belongs to another program",
            "give the ledger a database of its own; this one was left as it is",
        )
    _upgrade(db, str(_one(db, SQL("SELECT migration FROM stem_archiver_schema"))))


def _upgrade(db: psycopg.Connection, current: str) -> None:
    known = migrations()
    if current > max(known):
        raise LedgerFault(
            f"the queue of jobs was made by a newer version (procrastinate's {current})",
            "run that version or a later one; the queue was left as it is",
        )
    later = [name for name in sorted(known) if name > current]
    for name in later:
        db.execute(known[name].encode())
    if later:
        db.execute("UPDATE stem_archiver_schema SET migration = %s", (later[-1],))


def migrations() -> Mapping[str, str]:
    """Return procrastinate's migrations by name; names sort as they follow each other."""
    folder = files("procrastinate.sql.migrations")
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return {entry.name: entry.read_text(encoding="utf-8") for entry in found}


def _one(db: psycopg.Connection, query: Any) -> object:  # noqa: ANN401 - psycopg's Query
    row = db.execute(query).fetchone()
    return None if row is None else row[0]


# ---------------------------------------------------------------- connections


async def _configure(connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.execute(f"SET search_path TO {SCHEMA}")


def _pool(**options: Any) -> AsyncConnectionPool:  # noqa: ANN401 - psycopg's
    """Leave out the question, before each call, whether the connection still stands: we try again anyway."""
    return AsyncConnectionPool(**(options | {"check": None}))


class RetryingConnector(PsycopgConnector):
    """Procrastinate's connector, which does again what a server could not do just now.

    Without it a worker ends at the first broken connection, or worse lives on without its heartbeat. `on_outage` is
    called with what stays impossible for `outage` seconds.
    """

    def __init__(
        self, url: str, *, connections: int, outage: float, on_outage: Callable[[BaseException], None]
    ) -> None:
        super().__init__(
            # Every call is one statement.
            kwargs={**parameters(url), "autocommit": True},
            configure=_configure,
            pool_factory=_pool,
            min_size=1,
            max_size=connections,
            # Short, as we try again ourselves: the pool's own pauses grow beyond what its server takes to come back.
            timeout=3,
            reconnect_timeout=1,
        )
        self._outage = outage
        self._on_outage = on_outage

    async def _outlast(self, work: Callable[[], Awaitable[T]]) -> T:
        # Not by tenacity: its frames take 45 microseconds of each statement.
        give_up = time.monotonic() + self._outage
        while True:
            try:
                return await work()
            except ConnectorException as error:
                if not _passes(error):
                    raise
                if time.monotonic() > give_up:
                    self._on_outage(error)
                    raise
            await asyncio.sleep(_PAUSE)

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:  # noqa: ANN401 - procrastinate's
        """As procrastinate's, again through an outage."""
        await self._outlast(lambda: super(RetryingConnector, self).execute_query_async(query, **arguments))

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - procrastinate's
        """As procrastinate's, again through an outage."""
        return await self._outlast(lambda: super(RetryingConnector, self).execute_query_one_async(query, **arguments))

    async def execute_query_all_async(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - procrastinate's
        """As procrastinate's, again through an outage."""
        return await self._outlast(lambda: super(RetryingConnector, self).execute_query_all_async(query, **arguments))


def _passes(error: ConnectorException) -> bool:
    """Return whether a connection broke or could not be had."""
    if isinstance(error, UniqueViolation):
        return False
    return isinstance(error.__cause__, psycopg.OperationalError | psycopg.InterfaceError)
