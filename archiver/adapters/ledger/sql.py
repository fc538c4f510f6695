"""SqlLedger: each method one transaction; the SQL stands in the module of its noun."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection

from archiver.adapters.ledger import intake as intakes
from archiver.adapters.ledger import leases, path, pauses, views
from archiver.adapters.ledger.database.base import Database
from archiver.adapters.ledger.database.faults import LedgerAway, translated
from archiver.adapters.ledger.database.group_commit import GroupCommit
from archiver.adapters.ledger.database.outage import Heard, Outage, each_persevering, persevering
from archiver.adapters.ledger.database.urls import OUTAGE, PATIENCE, database_of
from archiver.adapters.ledger.rows import chunks
from archiver.core.model import (
    DEFAULT_ACCOUNT,
    AccountName,
    Claim,
    Cursor,
    Dependency,
    Due,
    Intake,
    Outcome,
    Pause,
    Receipt,
    RecordInfo,
    Stage,
    StemName,
    StemRow,
    TaskId,
)
from archiver.core.reports import OpenWork, Overview, TaskRow
from archiver.core.states import StemEvent, TaskState
from archiver.ports.ledger import Alive
from archiver.ports.runtime import Checkpoint, unobserved

T = TypeVar("T")


def fresh_token() -> str:
    """Return a lease token that nobody can guess."""
    return secrets.token_hex(16)


@each_persevering(but=frozenset({"open", "close", "enlist"}))
class SqlLedger:
    """The Ledger of `archiver.ports` in a SQL database; safe for many threads and processes.

    Besides LeaseLost and LedgerFault its methods raise IllegalMove for what `core.states` or the
    tables' own rules forbid: a bug. After any exception nothing of the call is written. What a server cannot do
    while it is away for a short time is done again.
    """

    def __init__(
        self, database: Database, *, outage: Outage, checkpoint: Checkpoint, new_token: Callable[[], str]
    ) -> None:
        self.outage = outage
        self._database = database
        self._engine = database.engine
        self._checkpoint = checkpoint
        self._new_token = new_token
        # One writer a process: threads wait here in line instead of polling the database's lock.
        self._writer = threading.Lock()
        self._stored = GroupCommit(self._commit_stored, self._writer, of_all=LedgerAway)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        checkpoint: Checkpoint = unobserved,
        new_token: Callable[[], str] = fresh_token,
        patience: timedelta = PATIENCE,
        outage: timedelta = OUTAGE,
        heard: Heard = lambda _: None,
    ) -> SqlLedger:
        """Open the ledger at `url`, create it where there is none, and migrate it.

        `url` is sqlite:///path or postgresql+psycopg://user:password@host:port/database, which must exist.
        Raises LedgerFault, with all left as it is, for one that is corrupt, another program's, of a newer
        schema, read-only, on a full disk, out of reach, or locked for longer than `patience`; ImportError
        where the server's driver is not installed. Later on a server that is away for less than `outage` is waited
        for, and `heard` told once.
        """
        database = database_of(url, patience, outage)
        try:
            with translated(database.where):
                database.prepare(checkpoint)
        except BaseException:
            database.close()
            raise
        return cls(database, outage=Outage(outage, heard), checkpoint=checkpoint, new_token=new_token)

    def close(self) -> None:
        """Close every connection; the last process to do so folds SQLite's write-ahead log into the file."""
        self._database.close()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated(self._database.where), self._database.reading() as db:
            yield db

    @contextmanager
    def _writing(self, *, passing: bool = False) -> Iterator[Connection]:
        with self._writer, self._transaction(passing=passing) as db:
            yield db

    @contextmanager
    def _transaction(self, *, passing: bool = False) -> Iterator[Connection]:
        """A transaction that writes; the caller holds `_writer`. A power cut may undo one that is `passing`."""
        with translated(self._database.where), self._database.writing(passing=passing) as db:
            yield db

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Do in one transaction what is not the ledger's own, on tables of its history; it may be done twice."""
        with translated(self._database.where), self._engine.begin() as db:
            return work(db)

    # --- intake
    def cursor(self, path: str) -> Cursor | None:
        """How far the queue file at `path` was read."""
        with self._reading() as db:
            return intakes.cursor(db, path)

    def take_in(self, intake: Intake, *, source: str, now: datetime) -> Sequence[TaskId]:
        """Accept ids and rejects and move the cursor; return the ids that are new, in the order they came.

        A bad line that is read again (same path, offset and excerpt) is kept once.
        """
        with self._writing() as db:
            new = intakes.take_in(db, intake, source=source, now=now)
        self._checkpoint("ledger.taken_in")
        return new

    def enlist(self, owner: str, ids: Iterable[TaskId]) -> None:
        """Add `ids` to what `owner`'s claims are limited to.

        One transaction for some hundred ids, so that a slow iterable holds up no one; a crash between
        two is harmless, as the list dies with its owner.
        """
        for chunk in chunks(ids):
            self._enlist(owner, chunk)
        self._checkpoint("ledger.enlisted")

    @persevering
    def _enlist(self, owner: str, ids: Sequence[TaskId]) -> None:
        with self._writing() as db:
            intakes.enlist(db, owner, ids)

    def wake(self, ids: Sequence[TaskId], *, now: datetime) -> Sequence[TaskId]:
        """Make those of `ids` due that wait only because the provider was not finished.

        Returns these, and those that are being asked about now. A task that waits after a failed try, or has
        ended, is left alone.
        """
        with self._writing() as db:
            return leases.wake(db, ids, now=now)

    def known(self, ids: Sequence[TaskId]) -> Mapping[TaskId, TaskState]:
        """The states of those of `ids` that the ledger knows."""
        with self._reading() as db:
            return intakes.known(db, ids)

    # --- dispatch
    def claim(
        self,
        *,
        owner: str,
        now: datetime,
        lease: timedelta,
        stage: Stage | None = None,
        enlisted_only: bool = False,
        fresh_only: bool = False,
        barred: Collection[AccountName] = (),
    ) -> Claim | None:
        """Lease the most urgent due task, or None; a lease that has run out is free for the taking.

        A not_before more than 7 days ahead counts as due: it was written while the clock was wrong.
        """
        token = self._new_token()
        # A lease is worth nothing once its holder is gone, and what the holder writes down later lasts with it.
        with self._writing(passing=True) as db:
            claim = leases.claim(
                db,
                owner=owner,
                token=token,
                now=now,
                lease=lease,
                stage=stage,
                enlisted_only=enlisted_only,
                fresh_only=fresh_only,
                barred=barred,
            )
        if claim is not None:
            self._checkpoint("ledger.claimed")
        return claim

    def claim_task(
        self,
        task_id: TaskId,
        *,
        owner: str,
        now: datetime,
        lease: timedelta,
        stages: Sequence[Stage],
        fresh_only: bool = False,
        barred: Collection[AccountName] = (),
    ) -> Claim | None:
        """Lease this one task, or None when `claim` would not take it for any of `stages`, or another holds it."""
        token = self._new_token()
        with self._writing() as db:
            claim = leases.claim_task(
                db,
                task_id,
                owner=owner,
                token=token,
                now=now,
                lease=lease,
                stages=stages,
                fresh_only=fresh_only,
                barred=barred,
            )
        if claim is not None:
            self._checkpoint("ledger.claimed")
        return claim

    def due(
        self,
        stage: Stage,
        *,
        now: datetime,
        until: datetime,
        limit: int,
        fresh_only: bool = False,
        barred: Collection[AccountName] = (),
    ) -> Sequence[Due]:
        """The most urgent tasks that `claim` would take now, and as many that will be due by `until`; leases none."""
        with self._reading() as db:
            return leases.upcoming(db, stage, now=now, until=until, limit=limit, fresh_only=fresh_only, barred=barred)

    def next_deadline(self, owner: str, *, now: datetime, enlisted_only: bool = False) -> datetime | None:
        """The deadline of what a claim for Stage.STORE would take, None unless that is still to come."""
        with self._reading() as db:
            return leases.next_deadline(db, owner=owner, now=now, enlisted_only=enlisted_only)

    def more_urgent_waits(
        self, claim: Claim, deadline: datetime, now: datetime, barred: Collection[AccountName] = ()
    ) -> bool:
        """True when a due, unleased task was never asked about, or is LISTED with an earlier deadline not yet past."""
        with self._reading() as db:
            return leases.more_urgent_waits(db, claim, deadline, now, barred)

    def renew(self, owner: str, *, now: datetime, lease: timedelta) -> bool:
        """Prolong every lease that `owner` holds, and put it on record as alive for as long.

        False when it was not on record: a first time, or others took it for dead and released it.
        """
        with self._writing(passing=True) as db:
            known = leases.renew(db, owner, now=now, lease=lease)
        self._checkpoint("ledger.renewed")
        return known

    def release(self, owner: str, *, now: datetime) -> int:  # noqa: ARG002 - the port's signature; leases end without a time
        """Give back all that `owner` holds, untouched, and forget what it enlisted; return how many leases."""
        with self._writing() as db:
            count = leases.release(db, owner)
        self._checkpoint("ledger.released")
        return count

    def release_dead(self, alive: Alive, *, now: datetime) -> Sequence[str]:
        """Give back what owners that are not `alive` hold; return their names.

        Of whom `alive` cannot tell (None) it is decided by the record: who neither renewed nor claimed in time is dead.
        `alive` is asked outside the transaction: an owner that is dead stays dead.
        """
        with self._reading() as db:
            known = leases.known_owners(db)
        judged = {owner: alive(owner) for owner in known}
        dead = [owner for owner, lives in judged.items() if lives is False]
        unknown = [owner for owner, lives in judged.items() if lives is None]
        if not dead and not unknown:
            return []
        with self._writing() as db:
            for owner in dead:
                leases.release(db, owner)
            dead += leases.release_silent(db, unknown, now=now)
        if dead:
            self._checkpoint("ledger.released")
        return sorted(dead)

    # --- the path
    def listed(self, claim: Claim, record: RecordInfo, deadline: datetime, *, settled: bool, now: datetime) -> Claim:
        """Save the answer and its stems; return the claim as it now stands, with every URL whole.

        A stem that is known by name keeps its state and, unless it is stored, gets the fresh URL. What
        could be secret in a URL is in the claim returned only, never in the database.
        """
        with self._writing() as db:
            fresh = path.listed(db, claim, record, deadline, settled=settled, now=now)
        self._checkpoint("ledger.listed")
        return fresh

    def stored(self, claim: Claim, stem: StemName, receipt: Receipt) -> None:
        """Write down that the stem's object is complete; at the receipt's stored_at."""
        self._stored.write(path.Finished(claim, stem, receipt))
        self._checkpoint("ledger.stem_stored")

    def _commit_stored(self, finished: Sequence[path.Finished]) -> None:
        with self._transaction() as db:
            path.stored(db, finished)

    def stem_failed(
        self,
        claim: Claim,
        stem: StemName,
        *,
        event: StemEvent | None,
        reason: str,
        gone: bool,
        not_before: datetime | None,
        now: datetime,
    ) -> None:
        """Write down a failed try: `event` REFUSED or GONE moves the stem, None leaves it WANTED."""
        with self._writing() as db:
            path.stem_failed(db, claim, stem, event=event, reason=reason, gone=gone, not_before=not_before, now=now)
        self._checkpoint("ledger.stem_failed")

    def stem_retried(self, claim: Claim, stem: StemName, *, now: datetime) -> StemRow:
        """Make a REFUSED stem WANTED again, its failed tries still counted; return it."""
        with self._writing() as db:
            row = path.stem_retried(db, claim, stem, now=now)
        self._checkpoint("ledger.stem_retried")
        return row

    def finish(self, claim: Claim, outcome: Outcome, *, record: RecordInfo | None, now: datetime) -> None:
        """Write the outcome and end the lease. `record` is the last answer, when one came."""
        with self._writing() as db:
            path.finish(db, claim, outcome, record=record, now=now)
        self._checkpoint("ledger.finished")

    # --- multiparts
    def upload_opened(self, owner: str, key: str, upload_id: str, *, now: datetime) -> None:
        """Write down a multipart upload before its first part."""
        with self._writing() as db:
            pauses.upload_opened(db, owner, key, upload_id, now=now)
        self._checkpoint("ledger.upload_opened")

    def upload_closed(self, key: str, upload_id: str) -> None:
        """Strike it out: completed or aborted."""
        with self._writing() as db:
            pauses.upload_closed(db, key, upload_id)
        self._checkpoint("ledger.upload_closed")

    def uploads_of_dead(self, alive: Alive) -> Sequence[tuple[str, str]]:
        """(key, upload id) of uploads whose owner is not `alive`, the oldest first.

        Of whom `alive` cannot tell (None) it is decided by the record: whom `release_dead` struck off is dead.
        """
        with self._reading() as db:
            uploads, on_record = pauses.all_uploads(db), leases.on_record(db)
        judged = {owner: alive(owner) for owner in {owner for owner, _, _ in uploads}}
        dead = {
            owner for owner, lives in judged.items() if lives is False or (lives is None and owner not in on_record)
        }
        return [(key, upload_id) for owner, key, upload_id in uploads if owner in dead]

    # --- pauses
    def pause(
        self,
        dependency: Dependency,
        account: AccountName = DEFAULT_ACCOUNT,
        *,
        reason: str,
        hint: str,
        lasting: bool,
        now: datetime,
    ) -> Pause:
        """Open or prolong a pause of that account: each call from next_probe on is a failed probe and doubles the wait.

        5 s to 30 s. A call before next_probe is a straggler: it only renews the reason. What the operator
        holds stays as it is.
        """
        with self._writing() as db:
            pause = pauses.pause(db, dependency, account, reason=reason, hint=hint, lasting=lasting, now=now)
        self._checkpoint("ledger.paused")
        return pause

    def resume(self, dependency: Dependency, account: AccountName = DEFAULT_ACCOUNT) -> bool:
        """End a pause of that account that nobody holds; True when there was one."""
        with self._writing() as db:
            ended = pauses.resume(db, dependency, account)
        self._checkpoint("ledger.resumed")
        return ended

    def hold(self, dependency: Dependency, *, until: datetime | None, now: datetime) -> Pause:
        """Pause it for the operator until then, None for until it is lifted; a pause before it is replaced."""
        with self._writing() as db:
            pause = pauses.hold(db, dependency, until=until, now=now)
        self._checkpoint("ledger.paused")
        return pause

    def lift(self, dependency: Dependency, *, over_at: datetime | None = None) -> bool:
        """End its pause, held or not, or only one that is over at that time; True when there was one."""
        with self._writing() as db:
            ended = pauses.lift(db, dependency, over_at=over_at)
        self._checkpoint("ledger.resumed")
        return ended

    def pauses(self) -> Sequence[Pause]:
        """All open pauses."""
        with self._reading() as db:
            return pauses.all_pauses(db)

    # --- the operator
    def retry(self, ids: Sequence[TaskId] | None, *, now: datetime) -> Sequence[TaskId]:
        """Put refused, failed, missing and lost tasks (None: all of them) back to work; return which.

        Counters start over and the task is due at once. A lease on it ends: its holder gets LeaseLost.
        """
        with self._writing() as db:
            retried = views.retry(db, ids, now=now)
        self._checkpoint("ledger.retried")
        return retried

    def show(self, task_id: TaskId) -> TaskRow | None:
        """One task with stems and history; None when the ledger does not know it."""
        with self._reading() as db:
            return views.show(db, task_id)

    def overview(self, *, now: datetime, at_risk: timedelta) -> Overview:
        """Counts and what is at risk: open tasks with a stem missing whose deadline is nearer than `at_risk`."""
        with self._reading() as db:
            return views.overview(db, now=now, at_risk=at_risk)

    def unfinished(self, owner: str, *, limit: int) -> Sequence[TaskRow]:
        """Tasks enlisted by `owner` that are not ARCHIVED, without their history, the most urgent `limit`."""
        with self._reading() as db:
            return views.unfinished(db, owner, limit=limit)

    def open_work(self, owner: str | None, barred: Collection[AccountName] = ()) -> OpenWork:
        """What is still to be done, of what `owner` enlisted or of all; `barred` accounts' asking is not waited for."""
        with self._reading() as db:
            return views.open_work(db, owner, barred)
