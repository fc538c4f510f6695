"""The database that ledger.url leads to."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from archiver.adapters.ledger.database.base import Database
from archiver.adapters.ledger.database.postgres import PostgresDatabase
from archiver.adapters.ledger.database.sqlite import SqliteFile
from archiver.core.errors import LedgerFault
from archiver.ports.runtime import PATIENCE

OUTAGE = timedelta(minutes=1)
"""The time that a server may be away: it is restarted, or another takes its place."""

_URLS = (
    "set it to sqlite:///path/of/the/ledger.db (four slashes: absolute) "
    "or postgresql+psycopg://user:password@host/database"
)


def reading_database_of(url: str, patience: timedelta, connections: int) -> Database:
    """Return the database at `url` for readers alone, over so many connections; raise LedgerFault as `database_of`.

    A statement is given up after `patience`.
    """
    parsed = _parsed(url)
    if parsed.drivername == "sqlite":
        from archiver.adapters.ledger.database.reading import ReadOnlyFile  # noqa: PLC0415 - for readers alone

        return ReadOnlyFile(Path(str(parsed.database)).absolute(), patience, connections)
    return PostgresDatabase(parsed, patience, timedelta(), readers=connections)


def database_of(url: str, patience: timedelta = PATIENCE, outage: timedelta = OUTAGE) -> Database:
    """Return the database at `url`, nothing opened yet; raise LedgerFault when it can be no ledger's."""
    parsed = _parsed(url)
    if parsed.drivername == "sqlite":
        return SqliteFile(Path(str(parsed.database)).absolute(), patience)
    return PostgresDatabase(parsed, patience, outage)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise LedgerFault("ledger.url is no database URL", _URLS) from error
    if parsed.database in {None, "", ":memory:"}:
        raise LedgerFault("ledger.url names no database", _URLS)
    if parsed.drivername not in {"sqlite", "postgresql", "postgresql+psycopg"}:
        raise LedgerFault("ledger.url must name a SQLite file or a PostgreSQL database", _URLS)
    return parsed
