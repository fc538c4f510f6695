"""Drawings as SVG: the plot of deadlines and the course of a day. Geometry alone; colours are the stylesheet's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from archiver.core.outlook import Outlook, Step
from archiver.web.page.words import number

_DAY = timedelta(days=1)
_LEAST_SPAN = timedelta(hours=6)
_TICKS = 4

Across = Callable[[datetime], float]
Up = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark at an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Area:
    """The place of a step, from it to the next, in the full height: to be pointed at."""

    x: float
    width: float
    step: Step


@dataclass(frozen=True, slots=True)
class DeadlinePlot:
    """The plot of deadlines, in units of its view box."""

    width: int
    height: int
    left: int
    top: int
    bottom: int
    due: str
    """The area below the steps."""
    late: str
    """The part of the steps that is above the line; empty without any."""
    pace: str
    """The line of what will be stored; empty where the pace is not known."""
    risk: float
    """Where the span of being at risk ends."""
    columns: Sequence[Tick]
    rows: Sequence[Tick]
    areas: Sequence[Area]


def deadline_plot(outlook: Outlook, now: datetime, at_risk: timedelta, width: int, height: int) -> DeadlinePlot | None:
    """Draw the outlook; None where nothing is left to be stored."""
    if not outlook.steps:
        return None
    left, right, top, bottom = 56, width - 12, 14, height - 30
    ends = max(outlook.steps[-1].at - now, _LEAST_SPAN) * 1.02
    most = _rounded(outlook.stems)

    def x(moment: datetime) -> float:
        return round(left + (right - left) * min(max((moment - now) / ends, 0.0), 1.0), 1)

    def y(stems: float) -> float:
        return round(bottom - (bottom - top) * min(stems / most, 1.0), 1)

    due = [f"M{left} {bottom}"]
    late = []
    for step, before in zip(outlook.steps, [None, *outlook.steps], strict=False):
        due.append(f"V{y(before.due if before else 0)}H{x(step.at)}V{y(step.due)}")
        if step.is_late and outlook.an_hour is not None:
            late.append(_bar(step, outlook.steps, x, y, right))
    due.append(f"H{right}V{bottom}Z")
    return DeadlinePlot(
        width, height, left, top, bottom, "".join(due), "".join(late), _pace(outlook, now, x, y, right),
        x(now + at_risk), _columns(now, ends, x, width), [Tick(y(each), number(each)) for each in _grid(most)],
        _areas(outlook.steps, x, right),
    )  # fmt: skip


def _areas(steps: Sequence[Step], x: Across, right: int) -> list[Area]:
    begins = [x(step.at) for step in steps]
    ends = [*begins[1:], float(right)]
    return [
        Area(begin, round(max(end - begin, 1.5), 1), step) for begin, end, step in zip(begins, ends, steps, strict=True)
    ]


def _bar(step: Step, steps: Sequence[Step], x: Across, y: Up, right: int) -> str:
    after = next((x(each.at) for each in steps if each.at > step.at), right)
    return f"M{x(step.at)} {y(step.due)}H{max(after, x(step.at) + 1.5)}V{y(step.reached)}H{x(step.at)}Z"


def _pace(outlook: Outlook, now: datetime, x: Across, y: Up, right: int) -> str:
    if outlook.an_hour is None:
        return ""
    if outlook.takes is None:
        return f"M{x(now)} {y(0)}H{right}"
    return f"M{x(now)} {y(0)}L{x(now + outlook.takes)} {y(_reached(outlook, now, right, x))}H{right}"


def _reached(outlook: Outlook, now: datetime, right: int, x: Across) -> float:
    """Return how high the line is where it ends: all stems, unless the plot ends before."""
    takes = outlook.takes or timedelta()
    end = outlook.steps[-1].at
    if now + takes <= end or x(now + takes) < right:
        return outlook.stems
    return (outlook.an_hour or 0.0) * ((end - now) / timedelta(hours=1))


def _columns(now: datetime, ends: timedelta, x: Across, width: int) -> list[Tick]:
    few = max(3, width // 150)
    hours = ends / timedelta(hours=1)
    step = next((each for each in (1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 720) if hours / each <= few), math.ceil(hours))
    ticks = [Tick(x(now), "now")]
    at = step
    while at < hours * 0.96:
        label = f"+{at // 24} d" if at % 24 == 0 else f"+{at} h"
        ticks.append(Tick(x(now + timedelta(hours=at)), label))
        at += step
    return ticks


def _rounded(most: int) -> int:
    """Return the least of 4, 8, 20, 40, ... that holds so many."""
    scale = 1
    while True:
        for factor in (4, 8, 20):
            if most <= factor * scale:
                return factor * scale
        scale *= 10


def _grid(most: int) -> list[int]:
    return [most * each // _TICKS for each in range(_TICKS + 1)]


@dataclass(frozen=True, slots=True)
class DayPlot:
    """The course of a day: a bar an hour."""

    bars: Sequence[tuple[float, float, float, str]]
    """Of each its place, top, height and words."""
    most: int


def day_plot(archived: Sequence[tuple[datetime, int]], now: datetime) -> DayPlot:
    """Draw the tasks that were archived in each of the last 24 hours, in a box of 240 by 60."""
    counts = [0] * 24
    for at, count in archived:
        # `at` is the first of an hour on the clock.
        hours = int((now - at) / timedelta(hours=1))
        counts[23 - min(max(hours, 0), 23)] += count
    most = max(counts)
    bars = []
    for index, count in enumerate(counts):
        height = round(56 * count / most, 1) if most else 0.0
        ago = 23 - index
        when = "in the last hour" if ago == 0 else f"{ago} h ago"
        bars.append((10.0 * index, round(58 - height, 1), height, f"{count:,} {when}"))
    return DayPlot(bars, most)
