"""Slices: the archive in 4,096 parts by its tasks' ids, each verified as a whole, round after round. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final

from archiver.core.fixity import FAULTS, Fixity

SLICES: Final = 4096

LISTING: Final = -1
"""The number of what is no slice: the walk through the bucket's listing."""


class Course(StrEnum):
    """A way through the archive that is gone again and again, round after round."""

    LIST = "list"
    HEAD = "head"
    READ = "read"
    DAILY = "daily"
    """The list that the service takes by itself."""


def slice_of(task_id: str) -> int:
    """Return the slice that a task is in: the first 12 bits of its id's SHA-256."""
    first = sha256(task_id.encode()).digest()
    return first[0] << 4 | first[1] >> 4


@dataclass(frozen=True, slots=True)
class Round:
    """One walk through all that a course leads to."""

    course: Course
    number: int
    begun_at: datetime
    ended_at: datetime | None = None
    """None while it is not finished."""


@dataclass(frozen=True, slots=True)
class Place:
    """The object judged last; empty before the first."""

    task: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """Counts of the objects judged so far."""

    objects: int = 0
    bytes: int = 0
    """Of those objects, as the ledger has their sizes."""
    verdicts: Mapping[Fixity, int] = field(default_factory=dict)

    def plus(self, verdicts: Iterable[Fixity], size: int = 0) -> Checked:
        """Return the sum with so many more."""
        counts = Counter(self.verdicts)
        counts.update(verdicts)
        return Checked(sum(counts.values()), self.bytes + size, dict(counts))

    @property
    def faults(self) -> int:
        """Objects that are not as they should be."""
        return sum(count for verdict, count in self.verdicts.items() if verdict in FAULTS)


@dataclass(frozen=True, slots=True)
class SliceLease:
    """A slice in hand, to be gone through from `place` on."""

    course: Course
    number: int
    round: int
    token: str
    begun_at: datetime
    place: Place = Place()
    checked: Checked = Checked()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a slice stands."""

    number: int
    round: int
    """The one in which it was begun last."""
    ended_at: datetime | None
    """The end of the last whole walk through it."""
    is_under_way: bool
    checked: Checked
    """Of the walk that is under way, else of the last one."""

    @property
    def was_unread(self) -> bool:
        """True where the last walk to its end could not read an object."""
        return not self.is_under_way and bool(self.checked.verdicts.get(Fixity.UNREAD))
