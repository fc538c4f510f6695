"""The outlook: by when stems must be stored, held against the present pace. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from archiver.core import plan

STEPS = 96
"""The most steps of an outlook."""

_HOUR = timedelta(hours=1)
_LONGEST = timedelta(days=36_500)
"""Longer is told of nothing: dates end."""


@dataclass(frozen=True, slots=True)
class Step:
    """A moment by which so many stems must be stored, of all that are not yet."""

    at: datetime
    due: int
    """All that are due by then."""
    reached: int
    """All that will be stored by then at the present pace; as many as are due, where the pace is not known."""

    @property
    def is_late(self) -> bool:
        """True where more are due than will be reached."""
        return self.due > self.reached


@dataclass(frozen=True, slots=True)
class Outlook:
    """The stems that are not stored yet, the earliest deadline first."""

    steps: Sequence[Step]
    an_hour: float | None
    """The present pace in stems; None while it is not known."""
    late: int
    """How many will expire before they are reached."""
    late_from: datetime | None
    """The first deadline that is missed so; None without any."""

    @property
    def stems(self) -> int:
        """The number of stems that are not stored yet."""
        return self.steps[-1].due if self.steps else 0

    @property
    def takes(self) -> timedelta | None:
        """The time that all of them take at the present pace; None where that is not known, or none moves."""
        return min(self.stems / self.an_hour, _LONGEST / _HOUR) * _HOUR if self.an_hour else None


def outlook(backlog: Iterable[tuple[datetime, int]], an_hour: float | None, now: datetime) -> Outlook:
    """Return the outlook on pairs of a deadline and the number of its stems."""
    pairs = sorted(backlog)
    late = 0 if an_hour is None else plan.forecast(pairs, an_hour / 3600, now)
    steps, due, late_from = [], 0, None
    for at, stems in pairs:
        due += stems
        reached = due if an_hour is None else int(max(0.0, an_hour * ((at - now) / _HOUR)))
        step = Step(at, due, min(reached, due) if an_hour is None else reached)
        steps.append(step)
        if late and late_from is None and step.is_late:
            late_from = at
    return Outlook(_thinned(steps), an_hour, late, late_from)


def _thinned(steps: Sequence[Step]) -> Sequence[Step]:
    """Return a few of the steps, the first and the last among them: of a span always the last, where most are due."""
    if len(steps) <= STEPS:
        return steps
    first, span = steps[0].at, (steps[-1].at - steps[0].at) / STEPS
    by_span = {int((step.at - first) / span): step for step in steps}
    return list(by_span.values())
