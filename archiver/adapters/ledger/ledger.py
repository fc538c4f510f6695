"""SqlLedger: the ledger's ports on one database, opened and closed as one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from archiver.adapters.ledger.adoptions import SqlAdoptions
from archiver.adapters.ledger.backups import SqlBackups
from archiver.adapters.ledger.claims import SqlClaims
from archiver.adapters.ledger.database.base import Database
from archiver.adapters.ledger.database.faults import translated
from archiver.adapters.ledger.database.outage import Notify, Outage
from archiver.adapters.ledger.database.transactions import DEFAULT_LONGEST_WAIT, Transactions
from archiver.adapters.ledger.database.urls import OUTAGE, database_of, reading_database_of
from archiver.adapters.ledger.fixity_checks import SqlChecks
from archiver.adapters.ledger.fixity_faults import SqlFaults
from archiver.adapters.ledger.intakes import SqlIntakes
from archiver.adapters.ledger.listings import SqlListings
from archiver.adapters.ledger.objects import SqlObjects
from archiver.adapters.ledger.pauses import SqlPauses
from archiver.adapters.ledger.plots import SqlPlots
from archiver.adapters.ledger.processes import SqlProcesses
from archiver.adapters.ledger.progress import SqlProgress
from archiver.adapters.ledger.proofs import SqlProofs
from archiver.adapters.ledger.rebuilds import SqlRebuilds
from archiver.adapters.ledger.reports import SqlReports
from archiver.adapters.ledger.rounds import SqlRounds
from archiver.adapters.ledger.schema.migrate import revision
from archiver.adapters.ledger.trimming import SqlTrimming
from archiver.adapters.ledger.uploads import SqlUploads
from archiver.adapters.ledger.walks import SqlWalks
from archiver.core.errors import LedgerAbsent
from archiver.ports.runtime import PATIENCE, Checkpoint, unobserved


@dataclass(frozen=True, slots=True)
class SqlLedger:
    """The ports of `ports.ledger`, backups, rebuilds, fixity, trimming, plots, listings in one SQL database.

    Safe for many threads and processes.

    Besides LeaseLost and LedgerFault their methods raise IllegalMove for what `core.states` or the tables' own
    rules forbid: a bug. After any exception nothing of the call is written. A call that meets a server which is
    away for a short time is done again.
    """

    db: Transactions
    intakes: SqlIntakes
    claims: SqlClaims
    progress: SqlProgress
    pauses: SqlPauses
    uploads: SqlUploads
    reports: SqlReports
    processes: SqlProcesses
    proofs: SqlProofs
    backups: SqlBackups
    rebuilds: SqlRebuilds
    objects: SqlObjects
    adoptions: SqlAdoptions
    rounds: SqlRounds
    trimming: SqlTrimming
    faults: SqlFaults
    checks: SqlChecks
    walks: SqlWalks
    plots: SqlPlots
    listings: SqlListings

    @classmethod
    def open(
        cls,
        url: str,
        *,
        checkpoint: Checkpoint = unobserved,
        patience: timedelta = PATIENCE,
        outage: timedelta = OUTAGE,
        notify: Notify = lambda _: None,
        longest_wait: timedelta = DEFAULT_LONGEST_WAIT,
        create: bool = True,
    ) -> SqlLedger:
        """Open the ledger at `url` and migrate it; create it where there is none, or raise LedgerAbsent.

        `url` is sqlite:///path or postgresql+psycopg://user:password@host:port/database, which must exist.
        Raises LedgerFault, with all left as it is, for one that is corrupt, another program's, of a newer
        schema, read-only, on a full disk, out of reach, or locked for longer than `patience`; ImportError
        where the server's driver is not installed. Later on a server that is away for less than `outage` is waited
        for, and `notify` called once. What is to wait beyond `longest_wait` is due at once.
        """
        database = database_of(url, patience, outage)
        try:
            with translated(database.where):
                if not create:
                    _require(database)
                database.prepare(checkpoint)
        except BaseException:
            database.close()
            raise
        return cls._of(Transactions(database, Outage(outage, notify), checkpoint, longest_wait))

    @classmethod
    def open_for_reading(
        cls,
        url: str,
        *,
        patience: timedelta,
        connections: int,
        longest_wait: timedelta = DEFAULT_LONGEST_WAIT,
    ) -> SqlLedger:
        """Open the ledger at `url` for readers alone; whatever writes raises LedgerFault.

        It takes so many connections at most, and gives a statement, and a wait for a server, up after `patience`.
        Raises LedgerAbsent where there is none, and LedgerFault also for one of another schema.
        """
        database = reading_database_of(url, patience, connections)
        try:
            with translated(database.where):
                _require(database)
                database.prepare(unobserved)
        except BaseException:
            database.close()
            raise
        return cls._of(Transactions(database, Outage(timedelta(), lambda _: None), unobserved, longest_wait))

    @classmethod
    def _of(cls, db: Transactions) -> SqlLedger:
        parts = (SqlIntakes(db), SqlClaims(db), SqlProgress(db), SqlPauses(db), SqlUploads(db), SqlReports(db))
        rest = SqlBackups(db), SqlRebuilds(db), SqlObjects(db), SqlAdoptions(db), SqlRounds(db), SqlTrimming(db)
        return cls(db, *parts, SqlProcesses(db), SqlProofs(db), *rest, *_of_checks(db), SqlPlots(db), SqlListings(db))

    def close(self) -> None:
        """Close every connection; the last process to do so folds SQLite's write-ahead log into the file."""
        self.db.close()


def _of_checks(db: Transactions) -> tuple[SqlFaults, SqlChecks, SqlWalks]:
    return SqlFaults(db), SqlChecks(db), SqlWalks(db)


def _require(database: Database) -> None:
    if not database.stands():
        raise LedgerAbsent(f"there is no ledger at {database.where}", "a first `run` or `backfill` makes it")


def schema_of(database: Database) -> str | None:
    """Return the revision of the tables; None where there are none. Raises LedgerFault."""
    with translated(database.where):
        if not database.stands():
            return None
        with database.reading() as db:
            return revision(db)
