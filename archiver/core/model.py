"""The nouns: task, stem, record, claim, receipt, outcome.

Every datetime here is an aware UTC datetime; every size is in bytes; every span is a timedelta.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from archiver.core.records.facts import NO_FACTS, Facts
from archiver.core.records.kinds.names import KindName, Media
from archiver.core.records.left_out import LeftOut
from archiver.core.states import StemState, TaskState
from archiver.core.text import INLINE

TaskId = NewType("TaskId", str)
StemName = NewType("StemName", str)
AccountName = NewType("AccountName", str)

DEFAULT_ACCOUNT = AccountName("default")
"""The account that `provider.api_key` belongs to, and every task for which no other is named."""

ACCOUNT_RULE = "1 to 32 of the characters A-Z a-z 0-9 _ -"
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,32}")


def account_name(text: object) -> AccountName:
    """Return `text` as the name of an account; raise ValueError, without echoing it, when it cannot be one."""
    if not isinstance(text, str) or not _ACCOUNT.fullmatch(text):
        raise ValueError(f"not an account's name (expected {ACCOUNT_RULE})")
    return AccountName(text)


TASK_ID_RULE = "8 to 128 of the characters A-Z a-z 0-9 _ -"
_TASK_ID = re.compile(r"[A-Za-z0-9_-]{8,128}")
ARCHIVE_FOLDER = "_archive"


def task_id(text: str) -> TaskId:
    """Return `text` as a task id; raise ValueError, without echoing it, when it cannot be one."""
    if text == ARCHIVE_FOLDER:
        raise ValueError(f"{ARCHIVE_FOLDER} is the folder of the archive itself, and no task's id")
    if not _TASK_ID.fullmatch(text):
        raise ValueError(f"not a task id (expected {TASK_ID_RULE})")
    return TaskId(text)


class Phase(StrEnum):
    """A task's progress at the provider, as its record says."""

    ABSENT = "absent"
    """`data` is null: not visible yet, unknown, or purged. Only age decides between them."""
    PENDING = "pending"
    """The provider is still at work, or uses an unknown flag."""
    DONE = "done"
    """The provider is finished and the listed audio is all there will be."""
    FAILED = "failed"
    """The provider gave up."""

    @property
    def is_final(self) -> bool:
        """True once the provider has ended its work."""
        return self in {Phase.DONE, Phase.FAILED}


@dataclass(frozen=True, slots=True)
class StemSource:
    """One file that a record names."""

    name: StemName
    """Lower-case words joined by `_`, unique in the task; becomes part of the object key."""
    url: str
    """As it must be requested, encoded; may hold secrets. Empty where it is `not_taken`, or its `content` is here."""
    field: str
    """The place in the record, e.g. `vocalUrl` or `originData[0].extract`."""
    duration: float | None = None
    """Seconds, when the record says."""
    known: bool = True
    """False for an undocumented field: archived all the same, with a warning."""
    media: Media = Media.AUDIO
    content: str | None = None
    """The file itself, where it stands in the record: it is written by us, and nothing is fetched."""
    written_as: str = ""
    """The form that `content` is written in, which is the extension of its key: `txt`, `json`, `mid` or `lrc`."""
    not_taken: str = ""
    """The reason why it cannot be asked for, fit for logs; empty where it can."""
    fallback: str = ""
    """Another address of the same file, as `url` is; empty where the record names none."""


@dataclass(frozen=True, slots=True)
class RecordInfo:
    """One reading of record-info."""

    phase: Phase
    stems: tuple[StemSource, ...] = ()
    flag: str = ""
    created_at: datetime | None = None
    completed_at: datetime | None = None
    error_code: int | None = None
    error_message: str = ""
    """Free of URLs' paths and queries, and of control characters."""
    document: str = ""
    """The answer's JSON as it came, every URL without its query; what record-info.json holds."""
    left_out: tuple[LeftOut, ...] = ()
    kind: KindName = KindName.SEPARATION
    """The kind that was asked for."""
    facts: Facts = NO_FACTS
    answered_at: datetime | None = field(default=None, compare=False)
    """The provider's own time when it answered; None where it told none."""
    blemish: str = field(default="", compare=False)
    """The fault of the answer's JSON, and its place; empty for sound JSON."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that one object is complete in the store."""

    key: str
    size: int
    sha256: str
    """Lower-case hex, of the bytes as they came from the origin."""
    etag: str
    content_type: str
    stored_at: datetime
    alias_of: StemName | None = None
    """Set when another stem of the task has the same bytes; `key` is then that stem's object."""
    doubt: str = ""
    """Why the file may not be what it should be; empty where nothing shows it."""


@dataclass(frozen=True, slots=True)
class StemRow:
    """A stem as the ledger knows it."""

    name: StemName
    state: StemState
    url: str | None
    """None when the URL carried a query: those are never written down, and are asked for again. Empty as a source's."""
    url_shown: str
    """The URL without its query: fit for logs and manifests. Why it is `not_taken`, or the hash of an inline file."""
    field: str
    duration: float | None = None
    attempts: int = 0
    """Tries that failed since the last success or operator's retry."""
    gone: int = 0
    """Those of the tries that the origin answered with 401, 403, 404 or 410."""
    not_before: datetime | None = None
    reason: str = ""
    receipt: Receipt | None = None
    media: Media = Media.AUDIO

    @property
    def not_taken(self) -> str:
        """The reason why it cannot be asked for; empty where it can."""
        return self.url_shown if self.url == "" and not self.url_shown.startswith(INLINE) else ""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one task until the lease runs out, and what is known of the task."""

    task_id: TaskId
    token: str
    """Unforgeable name of this lease; every write of the path must present it."""
    state: TaskState
    accepted_at: datetime
    account: AccountName = DEFAULT_ACCOUNT
    """The account whose key the provider is asked with; the settings may lack it."""
    first_asked_at: datetime | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    deadline: datetime | None = None
    asks: int = 0
    """Answers so far that said `not yet`."""
    attempts: int = 0
    """Tries in a row that failed."""
    settled: bool = False
    """True once the provider said that no further stems will be listed."""
    document: str = ""
    """The last record, as in RecordInfo.document."""
    stems: tuple[StemRow, ...] = ()
    deaths: int = 0
    """Processes in a row that died uncleanly while at it."""
    kind: KindName | None = None
    """None while it is not known."""
    hint: KindName | None = None
    """The kind to ask about first while that is so."""
    title: str = ""
    parent: TaskId | None = None
    saying: str = ""
    """The last record in short, as plan.saying has it."""
    said_since: datetime | None = None


class Dependency(StrEnum):
    """An outside thing that all tasks share; while it is down, no task is to blame."""

    PROVIDER = "provider"
    """The API that is asked for records and links."""
    ORIGIN = "origin"
    """The CDN that the audio comes from, all its hosts together."""
    STORE = "store"
    """The bucket."""


@dataclass(frozen=True, slots=True)
class Subject:
    """That which can fail alone, and so has its own breaker: the provider by account, the origin by host, the store.

    What does not tell a subject from others of its dependency is left out, whoever names it.
    """

    dependency: Dependency
    account: AccountName = DEFAULT_ACCOUNT
    host: str = ""

    @classmethod
    def of(cls, dependency: Dependency, account: AccountName = DEFAULT_ACCOUNT, host: str = "") -> Subject:
        """Return the subject that this use of the dependency is of."""
        return cls(
            dependency,
            account if dependency is Dependency.PROVIDER else DEFAULT_ACCOUNT,
            host if dependency is Dependency.ORIGIN else "",
        )

    @property
    def key(self) -> str:
        """The name by which the ledger knows what waits for it."""
        return f"{self.dependency.value}:{self.host or self.account}"

    def __str__(self) -> str:
        """The name for people."""
        if self.host:
            return f"{self.dependency.value} (host {self.host})"
        return self.dependency.value + ("" if self.account == DEFAULT_ACCOUNT else f" (account {self.account})")


@dataclass(frozen=True, slots=True)
class Archived:
    """Every stem is stored and the manifest is written."""

    kind = "archived"


@dataclass(frozen=True, slots=True)
class Later:
    """Not finished; to be taken up again at `at`."""

    at: datetime
    reason: str
    fault: bool = False
    """True when a try failed (the back-off grows), False when the provider is merely not ready."""
    failed_at: Subject | None = field(default=None, compare=False)
    """Subjects that failed it and may work again before."""
    kind = "later"


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is left to do but stems that an operator must look at; `at` is the next slow re-try, if any."""

    reason: str
    at: datetime | None = None
    kind = "refused"


@dataclass(frozen=True, slots=True)
class Lost:
    """Audio existed and can no longer be had; what could be saved is saved."""

    reason: str
    kind = "lost"


@dataclass(frozen=True, slots=True)
class Failed:
    """The provider made no audio."""

    reason: str
    kind = "failed"


@dataclass(frozen=True, slots=True)
class Missing:
    """The provider does not know the id, long after it was first asked."""

    reason: str
    kind = "missing"


@dataclass(frozen=True, slots=True)
class Paused:
    """A dependency refused us; the task is given back untouched."""

    dependency: Dependency
    reason: str
    hint: str
    lasting: bool
    """True when only the operator can mend it (a bad key), False when waiting may (maintenance)."""
    account: AccountName = DEFAULT_ACCOUNT
    host: str = ""
    at: datetime | None = field(default=None, compare=False)
    """The time to look again, after the others that wait; None: as before."""
    kind = "paused"

    @property
    def subject(self) -> Subject:
        """That which refused us."""
        return Subject.of(self.dependency, self.account, self.host)


@dataclass(frozen=True, slots=True)
class Yielded:
    """Given back untouched, so that more urgent work goes first."""

    at: datetime | None = field(default=None, compare=False)
    """The time to look again, where all that is left to do waits for the end of a pause; None: as before."""
    waits_for: tuple[Subject, ...] = field(default=(), compare=False)
    """Those that are paused; the task is due as soon as one of them works."""
    kind = "yielded"


Outcome = Archived | Later | Refused | Lost | Failed | Missing | Paused | Yielded


@dataclass(frozen=True, slots=True)
class Policy:
    """The spans that the plan decides by."""

    retention: timedelta = timedelta(days=14)
    grace_after_deadline: timedelta = timedelta(days=2)
    pending_first: timedelta = timedelta(seconds=20)
    pending_max: timedelta = timedelta(minutes=10)
    retry_first: timedelta = timedelta(seconds=5)
    retry_max: timedelta = timedelta(hours=1)
    missing_after: timedelta = timedelta(hours=24)
    settled_after: timedelta = timedelta(minutes=5)
    at_risk: timedelta = timedelta(hours=48)
    min_rate: float = 1024
    """Bytes a second, with `max_stem_bytes` and the deadline: the time that one file may take."""
    max_stem_bytes: int = 2 << 30


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A finished object, as the store describes it."""

    key: str
    size: int
    etag: str
    crc32: str = field(default="", compare=False)


class Stage(StrEnum):
    """A half of the path that a claim is made for."""

    LIST = "list"
    """Ask the provider (tasks whose stems are not known, or must be asked again)."""
    STORE = "store"
    """Fetch and store known stems: needs no API key."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A dependency that no task uses: it refused us, or the operator holds it."""

    dependency: Dependency
    since: datetime
    reason: str
    hint: str
    lasting: bool
    probes: int
    next_probe: datetime
    """The time of the next try; a hold that is not lasting ends then, without a try."""
    held: bool = False
    """True for the operator's own hold, for every account: only `lift` or its end ends it."""
    account: AccountName = DEFAULT_ACCOUNT
    """The account that is paused, where the dependency is the provider."""
    host: str = ""
    """The host that is paused, where the dependency is the origin; empty for all of them, held."""

    @property
    def subject(self) -> Subject:
        """That which is paused."""
        return Subject(self.dependency, self.account, self.host)

    def over(self, now: datetime) -> bool:
        """Return whether this is a hold whose end has come."""
        return self.held and not self.lasting and now >= self.next_probe
