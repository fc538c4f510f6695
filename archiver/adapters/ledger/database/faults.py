"""SQLAlchemy's errors and the databases' own, translated into ours in one place."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from archiver.core.errors import LedgerFault
from archiver.core.states import IllegalMove

Fault = tuple[str, str]
"""The event, and a hint to the operator."""


class LedgerAway(LedgerFault):
    """The server could not do it now, and nothing of it is written: it may be tried again."""


# By SQLite's primary result code.
_OF_SQLITE: Mapping[str, Fault] = {
    "SQLITE_BUSY": (
        "stayed locked by another process for too long",
        "look for a program that holds it open (a backup, a shell with a transaction): `fuser -v FILE`",
    ),
    "SQLITE_FULL": (
        "could not grow: the disk is full",
        "make room on its disk; nothing is lost, work goes on where it stood",
    ),
    "SQLITE_READONLY": ("cannot be written to", "give the service write permission on the file and its folder"),
    "SQLITE_PERM": ("cannot be opened", "give the service permission on the file and its folder"),
    "SQLITE_AUTH": ("cannot be opened", "give the service permission on the file and its folder"),
    "SQLITE_CANTOPEN": (
        "cannot be opened",
        "check that the service can write to the folder of ledger.url, and may open enough files (`ulimit -n`)",
    ),
    "SQLITE_NOTADB": (
        "is not a database",
        "check ledger.url; the file was left as it is. If it was the ledger, restore it from a backup",
    ),
    "SQLITE_CORRUPT": (
        "is damaged",
        "stop the service, keep a copy of the file, then `sqlite3 FILE .recover` or restore a backup",
    ),
    "SQLITE_IOERR": ("met a read or write error", "look at the disk and its file system (dmesg)"),
}
_OTHER = ("cannot be used", "see the message; it was left as it is")

_AWAY = ("cannot be reached", "start the server, or mend host and port of ledger.url; work goes on where it stood")
_FOREIGN_TABLES = ("has not the tables it should have", "give it a database of its own, or restore it from a backup")
_DAMAGED = ("is damaged", "stop the service and restore the server from a backup")

# By SQLSTATE, or its first two characters: its class.
_OF_POSTGRESQL: Mapping[str, Fault] = {
    "08": _AWAY,
    "28": (
        "refuses its user or password",
        "mend user and password in ledger.url (or PGPASSWORD, or ~/.pgpass), or the server's pg_hba.conf",
    ),
    "3D000": ("does not exist", "create the database: `createdb --owner USER NAME`; the tables come by themselves"),
    "3F000": ("has no schema for its tables", "`CREATE SCHEMA public AUTHORIZATION USER` in the database"),
    "42501": (
        "denies a right to its user",
        "make the user of ledger.url owner of the tables, or have their owner run `ledger migrate` and grant the rest",
    ),
    "42P07": _FOREIGN_TABLES,
    "42P01": _FOREIGN_TABLES,
    "42703": _FOREIGN_TABLES,
    "25006": (
        "cannot be written to: the server is a standby, or set to be read-only",
        "name the primary in ledger.url (several: ?host=a:5432&host=b:5432), or mend default_transaction_read_only",
    ),
    "40": ("met a conflict with another transaction", "nothing to do: it is tried again"),
    "53": ("is short of memory or disk", "see the message and the server's log; nothing is lost"),
    "53100": ("could not grow: the server's disk is full", "make room there; nothing is lost"),
    "53300": (
        "has no connection left for us",
        "raise the server's max_connections, or run fewer processes: each takes up to 16",
    ),
    "55P03": (
        "stayed locked by another transaction for too long",
        "look for one that hangs: SELECT pid, state, query FROM pg_stat_activity; then pg_terminate_backend(pid)",
    ),
    "57014": ("cancelled a statement", "set no statement_timeout for its user, or a longer one"),
    "57": ("is shutting down or starting", "nothing to do if it comes back; else start the server"),
    "58": ("met a read or write error", "look at the server's log, its disk and file system"),
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
    "tls": (
        "cannot be reached by TLS",
        "mend sslmode and sslrootcert in ledger.url, or the server's certificate",
    ),
}

# What the server says while a connection is made, when libpq hands on no SQLSTATE.
_SAID: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"password authentication failed|no password supplied|pg_hba\.conf|role \S+ does not exist"), "28"),
    (re.compile(r"database \S+ does not exist"), "3D000"),
    (re.compile(r"permission denied for database"), "42501"),
    (re.compile(r"too many clients|too many connections|connection slots are reserved"), "53300"),
    (re.compile(r"starting up|shutting down|recovery mode|not (yet )?accepting connections"), "57P03"),
    (re.compile(r"session is read-only|in hot standby mode"), "25006"),
    (re.compile(r"certificate|\bSSL\b"), "tls"),
)

_PASSING = ("08", "40", "53300", "57P", "25P03", "25P04")
"""The beginnings of SQLSTATEs that may be gone at the next try."""


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn database errors into LedgerFault, and a broken CHECK or a value past all bounds into IllegalMove: a bug.

    LedgerAway where the same may work a little later.
    """
    try:
        yield
    except IntegrityError as error:
        raise IllegalMove(f"the ledger's own rules forbid this: {_first_line(error)}") from error
    except DataError as error:
        raise IllegalMove(f"the ledger cannot hold this value: {_first_line(error)}") from error
    except DBAPIError as error:
        raise _fault(where, error) from error
    except NoConnectionFree as error:
        raise LedgerAway(f"the ledger {where} {_AWAY[0]} (every connection is in use)", _AWAY[1]) from error
    except sqlite3.Error as error:  # of a connection that is being set up, where SQLAlchemy stands aside
        raise _of_sqlite(where, error) from error


def _first_line(error: DBAPIError) -> str:
    """Leave out PostgreSQL's details: they hold whole rows."""
    return str(error.orig).partition("\n")[0]


def _fault(where: str, error: DBAPIError) -> LedgerFault:
    if isinstance(error.orig, sqlite3.Error):
        return _of_sqlite(where, error.orig)
    said = " ".join(str(error.orig).split())
    state = getattr(error.orig, "sqlstate", None) or _state(said)
    what, hint = _OF_POSTGRESQL.get(state) or _OF_POSTGRESQL.get(state[:2], _OTHER)
    passing = state.startswith(_PASSING) or error.connection_invalidated
    return (LedgerAway if passing else LedgerFault)(f"the ledger {where} {what} ({said})", hint)


def _state(said: str) -> str:
    """Guess what the server meant; what is not known is a network's trouble."""
    return next((state for words, state in _SAID if words.search(said)), "08")


def _of_sqlite(where: str, error: sqlite3.Error) -> LedgerFault:
    code = "_".join(str(getattr(error, "sqlite_errorname", "")).split("_")[:2])
    what, hint = _OF_SQLITE.get(code, _OTHER)
    return LedgerFault(f"the ledger {where} {what} ({error})", hint)
