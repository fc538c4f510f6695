"""The memory of the service: eight ports, each with what one kind of client asks for.

Every method is one transaction, durable when it returns. Methods that take a Claim raise LeaseLost when the
claim's token no longer holds the task, and write nothing then. All raise LedgerFault when the database cannot be used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Protocol

from archiver.core.attention import Need, NeedyTask
from archiver.core.chronicle import Chronicle
from archiver.core.due import Due, First
from archiver.core.intake import Cursor, Intake, Reject
from archiver.core.model import (
    DEFAULT_ACCOUNT,
    AccountName,
    Claim,
    Dependency,
    Outcome,
    Pause,
    Policy,
    Receipt,
    RecordInfo,
    Stage,
    StemName,
    StemRow,
    Subject,
    TaskId,
)
from archiver.core.records.kinds.names import KindName
from archiver.core.reports import EnlistedWork, ListedTask, OpenWork, Overview, Process, Quarantined, TaskQuery, TaskRow
from archiver.core.states import StemEvent, TaskState

RETENTION = Policy().retention
NOTHING: Mapping[TaskId, KindName] = MappingProxyType({})

IsAlive = Callable[[str], bool | None]
"""Returns whether the owner of that name still works; None where that cannot be said here."""


class Intakes(Protocol):
    """The way in: for the queue file, backfills, the provider's calls, and the operator's retry."""

    def cursor(self, path: str) -> Cursor | None:
        """Return how far the queue file at `path` was read."""

    def take_in(self, intake: Intake, *, source: str, now: datetime) -> Sequence[TaskId]:
        """Accept ids and rejects and move the cursor; return the ids that are new, in the order they came.

        A bad line that is read again (same path, offset and excerpt) is kept once. Of bad lines some thousands are
        kept: acknowledged ones go first, then the oldest; those that nobody acknowledged are counted on.

        A known task for which another account is named moves to that, and is asked about anew if it has no stems yet,
        whoever works on it; the pause of an account that no open task is left of ends. The same where a kind is named
        and none is known; a kind that is known stays. Titles and parents that are named replace those of before.
        """

    def enlist(self, owner: str, ids: Iterable[TaskId]) -> Collection[TaskId]:
        """Name tasks that `owner`'s claims are limited to (a backfill's own); return those it had not named before."""

    def known(self, ids: Sequence[TaskId]) -> Mapping[TaskId, TaskState]:
        """Return the states of those of `ids` that the ledger knows."""

    def kinds(self, ids: Sequence[TaskId]) -> Mapping[TaskId, KindName]:
        """Return the kinds of those of `ids` that are known, or were named first."""

    def resting(self, ids: Sequence[TaskId]) -> Collection[TaskId]:
        """Return those of `ids` that no run will work on: they have ended, or wait for an operator."""

    def wake(
        self, ids: Sequence[TaskId], *, now: datetime, hints: Mapping[TaskId, KindName] = NOTHING
    ) -> Sequence[TaskId]:
        """Make those of `ids` due that wait only because the provider was not finished.

        One of which no kind is known is asked about first as that of `hints`.

        Returns these, and those that are being asked about now. What failed a try, or has ended, is left alone.
        """

    def retry(self, ids: Sequence[TaskId] | None, *, now: datetime) -> Sequence[TaskId]:
        """Put refused, failed, missing, lost and quarantined tasks (None: all of them) back to work; return which.

        Counters start over and the task is due at once. A lease on it ends: its holder gets LeaseLost. What was
        acknowledged is so no longer.
        """

    def acknowledge(
        self, ids: Sequence[TaskId], *, now: datetime, at_risk: timedelta, retention: timedelta = RETENTION
    ) -> Sequence[TaskId]:
        """Let those of `ids` that need a person count no longer; return which.

        One that is retried, ends, has a stem refused or lost, or takes another process down counts again. A stem that
        is refused again for the same reason, at a look by schedule, changes nothing.
        """

    def acknowledge_all(
        self, needs: Collection[Need], *, now: datetime, at_risk: timedelta, retention: timedelta = RETENTION
    ) -> int:
        """Do the same for all tasks that need a person for one of these reasons; return how many."""

    def acknowledge_rejects(self, *, now: datetime) -> int:
        """Let the rejected lines that are known now count no longer; return how many."""

    def expire_rejects(self, *, before: datetime) -> int:
        """Forget the rejected lines that were acknowledged before then; return how many."""


class Claims(Protocol):
    """The tasks in hand: for those who give work out, and for the owners of leases."""

    def claim(
        self,
        *,
        owner: str,
        now: datetime,
        lease: timedelta,
        stage: Stage | None = None,
        enlisted_only: bool = False,
        fresh_only: bool = False,
        blocked_accounts: Collection[AccountName] = (),
        alone_from: datetime | None = None,
        first: First = First.URGENT,
        untried_only: bool = False,
    ) -> Claim | None:
        """Lease the most urgent due task, or None.

        LISTED tasks go by deadline, those past it last, or as `first` says; `untried_only` takes none of which a try
        has failed, and none that was asked about or that came more than `plan.YOUNG` ago.
        Asked about are links needed by a deadline, then QUEUED tasks that nobody asked about yet (these have every
        second turn: by age, the latest, by age of those that came within `plan.YOUNG`), then those not ready, by
        their last ask.
        Stage.STORE takes only LISTED tasks of which every missing stem's URL is on record; Stage.LIST the rest;
        None takes either, the earliest deadline first. `fresh_only` takes no LISTED ones. Of `blocked_accounts`
        nothing is taken for Stage.LIST. A lease that has run out is free for the taking; a not_before more than
        7 days ahead counts as due, as it was written while the clock was wrong.

        A task whose owners died while at it, twice in a row, is quarantined: it is taken only where `alone_from` is
        given, and then no other is; those that are due since then, the fewest deaths first. A task that was another's
        is taken once that death is counted, and not if it is the second.
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
        blocked_accounts: Collection[AccountName] = (),
        alone_from: datetime | None = None,
    ) -> Claim | None:
        """Lease this one task, or None when `claim` would not take it for any of `stages`, or another holds it.

        A quarantined one only where it is due since `alone_from`.
        """

    def due(
        self,
        stage: Stage,
        *,
        now: datetime,
        until: datetime,
        limit: int,
        fresh_only: bool = False,
        blocked_accounts: Collection[AccountName] = (),
        alone_from: datetime | None = None,
    ) -> Sequence[Due]:
        """Return the `limit` most urgent tasks to claim now, untried ones for half of it, and as many by `until`."""

    def next_deadline(self, owner: str, *, now: datetime, enlisted_only: bool = False) -> datetime | None:
        """Return the deadline of what a claim for Stage.STORE would take; None unless that is still to come."""

    def are_held(self, *, now: datetime) -> bool:
        """Return whether anybody works on a task."""

    def renew(self, owner: str, *, now: datetime, lease: timedelta) -> bool:
        """Prolong every lease that `owner` holds, and put it on record as alive for as long.

        Returns False when it was not on record: a first time, or others took it for dead and released it.
        """

    def clock_set_back(self, by: timedelta, *, now: datetime) -> None:
        """Bring forward what waits for a later moment than `now`, which the wall clock was set back to, by as much."""

    def give_back(self, claim: Claim, *, reason: str, not_before: datetime) -> None:
        """End this one lease after a try that nobody foresaw; the task is due then, and the try counts as failed.

        Does nothing where the claim's token no longer holds the task.
        """

    def release(self, owner: str) -> int:
        """Give back all that `owner` holds, untouched, and forget what it enlisted; return how many leases."""

    def release_dead(self, is_alive: IsAlive, *, now: datetime) -> Sequence[str]:
        """Give back what the dead hold, and count their deaths against it; return their names.

        Of whom `is_alive` cannot tell the record decides: who neither renewed nor claimed in time is dead.
        """


class Progress(Protocol):
    """The path of a claimed task: its answer, its stems, its end."""

    def more_urgent_waits(
        self, claim: Claim, deadline: datetime, now: datetime, blocked_accounts: Collection[AccountName] = ()
    ) -> bool:
        """Return whether a due, free task was never asked about, or is LISTED with an earlier deadline still to come.

        Once `deadline` has passed, any that has not is more urgent. Those of `blocked_accounts` that must be asked
        about do not count.
        """

    def listed(self, claim: Claim, record: RecordInfo, deadline: datetime, *, settled: bool, now: datetime) -> Claim:
        """Save the answer and its stems (LISTED or RELISTED); return the claim as it now stands, every URL whole.

        A stem that is known by name keeps its state and, unless it is stored, gets the fresh URL. Whatever
        could be secret in a URL is in the claim alone, and never in the database.
        """

    def stored(self, claim: Claim, receipts: Mapping[StemName, Receipt]) -> None:
        """Write down that the objects of these stems are complete; each at its receipt's stored_at."""

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
        """Make a REFUSED stem WANTED again, for the slow re-try that its not_before allows; return it.

        Its failures still count, so that one more refuses it again.
        """

    def chronicle(self, claim: Claim) -> Chronicle:
        """Return what a manifest tells of the task and the claim does not hold, as it stands now."""

    def confirm(self, claim: Claim) -> None:
        """Do nothing while the claim holds its task, also past its lease: what the bucket has of it may be replaced."""

    def finish(self, claim: Claim, outcome: Outcome, *, record: RecordInfo | None, now: datetime) -> None:
        """Write the outcome and end the lease, at `now` where it ends the task. `record` is the last answer, if any.

        A task that is put off until a pause ends is due at its end, or at the time that the outcome names.
        """


class Pauses(Protocol):
    """The pauses of dependencies: for the breakers, and for the operator."""

    def pause(
        self,
        dependency: Dependency,
        account: AccountName = DEFAULT_ACCOUNT,
        host: str = "",
        *,
        reason: str,
        hint: str,
        lasting: bool,
        now: datetime,
    ) -> Pause:
        """Begin the pause of that account or host, or prolong it after a failed probe; a hold stays as it is.

        The wait doubles with each failed probe, from 5 s to 30 s. A call before next_probe comes from a straggler,
        one of many threads or processes that met the same refusal at once: it changes the reason alone. A
        next_probe farther away than any wait was written down before the clock was set back, and has passed.
        """

    def resume(self, dependency: Dependency, account: AccountName = DEFAULT_ACCOUNT, host: str = "") -> bool:
        """End a pause of that account or host that nobody holds; return whether there was one.

        What was put off until its end is due at once, as after `lift`.
        """

    def hold(self, dependency: Dependency, *, until: datetime | None, now: datetime) -> Pause:
        """Pause it for the operator until then, None for until it is lifted; all pauses before it are replaced."""

    def wake(self, subject: Subject) -> None:
        """Make due what waits for that subject: whoever starts anew has probably mended it."""

    def is_awaited(self, subject: Subject) -> bool:
        """Return whether an open task waits for that subject's pause to end, or to try it again after it failed."""

    def bring_forward(
        self, subjects: Collection[Subject] | None, *, now: datetime, after: datetime, each: int, but: Sequence[TaskId]
    ) -> Sequence[TaskId]:
        """Make due, and return, `each` of the tasks that each subject failed and whose next try is after that time.

        None: of all subjects that failed some. Leaves out those of `but`; the first to be due go first.
        """

    def lift(self, dependency: Dependency, *, over_at: datetime | None = None) -> bool:
        """End its pauses, held or not, or only one that is over at that time; return whether there was one."""

    def all(self) -> Sequence[Pause]:
        """Return every pause."""


class Uploads(Protocol):
    """The multipart uploads that are not finished."""

    def opening(self, owner: str, key: str, *, now: datetime) -> None:
        """Write down that an upload to `key` is about to be made; a power cut may undo it."""

    def opened(self, owner: str, key: str, upload_id: str, *, now: datetime) -> None:
        """Write down an upload before its first part; once more is no fault."""

    def closed(self, key: str, upload_id: str) -> None:
        """Strike out an upload that was completed or aborted."""

    def of_dead(self, is_alive: IsAlive) -> Sequence[tuple[str, str]]:
        """Return key and id of the uploads whose owner is dead, the oldest first.

        Of whom `is_alive` cannot tell the record decides: whom `release_dead` struck off is dead.
        """

    def keys(self) -> Collection[str]:
        """Return the keys to which uploads were about to be made, and that were not forgotten since."""

    def forget(self, keys: Collection[str]) -> None:
        """Forget that uploads to these keys were about to be made."""


class Processes(Protocol):
    """Who works on the ledger. A power cut may undo what is written down here."""

    def begin(self, owner: str, *, role: str, place: str, pid: int, now: datetime) -> None:
        """Write down that a process is at work, and forget those that ended or died a week ago."""

    def note(self, owner: str, *, doing: str, looked_at: datetime | None, fault: str, now: datetime) -> None:
        """Write down what it does, when it last looked at the queue file, and why it could not read that."""

    def end(self, owner: str, *, now: datetime) -> None:
        """Write down that it ended in order."""

    def ahead(self, *, now: datetime) -> timedelta:
        """Return by how much the last note of a process that works no more is later than `now`; zero where none is."""

    def take_back(self, *, now: datetime) -> None:
        """Have noted such at `now`, so that they are ahead of it no longer."""


class Reports(Protocol):
    """All that people are shown."""

    def show(self, task_id: TaskId) -> TaskRow | None:
        """Return one task with stems and history; None when the ledger does not know it."""

    def overview(self, *, now: datetime, at_risk: timedelta, retention: timedelta = RETENTION) -> Overview:
        """Return counts and what is at risk: open tasks that lack a stem, with a deadline nearer than `at_risk`.

        Of which no deadline is known, the earlier of creation and acceptance and `retention` count as it.
        """

    def needing(self, *, now: datetime, at_risk: timedelta, retention: timedelta = RETENTION) -> Iterator[NeedyTask]:
        """Yield every task that needs a person, by the reason; a page in memory at a time."""

    def newest(
        self, query: TaskQuery, *, now: datetime, at_risk: timedelta, retention: timedelta = RETENTION
    ) -> Iterator[ListedTask]:
        """Yield the tasks of the query, the newest first; a page in memory at a time, each of one moment."""

    def moved_at(self, path: str) -> datetime | None:
        """Return when the place up to which the queue file at `path` is read was moved last."""

    def are_rejected(self, rejects: Sequence[Reject]) -> bool:
        """Return whether all of these rejects are on record."""

    def processes(self) -> Sequence[Process]:
        """Return who works on the ledger, and who did in the last week, the latest first."""

    def quarantined(self) -> Sequence[Quarantined]:
        """Return the quarantined tasks, at most 20, those with the most deaths first."""

    def enlisted(self, owner: str, *, limit: int) -> EnlistedWork:
        """Return where the tasks that `owner` enlisted stand, and the most urgent `limit` that are not ARCHIVED."""

    def open_work(self, owner: str | None, blocked_accounts: Collection[AccountName] = ()) -> OpenWork:
        """Return what is still to be done, of what `owner` enlisted or of all.

        Tasks of `blocked_accounts` that must be asked about are counted, and not waited for.
        """
