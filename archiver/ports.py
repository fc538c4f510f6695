"""What the path of a task needs from the outside, one narrow interface for each thing.

An implementation translates its library's exceptions into `archiver.core.errors`; callers see no others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, Protocol

from archiver.core.errors import ArchiverError, LedgerFault
from archiver.core.model import (
    DEFAULT_ACCOUNT,
    AccountName,
    Claim,
    Cursor,
    Dependency,
    Intake,
    Moved,
    Outcome,
    Receipt,
    RecordInfo,
    Reject,
    StemName,
    StemRow,
    TaskId,
)
from archiver.core.states import StemEvent, StemState, TaskState

Clock = Callable[[], datetime]
"""Now, as an aware UTC datetime."""

Jitter = Callable[[], float]
"""A number from 0 up to 1."""

Checkpoint = Callable[[str], None]
"""Called with a step's name just after the step became durable; lets tests stop the world there."""


def unobserved(step: str) -> None:
    """The Checkpoint of production: does nothing."""


class EventLog(Protocol):
    """Structured events: a dotted name and fields."""

    def debug(self, event: str, **fields: object) -> object:
        """Log what only a developer wants to know."""

    def info(self, event: str, **fields: object) -> object:
        """Log a step that went as it should."""

    def warning(self, event: str, **fields: object) -> object:
        """Log what the service copes with, but an operator may want to know."""

    def error(self, event: str, **fields: object) -> object:
        """Log what an operator must look at."""

    def exception(self, event: str, **fields: object) -> object:
        """Log an error together with the traceback of the exception being handled."""


class Observer(Protocol):
    """Is told what moved, for progress and metrics; must return at once and never raise."""

    def received(self, size: int) -> None:
        """`size` more bytes of audio came in."""

    def stem_stored(self, size: int, seconds: float) -> None:
        """A stem of `size` bytes is complete in the store, `seconds` after its transfer began."""

    def unknown_name(self) -> None:
        """A record named a stem nobody has heard of."""

    def try_failed(self, error: ArchiverError) -> None:
        """A try at a stem, or at a whole task, ended in this error."""

    def task_ended(self, outcome: Outcome, age: timedelta | None) -> None:
        """A try at a task came to this outcome, `age` after the provider created the task (None: not known)."""


class ServiceManager(Protocol):
    """Whoever started the process and looks after it; none of its methods fails or waits."""

    def ready(self) -> None:
        """Say that the service is at work, or back at it after `reloading`."""

    def reloading(self) -> None:
        """Say that the settings are being read again; `ready` must follow."""

    def stopping(self) -> None:
        """Say that the service is about to end."""

    def status(self, text: str) -> None:
        """Say in a few words what the service does."""

    def progress(self) -> None:
        """Say that all is going on; without it for too long, the service is ended by force."""


class Gate(Protocol):
    """Knows which dependency is paused; the provider for each account by itself, which says nothing for the others."""

    def admits(self, *dependencies: Dependency, account: AccountName = DEFAULT_ACCOUNT) -> bool:
        """Whether all of them may be used now. While one is paused, True at most once a probe is due."""

    def shut(self, *dependencies: Dependency) -> bool:
        """Whether one of them is paused and nobody is probing it: what was begun had better stop."""

    def barred(self) -> Collection[AccountName]:
        """The accounts for which the provider may not be asked now."""

    def worked(self, dependency: Dependency, account: AccountName = DEFAULT_ACCOUNT) -> None:
        """The dependency did its work: a pause, if any, is over."""

    def failed(self, dependency: Dependency, error: ArchiverError, account: AccountName = DEFAULT_ACCOUNT) -> None:
        """The dependency was busy or out of reach; many such in a row, and it is paused for all tasks."""


class TransferPool(Protocol):
    """The threads that move stems, shared by all tasks."""

    def submit(self, deadline: datetime, work: Callable[[], None], host: str) -> Future[None]:
        """Run `work`, which fetches from `host`, as soon as may be; the earliest deadline goes first."""

    def moved(self, host: str, size: int) -> None:
        """Note that `size` bytes came from `host`: by this the pool may find out how many at a time are worth it."""


class RecordApi(Protocol):
    """The provider's API as one account has it. Holds the key, follows no redirect, keeps the pace."""

    def fetch(self, task_id: TaskId) -> RecordInfo:
        """Read record-info once, with short retries inside (at most 30 s).

        `data: null` is Phase.ABSENT, not an error. Raises ApiBusy or ProviderPaused.
        """

    def fresh_link(self, url: str) -> str | None:
        """Ask POST /api/v1/common/download-url for a link that lives 20 minutes.

        None when the provider refuses this URL. The answer is a secret: never log or store it.
        Raises ApiBusy or ProviderPaused.
        """

    def credit(self) -> float:
        """The account's credit; the free health check. Raises ApiBusy or ProviderPaused."""


class Accounts(Protocol):
    """The accounts at the provider that we have keys for."""

    def of(self, account: AccountName) -> RecordApi:
        """Return the API as that account has it; raise AccountUnknown."""


@dataclass(frozen=True, slots=True)
class NoSlot:
    """No request may be sent now."""

    seconds: float
    """Until it is worth asking again."""
    cooling: float = 0.0
    """Seconds for which the provider has asked all who share its limit to be silent."""


class Slots(Protocol):
    """The requests that one account may send within the provider's window, by all who share them."""

    def take(self) -> str | NoSlot:
        """Take a slot, whose name is to be given back, or say when to look again; never waits for one."""

    def give_back(self, slot: str) -> None:
        """Let it rest for a window from now on; call it when the answer has come."""

    def cool_down(self, seconds: float) -> None:
        """Let none of the others have a slot for so many seconds."""

    def resize(self, limit: int) -> None:
        """Have another number of slots from now on; those that are out or at rest count towards it."""

    def left(self) -> int:
        """How many could be taken now."""


class Queue(Protocol):
    """The queue file: an append-only inbox that is never rewritten."""

    def read(self, cursor: Cursor | None) -> Intake:
        """Read what was appended since `cursor`, in bounded batches; raise QueueUnreadable."""


class Body(Protocol):
    """Audio as it flows in, verified: a reader that cannot end early without raising."""

    @property
    def length(self) -> int | None:
        """Bytes announced by the origin; None when it announced none."""

    @property
    def extension(self) -> str:
        """From the first bytes, never from the URL: mp3, wav, flac, ogg, m4a, aiff, aac and kin."""

    @property
    def content_type(self) -> str:
        """The media type that belongs to `extension`."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` and return its size, or, only at the body's verified end, the fewer bytes left.

        Raises BodyShort, BodySlow, BodyLong, BodyChanged, BodyTooLarge or OriginBusy.
        """

    @property
    def sha256(self) -> str:
        """Lower-case hex of all bytes handed out; final once readinto returned less than asked."""

    @property
    def size(self) -> int:
        """Bytes handed out so far."""


class Downloader(Protocol):
    """The anonymous client of the CDN."""

    def open(self, url: str) -> AbstractContextManager[Body]:
        """GET `url`, judge status, address and first bytes, and hand out the body.

        Raises OriginBusy, LinkSpent, BodyNotAudio, BodyEmpty, BodyTooLarge or AddressForbidden.
        """


class Buffers(Protocol):
    """The one budget of memory that all transfers share."""

    def buffer(self, size: int) -> AbstractContextManager[memoryview]:
        """Wait, in order of arrival, for `size` bytes' share and lend a buffer of exactly that size.

        Its contents are whatever the last borrower left. Ask for one at a time: a thread that already
        holds one must not wait for another. Raises StoreBusy once the budget is closed.
        """


class UploadJournal(Protocol):
    """Where multipart uploads are written down before their first part."""

    def opened(self, key: str, upload_id: str) -> None:
        """Write down that the upload exists; durable when it returns."""

    def closed(self, key: str, upload_id: str) -> None:
        """Strike it out: completed, or aborted for certain."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store says of a finished object."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`."""

    level: Literal["ok", "warn", "fail"]
    subject: str
    detail: str
    hint: str = ""


class ObjectStore(Protocol):
    """The bucket. Nothing in it is ever deleted, and audio is never overwritten."""

    def put(self, key: str, body: Body, *, metadata: Mapping[str, str], journal: UploadJournal) -> StoredObject:
        """Store the whole body under `key`, create-only and checksummed; return once it is complete.

        An equal object that already stands there is success. Raises KeyTaken for a different one,
        StoreBusy, StoreCorrupt or StorePaused; errors of the body pass through. On any exception no
        object and no part is left behind, or the journal still names the upload.
        """

    def find(self, key: str, *, size: int, sha256: str) -> StoredObject | None:
        """Return the object under `key` if it has just these bytes (hex SHA-256), else None.

        Raises StoreBusy or StorePaused.
        """

    def put_document(self, key: str, data: bytes, *, same: Callable[[bytes], bool]) -> StoredObject:
        """Store a JSON sidecar, create-only.

        Where one stands already and `same(its bytes)` is true it is left; else it is replaced under
        If-Match. Raises StoreBusy or StorePaused.
        """

    def abort(self, key: str, upload_id: str) -> None:
        """Abort a multipart upload; one that is no longer there is success. Raises StoreBusy or StorePaused."""


class UploadList(Protocol):
    """The multipart uploads that the bucket holds open, whoever began them."""

    def uploads(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
        """Key, upload id and begin of each under `prefix`. Raises StoreBusy or StorePaused."""

    def abort(self, key: str, upload_id: str) -> None:
        """As ObjectStore.abort."""


class Stage(StrEnum):
    """Which half of the path a claim is wanted for."""

    LIST = "list"
    """Ask the provider (tasks whose stems are not known, or must be asked again)."""
    STORE = "store"
    """Fetch and store known stems: needs no API key."""


@dataclass(frozen=True, slots=True)
class Due:
    """A task that is to be worked on, now or from its `not_before` on, and how urgent that is."""

    task_id: TaskId
    stage: Stage
    urgency: datetime
    deadline: datetime | None
    not_before: datetime


@dataclass(frozen=True, slots=True)
class Pause:
    """A dependency that is left alone: it refused us, or the operator holds it."""

    dependency: Dependency
    since: datetime
    reason: str
    hint: str
    lasting: bool
    probes: int
    next_probe: datetime
    """When it is tried again; a held one that is not lasting ends by then without a try."""
    held: bool = False
    """The operator's own wish, for every account: nothing but `lift`, or its end, ends it."""
    account: AccountName = DEFAULT_ACCOUNT
    """Whose pause it is, where the dependency is the provider."""

    @property
    def subject(self) -> str:
        """What people call that which is paused."""
        return self.dependency.value + ("" if self.account == DEFAULT_ACCOUNT else f" (account {self.account})")

    def over(self, now: datetime) -> bool:
        """Whether it was held until a time that has come."""
        return self.held and not self.lasting and now >= self.next_probe


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task as `show` and `status` see it."""

    task_id: TaskId
    state: TaskState
    account: AccountName
    accepted_at: datetime
    source: str
    first_asked_at: datetime | None
    created_at: datetime | None
    completed_at: datetime | None
    deadline: datetime | None
    not_before: datetime | None
    asks: int
    attempts: int
    flag: str
    reason: str
    ended_at: datetime | None
    leased_until: datetime | None
    stems: tuple[StemRow, ...]
    history: tuple[Moved, ...]


@dataclass(frozen=True, slots=True)
class AtRisk:
    """An open task whose deadline is near or past."""

    task_id: TaskId
    deadline: datetime
    missing_stems: int
    reason: str


@dataclass(frozen=True, slots=True)
class Overview:
    """What `status` says."""

    tasks: Mapping[TaskState, int]
    stems: Mapping[StemState, int]
    bytes_stored: int
    due: int
    working: int
    next_due: datetime | None
    nearest_deadline: datetime | None
    at_risk_count: int
    at_risk: tuple[AtRisk, ...]
    """The first 20 by deadline."""
    pauses: tuple[Pause, ...]
    rejected_lines: int
    rejects: tuple[Reject, ...]
    """The last 20."""
    last_archived_at: datetime | None
    stems_an_hour: float | None
    """The present pace: of the last hour; None while it cannot be told."""
    forecast_late: int | None
    """How many of the stems that are listed now will expire before they are reached at that pace."""


@dataclass(frozen=True, slots=True)
class OpenWork:
    """Open tasks that will go on by themselves: all but those that wait only for an operator."""

    tasks: int
    next_retry: datetime | None
    """The earliest not_before of tasks whose last try failed; also of those due now (then in the past)."""
    next_ask: datetime | None
    """The earliest not_before of tasks that the provider has not finished."""
    nearest_deadline: datetime | None
    """The earliest deadline that is known among them."""


Alive = Callable[[str], bool | None]
"""Whether the owner of that name still works; None where that cannot be told here."""


@dataclass(frozen=True, slots=True)
class JobCounts:
    """How the queue of jobs and those who work on it stand."""

    workers: int
    """Workers that were heard of within seconds."""
    silent_workers: int
    """Workers that were not, and have not said goodbye: killed, frozen or cut off."""
    waiting: int
    """Jobs that a worker may take now."""
    scheduled: int
    """Jobs whose time will come within seconds."""
    doing: int
    stalled: int
    """Jobs that a worker took who is silent or gone; they are put back within seconds."""


class Jobs(Protocol):
    """The queue between those who take ids in and the workers: one job is one try at one task.

    The ledger alone knows what is to be done: a job that is lost, doubled or out of date costs a look
    into it, never a task. All methods raise LedgerFault when the queue's database cannot be used.
    """

    def defer(self, tasks: Sequence[Due], *, now: datetime) -> int:
        """Queue a job for each task that has none waiting, by urgency; return how many.

        A task's `not_before` holds: a later one is scheduled, and one scheduled too late brought forward.
        """

    def rescue(self) -> Sequence[TaskId]:
        """Put back the jobs of workers that are gone; return their tasks."""


class Hand(Protocol):
    """Does the jobs that a worker takes. Its methods are called from several threads and never raise."""

    def wants(self) -> Sequence[Stage]:
        """Jobs of which stages may be taken now, the preferred first; none: nothing is to be begun."""

    def begins(self, stage: Stage) -> None:
        """A job was taken: `work` will follow."""

    def work(self, task_id: TaskId, stage: Stage) -> None:
        """Do it; when this returns it is done with, whatever came of it."""

    def idles(self) -> None:
        """The worker looked for jobs, and lives."""


class Engine(Jobs, Protocol):
    """The worker's side of the queue."""

    @property
    def fault(self) -> LedgerFault | None:
        """Why no job is taken any more, if so."""

    def start(self, hand: Hand, *, at_once: int) -> None:
        """Take jobs for `hand`, so many at once, until `stop`."""

    def stop(self) -> None:
        """Take no more jobs; returns at once, those taken are finished."""


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
