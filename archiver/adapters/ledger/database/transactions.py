"""Transactions: all that the parts of the ledger know of the database they stand in."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from archiver.adapters.ledger.database.base import Database
from archiver.adapters.ledger.database.faults import LedgerAway, translated
from archiver.adapters.ledger.database.group_commit import GroupCommit
from archiver.adapters.ledger.database.outage import Outage
from archiver.core.model import Policy
from archiver.ports.runtime import Checkpoint, unobserved

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_LONGEST_WAIT = Policy().retention / 2
"""Longer than any sensible wait; whoever works on the ledger names the longest by its settings."""


class Transactions:
    """The transactions of one process on one database, whose errors come as LedgerFault or IllegalMove.

    After any exception nothing of a transaction is written.
    """

    def __init__(
        self,
        database: Database,
        outage: Outage,
        checkpoint: Checkpoint = unobserved,
        longest_wait: timedelta = DEFAULT_LONGEST_WAIT,
    ) -> None:
        self.longest_wait = longest_wait
        """A moment farther ahead was written while the clock was wrong."""
        self.outage = outage
        self.checkpoint = checkpoint
        self._database = database
        # One writer a process: threads wait here in line instead of polling the database's lock.
        self._writer = threading.Lock()

    @property
    def where(self) -> str:
        """The place where the ledger is kept, for people; without a password."""
        return self._database.where

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read all of one moment."""
        with translated(self._database.where), self._database.reading() as db:
            yield db

    @contextmanager
    def write(self, *, passing: bool = False) -> Iterator[Connection]:
        """Write all or nothing, one thread at a time. A power cut may undo a transaction that is `passing`."""
        with self._writer, self._begin(passing=passing) as db:
            yield db

    def group(self, work: Callable[[Connection, Sequence[T]], object]) -> GroupCommit[T]:
        """Return a group commit: `work` writes what many threads hand over at the same time, in one transaction."""

        def commit(items: Sequence[T]) -> None:
            with self._begin() as db:
                work(db, items)

        return GroupCommit(commit, self._writer, of_all=LedgerAway)

    def run(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns, done in one transaction beside those of the ledger's ports.

        It waits for no other thread, and is done twice where the answer to its commit is lost.
        """
        return self.outage.outlast(lambda: self._run(work))

    def close(self) -> None:
        """Close every connection; the last process to do so folds SQLite's write-ahead log into the file."""
        self._database.close()

    @contextmanager
    def _begin(self, *, passing: bool = False) -> Iterator[Connection]:
        """Begin a transaction that writes; the caller holds `_writer`."""
        with translated(self._database.where), self._database.writing(passing=passing) as db:
            yield db

    def _run(self, work: Callable[[Connection], T]) -> T:
        with translated(self._database.where), self._database.engine.begin() as db:
            return work(db)


class LedgerPart:
    """A part of the ledger: the methods of one of its ports, each of which is one transaction."""

    def __init__(self, db: Transactions) -> None:
        self._db = db


S = TypeVar("S", bound=LedgerPart)


def outage_retry(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Let a method that is one transaction outlast an outage of the server."""

    @functools.wraps(method)
    def outlasting(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._db.outage.outlast(lambda: method(self, *args, **kwargs))

    return outlasting
