"""Due: a task whose time has come, as those see it who leave the work to others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from archiver.core.model import Stage, TaskId


class First(Enum):
    """The tasks that are taken first of those to be stored."""

    URGENT = auto()
    """The nearest deadline."""
    UNTRIED = auto()
    """The same of those of which no try has failed, while there are such."""
    LATEST = auto()
    """The farthest of these."""


@dataclass(frozen=True, slots=True)
class Due:
    """A task that is to be worked on, now or from its `not_before` on, and its urgency."""

    task_id: TaskId
    stage: Stage
    urgency: datetime
    deadline: datetime | None
    not_before: datetime
    again: bool = False
    """True where a try has failed, or where it was asked about in vain."""
