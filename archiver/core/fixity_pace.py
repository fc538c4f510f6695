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
    return DueSlice(checked + within, max(share - read, 1))


def needed_rate(dues: Sequence[DueSlice], now: datetime) -> float:
    """Return the bytes a second that the slices need, each by when it is due; infinity where one is overdue."""
    return max((_rate(size, at - now) for at, size in _sums(dues)), default=0.0)


def pace_of(dues: Sequence[DueSlice], now: datetime, bandwidth: float) -> float:
    """Return the bytes a second at which to read: what is left by the time left, with headroom, within `bandwidth`."""
    return min(HEADROOM * needed_rate(dues, now), bandwidth)


def unhurried(dues: Iterable[DueSlice], within: timedelta, now: datetime) -> Sequence[DueSlice]:
    """Return them with what is overdue put off by a sixteenth of the span.

    A slice that cannot be read must not make all else be read in haste, again and again.
    """
    soon = now + within / 16
    return sorted((DueSlice(soon, due.bytes) if due.at <= now else due for due in dues), key=lambda due: due.at)


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


def readers(connections: int) -> int:
    """Return how many connections may read what is archived, beside tasks that have deadlines."""
    return max(1, connections // SHARE_BESIDE_DEADLINES)


def total_of(standings: Iterable[Standing]) -> int:
    """Return about how many bytes all slices hold, by those that were read; the least where those are too few."""
    read = [each.checked.bytes for each in standings if each.ended_at is not None and not each.is_under_way]
    return max(SLICES, SLICES * sum(read) // len(read)) if len(read) >= _SAMPLE else SLICES


def is_any_due(standings: Iterable[Standing], within: timedelta, now: datetime) -> bool:
    """Return whether a slice is to be read at all yet: none is twice in half the span, however little it holds."""
    before = now - within / 2
    return any(each.is_under_way or each.ended_at is None or each.ended_at <= before for each in standings)


_SAMPLE: Final = 64
"""Slices that tell about how much the others hold."""
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
