"""The memory of the service."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

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

Alive = Callable[[str], bool | None]
"""Whether the owner of that name still works; None where that cannot be told here."""


class Ledger(Protocol):
    """The memory of the service. Every method is one transaction, durable when it returns.

    Methods that take a Claim raise LeaseLost when the claim's token no longer holds the task, and
    write nothing then. All raise LedgerFault when the database cannot be used.
    """

    # --- intake
    def cursor(self, path: str) -> Cursor | None:
        """How far the queue file at `path` was read."""

    def take_in(self, intake: Intake, *, source: str, now: datetime) -> Sequence[TaskId]:
        """Accept ids and rejects and move the cursor, all in one transaction; return the ids that are new.

        A known task for which another account is named moves to that, and is asked about anew if it has no stems yet,
        whoever works on it; the pause of an account that no open task is left of ends.
        """

    def enlist(self, owner: str, ids: Iterable[TaskId]) -> None:
        """Name the tasks that `owner`'s claims are limited to (a backfill's own)."""

    def wake(self, ids: Sequence[TaskId], *, now: datetime) -> Sequence[TaskId]:
        """Make those of `ids` due that wait only because the provider was not finished.

        Returns these, and those that are being asked about now. A task that waits after a failed try, or has
        ended, is left alone.
        """

    def known(self, ids: Sequence[TaskId]) -> Mapping[TaskId, TaskState]:
        """The states of those of `ids` that the ledger knows."""

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
        """Lease the most urgent due task, or None.

        LISTED tasks go by deadline, those past it last; QUEUED ones by deadline where known, else by age. Stage.STORE
        takes only LISTED tasks of which every missing stem's URL is on record; Stage.LIST the rest;
        None takes either, the earliest deadline first. `fresh_only` takes no LISTED ones. Of the `barred` accounts
        nothing is taken for Stage.LIST.
        """

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

    def next_deadline(self, owner: str, *, now: datetime, enlisted_only: bool = False) -> datetime | None:
        """The deadline of what a claim for Stage.STORE would take, None unless that is still to come."""

    def more_urgent_waits(
        self, claim: Claim, deadline: datetime, now: datetime, barred: Collection[AccountName] = ()
    ) -> bool:
        """True when a due, unleased task was never asked about, or is LISTED with an earlier deadline not yet past.

        Those of `barred` accounts that must be asked about do not count.
        """

    def renew(self, owner: str, *, now: datetime, lease: timedelta) -> bool:
        """Prolong every lease that `owner` holds, and its own life; False when it was not on record (any more)."""

    def release(self, owner: str, *, now: datetime) -> int:
        """Give back all that `owner` holds, untouched, and forget what it enlisted; return how many leases."""

    def release_dead(self, alive: Alive, *, now: datetime) -> Sequence[str]:
        """Give back what owners hold that are not `alive`, or neither renewed nor claimed in time; name them."""

    # --- the path
    def listed(self, claim: Claim, record: RecordInfo, deadline: datetime, *, settled: bool, now: datetime) -> Claim:
        """Save the answer and its stems (LISTED or RELISTED); return the claim as it now stands.

        A stem that is known by name keeps its state and gets the fresh URL.
        """

    def stored(self, claim: Claim, stem: StemName, receipt: Receipt) -> None:
        """Write down that the stem's object is complete; at the receipt's stored_at."""

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

    def stem_retried(self, claim: Claim, stem: StemName, *, now: datetime) -> StemRow:
        """Make a REFUSED stem WANTED again, for the slow re-try that its not_before allows; return it."""

    def finish(self, claim: Claim, outcome: Outcome, *, record: RecordInfo | None, now: datetime) -> None:
        """Write the outcome and end the lease. `record` is the last answer, when one came."""

    # --- multiparts
    def upload_opened(self, owner: str, key: str, upload_id: str, *, now: datetime) -> None:
        """Write down a multipart upload before its first part."""

    def upload_closed(self, key: str, upload_id: str) -> None:
        """Strike it out: completed or aborted."""

    def uploads_of_dead(self, alive: Alive) -> Sequence[tuple[str, str]]:
        """(key, upload id) of uploads whose owner is not `alive`, or was struck off the record."""

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
        """Open or prolong that account's pause; each further call is a failed probe and doubles the wait (5 s to 30 s).

        What the operator holds stays as it is.
        """

    def resume(self, dependency: Dependency, account: AccountName = DEFAULT_ACCOUNT) -> bool:
        """End a pause of that account that nobody holds; True when there was one."""

    def hold(self, dependency: Dependency, *, until: datetime | None, now: datetime) -> Pause:
        """Pause it for the operator until then, None for until it is lifted; all pauses before it are replaced."""

    def lift(self, dependency: Dependency, *, over_at: datetime | None = None) -> bool:
        """End its pauses, held or not, or only one that is over at that time; True when there was one."""

    def pauses(self) -> Sequence[Pause]:
        """All open pauses."""

    # --- the operator
    def retry(self, ids: Sequence[TaskId] | None, *, now: datetime) -> Sequence[TaskId]:
        """Put refused, failed, missing and lost tasks (None: all of them) back to work; return which."""

    def show(self, task_id: TaskId) -> TaskRow | None:
        """One task with stems and history; None when the ledger does not know it."""

    def overview(self, *, now: datetime, at_risk: timedelta) -> Overview:
        """Counts and what is at risk: open tasks with a stem missing whose deadline is nearer than `at_risk`."""

    def unfinished(self, owner: str, *, limit: int) -> Sequence[TaskRow]:
        """Tasks enlisted by `owner` that are not ARCHIVED, without their history, `limit` at most."""

    def open_work(self, owner: str | None, barred: Collection[AccountName] = ()) -> OpenWork:
        """What is still to be done, of what `owner` enlisted or of all.

        Tasks of `barred` accounts that must be asked about are counted, but not waited for.
        """
