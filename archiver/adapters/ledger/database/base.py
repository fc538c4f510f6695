"""The promises of either database, and what tells a ledger's from another program's."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import sqlite

from archiver.adapters.ledger.schema.migrate import HEAD
from archiver.ports.runtime import Checkpoint

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

APPLICATION_ID = 0x5354454D
"""`STEM`: marks a SQLite file as a ledger, and is the number of PostgreSQL's lock while one migrates."""

NUL = "\N{SYMBOL FOR NULL}"
"""Kept in the place of NUL by PostgreSQL, whose texts have none.

One input can hold a NUL: the ETag that a store answers with, as a header's value is taken as it comes.
"""


class Database(Protocol):
    """The place where a ledger is kept. `reading` and `writing` give a connection inside a transaction of its own."""

    @property
    def engine(self) -> Engine:
        """The source of its connections."""

    @property
    def where(self) -> str:
        """Its name in messages; holds no secret."""

    def stands(self) -> bool:
        """Return whether there is a ledger already; make none."""

    def prepare(self, checkpoint: Checkpoint, *, schema: str = HEAD) -> None:
        """Make it ours where it is empty, and migrate it; raise LedgerFault, touching nothing, for a foreign one.

        `schema` is that of another version only where a backup of its ledger is to be taken in.
        """

    def close(self) -> None:
        """Close every connection."""

    def reading(self) -> AbstractContextManager[Connection]:
        """Read all of one moment."""

    def writing(self, *, passing: bool = False) -> AbstractContextManager[Connection]:
        """Write all or nothing, one thread at a time.

        A power cut may undo what is `passing`, for the disk need not be waited for; no crash of ours does.
        """


def insert(db: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT; both dialects spell it alike."""
    if db.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - loads every driver's dialect

        return postgresql.insert(table)
    return sqlite.insert(table)
