"""The pace at which slices are read again, so that each is in time; and whether that can be. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from archiver.core.slices import SLICES, Standing

HEADROOM: Final = 1.25
"""The factor by which slices are read quicker than they must be: a day without a store makes none late."""
SHARE_BESIDE_DEADLINES: Final = 5
"""One connection in so many reads what is archived, while tasks have deadlines."""


@dataclass(frozen=True, slots=True)
class DueSlice:
    """The bytes of a slice that are to be read, and by when."""

    at: datetime
    bytes: int


def due_slices(
    standings: Iterable[Standing], *, total: int, since: datetime, within: timedelta, now: datetime
) -> Sequence[DueSlice]:
    """Return what is to be read of each slice, what is due first in front.

    `total` is the size of all objects: ids are hashed, so each slice holds about as much. Who asks for it `since` a
    moment is promised every object within that span from then on, and not before.
    """
    share = -(-total // SLICES)
    dues = (_due(each, share, since, within, now) for each in standings)
    return sorted(dues, key=lambda due: due.at)


def _due(standing: Standing, share: int, since: datetime, within: timedelta, now: datetime) -> DueSlice:
    checked = min(max(standing.ended_at or since, since), now)
    read = standing.checked.bytes if standing.is_under_way else 0
    return DueSlice(checked + within, max(share - read, 0))


def needed_rate(dues: Sequence[DueSlice], now: datetime) -> float:
    """Return the bytes a second that the slices need, each by when it is due; infinity where one is overdue."""
    return max((_rate(size, at - now) for at, size in _sums(dues)), default=0.0)


def pace_of(dues: Sequence[DueSlice], now: datetime, bandwidth: float) -> float:
    """Return the bytes a second at which to read: what is left by the time left, with headroom, within `bandwidth`."""
    return min(HEADROOM * needed_rate(dues, now), bandwidth)


def late_by(dues: Sequence[DueSlice], now: datetime, bandwidth: float) -> timedelta:
    """Return by how much the latest slice would be late even at the whole bandwidth; zero where none is."""
    sums = [(at, size) for at, size in _sums(dues) if size]
    if sums and not bandwidth:
        return timedelta(seconds=_NEVER)
    late = max((size / bandwidth - (at - now).total_seconds() for at, size in sums), default=0.0)
    return timedelta(seconds=min(max(late, 0.0), _NEVER))


def fixity_late(dues: Sequence[DueSlice], now: datetime, bandwidth: float) -> bool:
    """Return whether some slice will not be read in time, whatever the pace."""
    return late_by(dues, now, bandwidth) > timedelta()


def readers(connections: int, *, beside_deadlines: bool) -> int:
    """Return how many connections may read what is archived."""
    return max(1, connections // SHARE_BESIDE_DEADLINES) if beside_deadlines else max(1, connections)


_NEVER: Final = timedelta(days=36500).total_seconds()


def _sums(dues: Iterable[DueSlice]) -> Iterator[tuple[datetime, int]]:
    """Yield each time at which something is due, with all the bytes that are by then."""
    total = 0
    for due in dues:
        total += due.bytes
        yield due.at, total


def _rate(size: int, left: timedelta) -> float:
    if not size:
        return 0.0
    return size / left.total_seconds() if left > timedelta() else float("inf")
