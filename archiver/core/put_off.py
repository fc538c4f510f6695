"""Put-off tasks: open ones that were tried or asked about in vain, and that wait for the next time. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from archiver.core.model import TaskId

UNKNOWN_YET = "the provider does not know this id yet"
"""How the reason of a task begins whose id the provider does not know."""


class Why(StrEnum):
    """Why a task is put off."""

    UNKNOWN = "unknown"
    """The provider does not know its id."""
    NOT_READY = "not_ready"
    """The provider is not done with it."""
    FAILING = "failing"
    """Its last try failed."""


@dataclass(frozen=True, slots=True)
class PutOff:
    """The tasks that are put off for one cause."""

    why: Why
    tasks: int
    oldest: TaskId
    """The one that was asked about first."""
    since: datetime
    """When that was; where it never was asked about, when it was accepted."""
    reason: str
    """Its reason."""
