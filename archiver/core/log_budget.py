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
from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

MINUTE = 60.0
"""Seconds."""

ALL = 1_000_000
"""Bytes in any minute; the ceilings below are for all that was written in it."""

ALERTED = 980_000
"""What is left above it is for the events that say what was left out."""

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


@dataclass(frozen=True, slots=True)
class Line:
    """What is to be logged, as far as it decides whether it is."""

    name: str
    """Of the event, or of the library's logger."""
    level: int
    """As `logging` has it."""
    kind: str
    """Of what `FIRSTS` are written: the event, or the library's message before its values are filled in."""
    about: tuple[object, ...] = ()
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
        self._firsts: Counter[tuple[str, str]] = Counter()
        self._repeats: Counter[tuple[str, tuple[object, ...]]] = Counter()
        self._suppressed: Counter[str] = Counter()
        self._worst = logging.NOTSET

    def has_room(self, line: Line, size: int, now: float) -> bool:
        """Return whether a line of `size` bytes may be written."""
        if now - self._since >= MINUTE:
            self._since = now
            self._firsts.clear()
            self._repeats.clear()
        if self._repeats[line.name, line.about] >= REPEATS and (line.about or line.name in self._alerted):
            return False
        if line.is_library and self._by_libraries.bytes(now) + size > LIBRARIES and not self._is_first(line):
            return False
        return self._written.bytes(now) + size <= self._ceiling(line)

    def write(self, line: Line, size: int, now: float) -> bool:
        """Return whether the line may be written, and account for it: as written, or as left out."""
        if not self.has_room(line, size, now):
            self.leave_out(line)
            return False
        self._written.add(size, now)
        if line.is_library:
            self._by_libraries.add(size, now)
        self._firsts[line.name, line.kind] += 1
        self._repeats[line.name, line.about] += 1
        return True

    def leave_out(self, line: Line) -> None:
        """Count a line that is not written."""
        known = line.name in self._suppressed or len(self._suppressed) < _NAMES_MAX
        self._suppressed[line.name if known else _OTHERS] += 1
        self._worst = max(self._worst, line.level)

    def left_out(self) -> tuple[Mapping[str, int], int]:
        """Return how many lines of which name were left out since this was last asked, and the worst level of any."""
        left_out, worst = self._suppressed, self._worst
        self._suppressed, self._worst = Counter(), logging.NOTSET
        return left_out, worst

    def _ceiling(self, line: Line) -> int:
        if line.name == SUPPRESSED and not line.is_library:
            return ALL
        if line.is_library:
            return ERRORS if self._is_first(line) else STEMS_REST
        if self._is_first(line) or line.name in self._alerted:
            return ALERTED
        if line.level < logging.WARNING:
            return STEMS_REST if line.is_about_a_stem else REST
        if line.level < logging.ERROR:
            return WARNINGS
        return STEMS_ERRORS if line.is_about_a_stem else ERRORS

    def _is_first(self, line: Line) -> bool:
        kind = line.name, line.kind
        known = not line.is_library or kind in self._firsts or len(self._firsts) < _NAMES_MAX
        return known and self._firsts[kind] < FIRSTS


class _LastMinute:
    """Bytes by the second in which they were written, of the last minute."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()
        self._sum = 0

    def add(self, size: int, now: float) -> None:
        second = int(now)
        before = self._seconds.pop()[1] if self._seconds and self._seconds[-1][0] == second else 0
        self._seconds.append((second, before + size))
        self._sum += size

    def bytes(self, now: float) -> int:
        while self._seconds and self._seconds[0][0] < now - MINUTE - 1:
            self._sum -= self._seconds.popleft()[1]
        return self._sum
