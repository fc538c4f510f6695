"""Clocks compared: a wall clock that was set, or a machine that slept, shows beside a clock that never jumps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

STEP = timedelta(seconds=30)
"""Less is drift, or a process that was held up between its looks at the two clocks."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

LONG_AGO = datetime.min.replace(tzinfo=UTC)
"""The time by which nothing has any age yet."""


def units_of(span: timedelta) -> list[tuple[int, int]]:
    """Return the first two units of a span that are not zero: the count of each, and its place in days to seconds."""
    seconds = int(abs(span.total_seconds()))
    counts = (seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60, seconds % 60)
    first = next((place for place, count in enumerate(counts) if count), 3)
    return [(count, place) for place, count in enumerate(counts) if count and place <= first + 1] or [(0, 3)]


def microseconds(moment: datetime) -> int:
    """Return an aware datetime as the ledger keeps it: whole microseconds since 1970 UTC."""
    return (moment - EPOCH) // MICROSECOND


@dataclass(slots=True)
class Steps:
    """Notices that the wall clock moved otherwise than the steady one since the last look."""

    _offset: float | None = field(default=None, init=False)

    def look(self, wall: datetime, steady: float) -> timedelta:
        """Return by how much the wall clock jumped ahead, or, negative, back; zero at the first look, and for drift."""
        offset, before = wall.timestamp() - steady, self._offset
        self._offset = offset
        step = timedelta() if before is None else timedelta(seconds=offset - before)
        return step if abs(step) >= STEP else timedelta()
