"""SQLAlchemy's and SQLite's errors, translated into ours in one place."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError

from archiver.core.errors import LedgerFault
from archiver.core.states import IllegalMove

# By SQLite's primary result code: what happened, and what the operator can do.
_FAULTS: Mapping[str, tuple[str, str]] = {
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
_OTHER = ("cannot be used", "see the message; the file was left as it is")


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn database errors into LedgerFault, and a broken CHECK into IllegalMove: that is a bug."""
    try:
        yield
    except IntegrityError as error:
        raise IllegalMove(f"the ledger's own rules forbid this: {error.orig}") from error
    except DBAPIError as error:
        raise _fault(where, error.orig) from error
    except sqlite3.Error as error:  # of a connection that is being set up, where SQLAlchemy stands aside
        raise _fault(where, error) from error


def _fault(where: str, error: BaseException | None) -> LedgerFault:
    code = "_".join(str(getattr(error, "sqlite_errorname", "")).split("_")[:2])
    what, hint = _FAULTS.get(code, _OTHER)
    return LedgerFault(f"the ledger {where} {what} ({error})", hint)
