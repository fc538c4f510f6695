"""How much may be logged in a minute: what matters most comes first, and what is left out is counted. Pure.

`ALL` bytes at most, whatever happens. What may be written is a matter of how much was written in the last minute:

* an event's first `FIRSTS` lines in a minute, and what people are alerted to: as long as anything may be;
* errors, warnings, all else, and in each what is about one stem after the rest: less and less, so that none drives out
  another that matters more;
* libraries: `LIBRARIES` bytes between them;
* the same event about the same task, stem, job or dependency: `REPEATS` times.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Mapping
from typing import NamedTuple

MINUTE = 60.0
"""Seconds."""

ALL = 1_000_000
"""Bytes in any minute; the ceilings below are for all that was written in it."""

ALERTED = 980_000
"""The rest above it is for the events that say what was left out."""

ERRORS = 650_000
STEMS_ERRORS = 620_000
WARNINGS = 590_000
REST = 560_000
STEMS_REST = 480_000
LIBRARIES = 100_000

FIRSTS = 10
REPEATS = 20

SUPPRESSED = "log.suppressed"
"""The event that says how many lines of another were left out."""

_NAMES_MAX = 200
_OTHERS = "others"


class Line(NamedTuple):
    """The part of an event that decides whether it is logged."""

    name: str
    """Of the event, or of the library's logger."""
    level: int
    """As `logging` has it."""
    kind: str
    """Of what `FIRSTS` are written: the event, or the library's message before its values are filled in."""
    about: tuple[str, ...] = ()
    """Which task, job or dependency; of a library, nothing."""
    is_about_a_stem: bool = False
    is_library: bool = False


class LogBudget:
    """Decides on each line. For one thread at a time; `now` is in seconds of a clock that is never set."""

    def __init__(self, alerted: Collection[str] = ()) -> None:
        self._alerted = frozenset(alerted)
        self._written = _LastMinute()
        self._by_libraries = _LastMinute()
        self._since = 0.0
        self._firsts: dict[tuple[str, str], int] = {}
        self._repeats: dict[tuple[str, tuple[str, ...]], int] = {}
        self._left_out: dict[str, int] = {}
        self._worst = logging.NOTSET

    def room(self, line: Line, now: float) -> int:
        """Return how many bytes the line may have to be written."""
        if now - self._since >= MINUTE:
            self._since = now
            self._firsts.clear()
            self._repeats.clear()
        if self._repeats.get((line.name, line.about), 0) >= REPEATS:
            return 0
        room = self._ceiling(line) - self._written.bytes(now)
        if line.is_library and not self._is_first(line):
            return min(room, LIBRARIES - self._by_libraries.bytes(now))
        return room

    def write(self, line: Line, size: int, now: float) -> None:
        """Account for a line that is written."""
        self._written.add(size, now)
        if line.is_library:
            self._by_libraries.add(size, now)
        kind = line.name, line.kind
        self._firsts[kind] = self._firsts.get(kind, 0) + 1
        if line.about or line.name in self._alerted:
            subject = line.name, line.about
            self._repeats[subject] = self._repeats.get(subject, 0) + 1

    def leave_out(self, line: Line) -> None:
        """Count a line that is not written."""
        known = line.name in self._left_out or len(self._left_out) < _NAMES_MAX
        name = line.name if known else _OTHERS
        self._left_out[name] = self._left_out.get(name, 0) + 1
        self._worst = max(self._worst, line.level)

    def left_out(self) -> tuple[Mapping[str, int], int]:
        """Return how many lines of which name were left out since this was last asked, and the worst level of any."""
        left_out, worst = self._left_out, self._worst
        self._left_out, self._worst = {}, logging.NOTSET
        return left_out, worst

    def _ceiling(self, line: Line) -> int:
        if line.is_library:
            return ERRORS if self._is_first(line) else STEMS_REST
        if line.name == SUPPRESSED:
            return ALL
        if line.name in self._alerted or self._is_first(line):
            return ALERTED
        if line.level < logging.WARNING:
            return STEMS_REST if line.is_about_a_stem else REST
        if line.level < logging.ERROR:
            return WARNINGS
        return STEMS_ERRORS if line.is_about_a_stem else ERRORS

    def _is_first(self, line: Line) -> bool:
        written = self._firsts.get((line.name, line.kind), 0)
        return written < FIRSTS and (written > 0 or not line.is_library or len(self._firsts) < _NAMES_MAX)


class _LastMinute:
    """Bytes by the second in which they were written, of the last minute."""

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()
        self._sum = 0

    def add(self, size: int, now: float) -> None:
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += size
        else:
            self._seconds.append([second, size])
        self._sum += size

    def bytes(self, now: float) -> int:
        while self._seconds and self._seconds[0][0] < now - MINUTE - 1:
            self._sum -= self._seconds.popleft()[1]
        return self._sum
