"""Listing of tasks in an order, a page at a time. Pure data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from archiver.core.model import StemRow
from archiver.core.reports import ListedTask, TaskQuery
from archiver.core.task_rows import bytes_of
from archiver.core.trimming import Trimmed

PREFIX_MIN = 4
"""Characters of an id that are looked for at least."""

ANY = "*"
"""Ends a word that stands for all that begin so."""


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of what was typed to look for titles; ANY stays where it ends one."""
    return tuple(_WORD.findall(text))[:WORDS_MAX]


_WORD = re.compile(rf"[^\W_]+(?:{re.escape(ANY)})?")
WORDS_MAX = 8


class TaskOrder(StrEnum):
    """The order of a listing, which also says what is in it."""

    NEWEST = "newest"
    """All, those accepted last first."""
    DEADLINE = "deadline"
    """Open tasks of which a deadline is known, the nearest first."""
    ENDED = "ended"
    """Tasks that ended and were not trimmed, the last first."""
    SIZE = "size"
    """Tasks that ended with audio, those of which most bytes are stored first."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time; None is no bound."""

    since: datetime | None = None
    until: datetime | None = None
    """The first moment that is no longer in it."""

    def __bool__(self) -> bool:
        """Return whether it has a bound."""
        return self.since is not None or self.until is not None


@dataclass(frozen=True, slots=True)
class TaskFilter(TaskQuery):
    """The tasks that the page lists; by default all."""

    acknowledged: bool = True
    needs_person: bool = False
    """Only those that need a person, and that nobody acknowledged."""
    source: str = ""
    """Only those that came from there."""
    stem: str = ""
    """Only those with a stem of that name; none that was trimmed."""
    prefix: str = ""
    """Only those whose id begins so; at least PREFIX_MIN characters."""
    words: tuple[str, ...] = ()
    """Only those whose title has each of these words, see `words_of`; those that were given one last come first."""
    accepted: Span = Span()
    created: Span = Span()
    """When the provider says that it was made."""
    deadline: Span = Span()
    ended: Span = Span()


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """A place in a listing: that of a task."""

    key: int
    """That which the order goes by; no meaning elsewhere."""
    task_id: str

    def __str__(self) -> str:
        return f"{self.key}.{self.task_id}"

    @classmethod
    def of(cls, text: str) -> TaskPlace:
        """Read what `str` gives; raise ValueError for anything else."""
        key, dot, task_id = text.partition(".")
        place = cls(int(key), task_id)
        if not dot or not -(1 << 63) <= place.key < 1 << 63 or str(place) != text or "\0" in task_id:
            raise ValueError("no place in a listing")
        return place


@dataclass(frozen=True, slots=True)
class TaskOnPage:
    """A task as a page shows it."""

    task: ListedTask
    created_at: datetime | None
    stems: tuple[StemRow, ...]
    """None of a task that was trimmed."""
    trimmed: Trimmed | None

    @property
    def bytes_stored(self) -> int:
        """Bytes that are stored of it; an alias has none of its own."""
        return sum(map(bytes_of, self.stems)) if self.trimmed is None else self.trimmed.bytes


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Some tasks in an order."""

    rows: tuple[TaskOnPage, ...]
    older: TaskPlace | None
    """Behind it more may be found; None at the end."""
    newer: TaskPlace | None
    """Before it more may be found; None at the start."""
    is_full: bool = True
    """False where looking was given up, as few of many tasks are what is asked for: it goes on from `older`."""


@dataclass(frozen=True, slots=True)
class TaskCount:
    """The number of tasks that are what is asked for."""

    tasks: int
    is_exact: bool
    """False where there may be more."""
