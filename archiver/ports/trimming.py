"""The ledger, as archived tasks are trimmed in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from archiver.core.model import TaskId
from archiver.core.trimming import Trimmed
from archiver.core.whole_task import WholeTask

Place = tuple[datetime, TaskId]
"""When a task ended, and its id: the order in which they are looked at."""


@dataclass(frozen=True, slots=True)
class Removed:
    """Rows that one transaction took out of the ledger."""

    tasks: int = 0
    rows: int = 0
    bytes: int | None = None
    """Of the database's file, free to be used again; None where the database does not say."""


class Trimming(Protocol):
    """The archived tasks whose stems stand here."""

    def due(self, before: datetime, after: Place | None, size: int) -> Sequence[WholeTask]:
        """Return so many that ended before then, from behind that place; the longest ago first."""

    def remove(self, proven: Mapping[TaskId, tuple[WholeTask, Trimmed]]) -> Removed:
        """Remove stems and history of those tasks that still are as given, and write down what is kept instead.

        All or nothing. One that changed meanwhile is left alone.
        """

    def reusable(self) -> int | None:
        """Return the bytes within the database's file that nothing stands in; None where it does not say."""

    def accepted_since(self, since: datetime) -> int:
        """Return how many tasks were accepted since then: by them the ledger grows."""
