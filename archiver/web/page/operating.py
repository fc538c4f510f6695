"""Operations that the page may be asked for: the promises of the commands that do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from archiver.core.errors import LedgerFault, SettingsFault
from archiver.core.intake import Reject
from archiver.core.model import AccountName, Dependency, TaskId
from archiver.ports.work import QueueUnreadable

FAULTS = (LedgerFault, QueueUnreadable, SettingsFault, OSError)
"""Raised where an operation cannot be done."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The finds in a text of ids."""

    fresh: Sequence[tuple[TaskId, str, str]]
    """Id, account and title of what would be added."""
    known: Sequence[tuple[TaskId, str]]
    """Id, and how it stands."""
    rejects: Sequence[Reject]


class Operations(Protocol):
    """The deeds of the commands. Each opens what it writes to for itself; raises one of FAULTS."""

    def preview(self, text: str) -> Preview:
        """Read a text of ids, and write nothing."""

    def add(self, text: str, account: AccountName | None) -> int:
        """Append what is new in the text to the queue file; return how many that were."""

    def retry(self, ids: Sequence[TaskId] | None) -> Sequence[TaskId]:
        """Put tasks back to work, all that can be where None are named; return which were."""

    def give_title(self, task: TaskId, title: str) -> bool:
        """Call a task so, as a line of the queue does; return False where none of that id is known."""

    def acknowledge(self, ids: Sequence[TaskId]) -> Sequence[TaskId]:
        """Acknowledge what needs a person; return what did."""

    def acknowledge_rejects(self) -> int:
        """Acknowledge every rejected line; return how many there were."""

    def hold(self, dependencies: Sequence[Dependency], span: timedelta | None) -> None:
        """Pause these for that span, or until they are lifted."""

    def lift(self, dependencies: Sequence[Dependency]) -> Sequence[Dependency]:
        """End the pauses of these; return which were paused."""

    def verify(self, ids: Sequence[TaskId], ended: Callable[[str, bool], None]) -> None:
        """Begin to read every byte of these tasks again; call `ended` with what it came to, and whether at fault."""
