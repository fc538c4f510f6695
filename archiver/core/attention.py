"""Attention: what needs a person, said once for `status`, exit codes, metrics, alerts and documents. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from archiver.core.model import AccountName, Pause, TaskId
from archiver.core.states import TaskState

POLLS = 3
"""Polls after which a queue file that is not read needs a person."""


class Need(StrEnum):
    """The reason why a task needs a person; the first that holds is its reason."""

    LOST = "lost"
    FAILED = "failed"
    MISSING = "missing"
    QUARANTINED = "quarantined"
    REFUSED = "refused"
    AT_RISK = "at_risk"


ENDS: Mapping[Need, TaskState] = {
    Need.LOST: TaskState.LOST,
    Need.FAILED: TaskState.FAILED,
    Need.MISSING: TaskState.MISSING,
}
"""Those that are states in which a task ended."""


@dataclass(frozen=True, slots=True)
class NeedyTask:
    """A task that needs a person, and that nobody acknowledged."""

    task_id: TaskId
    need: Need
    state: TaskState
    account: AccountName
    deadline: datetime | None
    """Of which none is known, the one it is taken to have; None once it has ended without."""
    reason: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class QueueStanding:
    """How a queue file stands to what was read of it."""

    path: str
    unread_bytes: int = 0
    unread_lines: int = 0
    """Lines not taken in, an unterminated last one included."""
    unterminated_bytes: int = 0
    """Bytes of a last line without its newline that is not taken in."""
    appended_at: datetime | None = None
    """When the file was last written to."""
    moved_at: datetime | None = None
    """When something of it was last taken in."""
    looked_at: datetime | None = None
    """When a daemon last looked at it."""
    exists: bool = True
    fault: str = ""
    """Why it cannot be read; empty where it can."""

    def is_overdue(self, now: datetime, poll: timedelta) -> bool:
        """Return whether it has been unread for POLLS polls: nothing was taken in, and no look or line is younger."""
        if self.fault:
            return True
        since = now - POLLS * poll
        quiet = any(at is not None and at <= since for at in (self.appended_at, self.looked_at))
        return self.unread_bytes > 0 and quiet and (self.moved_at is None or self.moved_at <= since)


def needs_person(needs: Mapping[Need, int], rejected_lines: int, *, queue_is_overdue: bool) -> bool:
    """Return whether anything needs a person."""
    return any(needs.values()) or rejected_lines > 0 or queue_is_overdue


def is_held_up(pauses: Collection[Pause], now: datetime) -> bool:
    """Return whether a dependency is paused."""
    return not all(pause.over(now) for pause in pauses)
