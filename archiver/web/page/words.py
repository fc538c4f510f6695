"""Values in the words of the page: spans, sizes, counts."""

from __future__ import annotations

from datetime import datetime, timedelta

from archiver.core.clocks import units_of
from archiver.core.text import without_controls

NAMES = {"s": "second", "min": "minute", "h": "hour", "d": "day"}
_SPANS = ("d", "h", "min", "s")
_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_TENS = 10
_BRIEF, _LINE = 500, 300
"""Characters."""
_EXACT = timedelta(minutes=10)
"""From so long on seconds are left out."""


def number(count: float) -> str:
    """Return a count with its thousands apart: `12,000`."""
    return f"{count:,.0f}"


def counted(count: int, noun: str) -> str:
    """Return the number and the noun, which takes an s where it is not 1."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size(count: float) -> str:
    """Return bytes with a decimal unit: `5.2 MB`."""
    for factor, unit in _UNITS:
        if count >= factor:
            value = count / factor
            return f"{value:.1f} {unit}" if value < _TENS else f"{value:.0f} {unit}"
    return f"{count:.0f} B"


def _parts(span: timedelta) -> list[tuple[int, str]]:
    found = [(count, _SPANS[place]) for count, place in units_of(span)]
    return found[:1] if _EXACT <= abs(span) < timedelta(hours=1) else found


def span(of: timedelta) -> str:
    """Return a span in short: `4 h 12 min`."""
    return " ".join(f"{count} {unit}" for count, unit in _parts(of))


def long_span(of: timedelta) -> str:
    """Return a span in full: `5 days 11 hours`."""
    return " ".join(counted(count, NAMES[unit]) for count, unit in _parts(of))


def until(moment: datetime, now: datetime) -> str:
    """Return where a moment lies: `in 2 d 4 h`, `3 min ago`."""
    return f"in {span(moment - now)}" if moment > now else f"{span(now - moment)} ago"


def short(name: str) -> str:
    """Return a task's id so short that people can still tell it."""
    return name if len(name) <= 20 else f"{name[:8]}…{name[-8:]}"  # noqa: PLR2004 - both ends, and a sign


def brief(text: object) -> str:
    """Return what others wrote in bounded length."""
    words = str(text)
    return words if len(words) <= _BRIEF else f"{words[:_BRIEF]}…"


def in_words(text: str) -> str:
    """Return what others wrote as one line of bounded length, without what turns or hides letters."""
    line = without_controls(text)
    return line if len(line) <= _LINE else f"{line[:_LINE]}…"


FILTERS = {
    "brief": brief,
    "number": number,
    "counted": counted,
    "size": size,
    "span": span,
    "long_span": long_span,
    "until": until,
    "short": short,
    "in_words": in_words,
}
"""The filters of templates, by name."""
