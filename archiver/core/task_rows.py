"""Whole tasks as rows of a ledger, of values that go to any process, and into any database as they are. Pure.

A time is whole microseconds since 1970 UTC, a word its text, a mapping its JSON: as the ledger's own types keep them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Final, TypeAlias

from archiver.core import plan
from archiver.core.clocks import microseconds
from archiver.core.model import DEFAULT_ACCOUNT, Stage, StemRow, TaskId
from archiver.core.records.kinds.names import KindName, Media
from archiver.core.reports import Moved
from archiver.core.slices import slice_of
from archiver.core.states import ENDED_WITH_AUDIO, StemState, TaskState
from archiver.core.whole_task import OF_RECEIPT, WholeTask

Row: TypeAlias = tuple[object, ...]
"""Values, in the order of its table's columns here."""

TASK_AS_IT_IS: Final = (
    *("task_id", "state", "source", "accepted_at", "first_asked_at", "created_at", "completed_at", "deadline"),
    *("ended_at", "not_before", "stage", "settled", "flag", "reason", "document", "kind", "parent", "track"),
)
"""Columns that are fields of a WholeTask."""
TASK: Final = (
    *TASK_AS_IT_IS,
    "account",
    "title",
    "urgency",
    "slice",
    "bytes_stored",
    "awaited",
    "asks",
    "attempts",
    "deaths",
)
_NOT_YET: Final = (False, 0, 0, 0)
_OF_STEM: Final = (
    "name",
    "state",
    "field",
    "duration",
    "attempts",
    "gone",
    "not_before",
    "reason",
    "media",
    "url_shown",
)
_NO_RECEIPT: Final = (None,) * len(OF_RECEIPT)
STEM: Final = (*_OF_STEM[:-1], "shown_url", *OF_RECEIPT, "task_id", "url_cut")
TRACK: Final = ("track", "task_id", "title")
HISTORY: Final = ("stem", "at", "event", "before", "after", "detail", "task_id")
_task_as_it_is, _of_stem, _of_receipt = attrgetter(*TASK_AS_IT_IS), attrgetter(*_OF_STEM), attrgetter(*OF_RECEIPT)
_of_line = attrgetter(*HISTORY[:-2])


@dataclass(slots=True)
class TaskRows:
    """Rows of some tasks, by table, and what they add to the ledger's counts."""

    tasks: list[Row] = field(default_factory=list)
    """The id is the first value of each."""
    stems: list[Row] = field(default_factory=list)
    tracks: list[Row] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    """Tasks, by state."""
    kept: Counter[str] = field(default_factory=Counter)
    """Stems, by state."""
    stored_bytes: int = 0
    """Of stored stems; an alias has none."""

    def add(self, whole: WholeTask) -> None:
        """Add a task."""
        self.tasks.append(plain(task_row(whole)))
        self.states[whole.state.value] += 1
        for row in whole.stems:
            self.stems.append(plain(stem_row(whole.task_id, row)))
            self.kept[row.state.value] += 1
            self.stored_bytes += bytes_of(row)
        self.tracks += [(track, whole.task_id, title) for track, title in (whole.tracks or {}).items()]
        self.history += [plain(_line(whole, moved)) for moved in whole.history]

    def extend(self, more: TaskRows) -> None:
        """Add the rows of other tasks."""
        self.tasks += more.tasks
        self.stems += more.stems
        self.tracks += more.tracks
        self.history += more.history
        self.states += more.states
        self.kept += more.kept
        self.stored_bytes += more.stored_bytes


def rows_of(tasks: Iterable[WholeTask]) -> TaskRows:
    """Return the rows of those tasks."""
    rows = TaskRows()
    for whole in tasks:
        rows.add(whole)
    return rows


def bytes_of(row: StemRow) -> int:
    """Return the bytes that a stem adds to what is stored."""
    receipt = row.receipt
    return receipt.size if receipt is not None and row.state is StemState.STORED and receipt.alias_of is None else 0


def task_row(whole: WholeTask) -> Row:
    """Return the values of TASK, as they are."""
    account = None if whole.account == DEFAULT_ACCOUNT else whole.account
    urgency = plan.urgency(whole.deadline, whole.accepted_at)
    size = sum(map(bytes_of, whole.stems)) if whole.state in ENDED_WITH_AUDIO else None
    its = (account, whole.title or None, urgency, slice_of(whole.task_id), size)
    return (*_task_as_it_is(whole), *its, *_NOT_YET)


def stem_row(task: TaskId, row: StemRow) -> Row:
    """Return the values of STEM, as they are."""
    receipt = row.receipt
    return (*_of_stem(row), *(_NO_RECEIPT if receipt is None else _of_receipt(receipt)), task, row.url is None)


def _line(whole: WholeTask, moved: Moved) -> Row:
    return (*_of_line(moved), dict(moved.detail), whole.task_id)


_WORD: Final = attrgetter("value")
_SPELLED: Final[dict[type, Callable[..., object]]] = {
    datetime: microseconds,
    dict: json.dumps,
    **dict.fromkeys((TaskState, StemState, Stage, Media, KindName), _WORD),
}


def plain(values: Sequence[object]) -> Row:
    """Return the values as a database keeps them."""
    return tuple([spell(value) if (spell := _SPELLED.get(type(value))) else value for value in values])
