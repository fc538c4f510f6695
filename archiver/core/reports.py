"""Reports to people: tasks, counts, findings. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from archiver.core.attention import Need, NeedyTask
from archiver.core.intake import Reject
from archiver.core.model import AccountName, Pause, StemName, StemRow, TaskId
from archiver.core.put_off import PutOff
from archiver.core.records.kinds.names import KindName
from archiver.core.states import StemState, TaskState
from archiver.core.trimming import Trimmed


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`."""

    level: Literal["ok", "warn", "fail"]
    subject: str
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """One row of history."""

    at: datetime
    stem: StemName | None
    event: str
    before: str
    after: str
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """Tasks that hang together."""

    parents: tuple[TaskId, ...] = ()
    """Those that it was made from."""
    children: tuple[TaskId, ...] = ()
    """Those that were made from it."""


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task as `show` and `status` report it."""

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
    deaths: int = 0
    """Processes in a row that died while at it; from the second on it is quarantined."""
    acknowledged_at: datetime | None = None
    """When an operator acknowledged that it needs a person; None again once anything new happens to it."""
    kind: KindName | None = None
    """None while it is not known."""
    title: str = ""
    family: Family = Family()
    trimmed: Trimmed | None = None
    """The remains of its stems and history where they were trimmed."""


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """The tasks that `list` shows."""

    states: tuple[TaskState, ...] = tuple(TaskState)
    need: Need | None = None
    """Only those that stand so, acknowledged or not."""
    account: AccountName | None = None
    since: datetime | None = None
    """Only those that were accepted since then."""
    text: str = ""
    """Only those that have it in their id, title, account, source or reason, or in name or reason of a stem."""
    acknowledged: bool = False
    """True to show also what an operator acknowledged."""


@dataclass(frozen=True, slots=True)
class ListedTask:
    """A task as `list` shows it."""

    task_id: TaskId
    state: TaskState
    account: AccountName
    accepted_at: datetime
    source: str
    deadline: datetime | None
    not_before: datetime | None
    ended_at: datetime | None
    reason: str
    acknowledged_at: datetime | None
    kind: KindName | None
    title: str


@dataclass(frozen=True, slots=True)
class AtRisk:
    """An open task whose deadline is near or past."""

    task_id: TaskId
    deadline: datetime
    missing_stems: int
    reason: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An open task that is tried last and alone: processes died while at it."""

    task_id: TaskId
    deaths: int
    not_before: datetime | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The content of `status`."""

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
    """Those that nobody acknowledged."""
    rejects: tuple[Reject, ...]
    """The last 20 that nobody acknowledged."""
    last_archived_at: datetime | None
    stems_an_hour: float | None
    """The rate of the last hour; None while it is unknown."""
    forecast_late: int | None
    """Listed stems that will expire before they are reached at that rate."""
    quarantined_count: int = 0
    quarantined: tuple[Quarantined, ...] = ()
    """The first 20 by the number of deaths."""
    needs: Mapping[Need, int] = field(default_factory=dict)
    """The tasks that need a person and that nobody acknowledged, by the reason; each counts once."""
    needing: tuple[NeedyTask, ...] = ()
    """The first 20 of them: open ones by deadline, then the ended ones, the latest first."""
    dropped_rejects: int = 0
    """How many of the rejected lines were too many to keep."""
    put_off: tuple[PutOff, ...] = ()
    """The open tasks that wait for their next try or ask, by why."""


@dataclass(frozen=True, slots=True)
class EnlistedWork:
    """Where the tasks of one backfill stand, all at one moment."""

    states: Mapping[TaskState, int]
    """The number of its tasks by state; each state is there."""
    unfinished: tuple[TaskRow, ...] = ()
    """The most urgent of those that are not ARCHIVED, without their history."""

    @property
    def tasks(self) -> int:
        """The number of its tasks."""
        return sum(self.states.values())

    @property
    def archived(self) -> int:
        """The number of those that are ARCHIVED."""
        return self.states.get(TaskState.ARCHIVED, 0)

    @property
    def not_archived(self) -> Mapping[TaskState, int]:
        """The number of the others by state, without the states that none is in."""
        return {state: count for state, count in self.states.items() if count and state is not TaskState.ARCHIVED}


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
    pending: int = 0
    """The number of those that the provider has not finished."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that works on the ledger, or did lately."""

    owner: str
    role: str
    """The command that it was started by."""
    place: str
    """The machine's name."""
    pid: int
    since: datetime
    seen_at: datetime
    ended_at: datetime | None
    """When it ended in order; None while it works, and for one that died."""
    looked_at: datetime | None
    """When it last looked at the queue file."""
    doing: str
    fault: str
    """Why it could not read the queue file when it last looked; empty where it could."""
    alive_until: datetime | None
    """Until when its leases say that it lives."""


@dataclass(frozen=True, slots=True)
class JobCounts:
    """The state of the queue of jobs and of its workers."""

    workers: int
    """Workers that gave a sign of life within seconds."""
    silent_workers: int
    """Workers that gave none and did not end in order: killed, frozen or cut off."""
    waiting: int
    """Jobs that a worker may take now."""
    scheduled: int
    """Jobs whose time will come within seconds."""
    doing: int
    stalled: int
    """Jobs of workers that are silent or gone; they are put back within seconds."""
