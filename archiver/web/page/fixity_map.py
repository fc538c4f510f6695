"""The fixity map: the slices of the archive in 256 cells, each as old as the oldest of its slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from archiver.core.slices import SLICES, Standing

CELLS = 256
COLUMNS = 32
_EACH = SLICES // CELLS
_AGES = ((0.25, "fresh"), (0.5, "young"), (0.75, "old"), (1.0, "due"))


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the map."""

    x: int
    y: int
    look: str
    """Its class: `fault`, `unread`, or how near to its time it is."""


@dataclass(frozen=True, slots=True)
class FixityMap:
    """The map, and what it comes to."""

    cells: Sequence[Cell]
    read: int
    """Slices that were read through at least once."""
    oldest: datetime | None
    objects: int
    """Objects that stand as read."""


def fixity_map(standings: Sequence[Standing], now: datetime, within: timedelta) -> FixityMap | None:
    """Draw how the slices stand; None where nothing is read again."""
    if not standings:
        return None
    by_cell: list[list[Standing]] = [[] for _ in range(CELLS)]
    for each in standings:
        by_cell[each.number // _EACH].append(each)
    cells = [
        Cell(10 * (index % COLUMNS), 10 * (index // COLUMNS), _look(its, now, within))
        for index, its in enumerate(by_cell)
    ]
    ends = [each.ended_at for each in standings if each.ended_at is not None]
    return FixityMap(cells, len(ends), min(ends, default=None), sum(each.checked.objects for each in standings))


def _look(standings: Sequence[Standing], now: datetime, within: timedelta) -> str:
    if any(each.checked.faults for each in standings):
        return "fault"
    ends = [each.ended_at for each in standings]
    if not ends or any(end is None for end in ends):
        return "unread"
    age = (now - min(end for end in ends if end is not None)) / within if within else 0.0
    return next((look for limit, look in _AGES if age <= limit), "overdue")
