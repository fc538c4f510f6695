"""Faults of the archive as they are kept: what was found, and what a later check finds mended. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from archiver.core.fixity import Fixity, Judged
from archiver.core.levels import Level
from archiver.core.slices import slice_of

KEPT_MOST: Final = 100_000
"""Open faults that are kept by name: what is beyond is found again by the next check."""
LONGEST_WORDS: Final = 500
"""Characters of what was expected or found."""

_BY_BYTES: Final = frozenset({Fixity.MISMATCH})
_BY_MANIFEST: Final = frozenset({Fixity.MANIFEST_BROKEN, Fixity.MANIFEST_DIFFERS})


class FaultState(StrEnum):
    """How it stands with a fault."""

    OPEN = "open"
    CLOSED = "closed"
    """A later check found it mended."""


@dataclass(frozen=True, slots=True)
class FixityFault:
    """The fault of an object when it was last looked at."""

    key: str
    kind: Fixity
    """One of FAULTS."""
    task_id: str
    """Empty for an object in no task's folder."""
    seen: datetime
    """When it was first found so."""
    expected: str
    found: str
    state: FaultState = FaultState.OPEN
    closed_at: datetime | None = None
    acknowledged_at: datetime | None = None
    """When an operator acknowledged that it will not be mended; None again once it is found otherwise."""


def is_mended(fault: FixityFault, judged: Judged, level: Level) -> bool:
    """Return whether a later verdict, of a check at that level, closes the fault: it looked closely enough."""
    if judged.is_fault or judged.verdict is Fixity.UNREAD:
        return False
    if judged.verdict is Fixity.COLD:
        return fault.kind in {Fixity.MISSING, Fixity.RECORD_MISSING, Fixity.MANIFEST_MISSING}
    if fault.kind in _BY_BYTES:
        return judged.proven or level is Level.READ
    return level is not Level.LIST if fault.kind in _BY_MANIFEST else True


def is_worse(fault: FixityFault, judged: Judged) -> bool:
    """Return whether the fault that is known says more than the one just found: bytes that were read say the most."""
    return fault.kind is Fixity.MISMATCH and judged.verdict is Fixity.ALTERED


def is_acknowledged(fault: FixityFault, judged: Judged) -> bool:
    """Return whether an operator has acknowledged what was just found."""
    is_same = fault.kind is judged.verdict and fault.found == judged.found[:LONGEST_WORDS]
    return fault.acknowledged_at is not None and (is_same or is_worse(fault, judged))


def is_of_slice(fault: FixityFault, number: int) -> bool:
    """Return whether a walk through a slice has looked at the object: not what a listing alone shows, nor a record."""
    return fault.kind not in {Fixity.UNKNOWN, Fixity.RECORD_MISSING} and slice_of(fault.task_id) == number


def level_for(kind: Fixity) -> Level:
    """Return the level of `verify` that looks again at faults of a kind closely enough to close them."""
    if kind in _BY_BYTES:
        return Level.READ
    return Level.HEAD if kind in _BY_MANIFEST else Level.LIST
