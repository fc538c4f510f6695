"""Tasks as a file: CSV or JSON, written a page at a time, however many there are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice

from archiver.core.listing import TaskOnPage, TaskPage, TaskPlace
from archiver.core.states import StemState

AT_ONCE = 500
"""Tasks that are held in memory."""

Page = Callable[[TaskPlace | None], TaskPage]

COLUMNS = (
    *("task_id", "title", "account", "state", "kind", "source", "accepted_at", "created_at", "deadline", "ended_at"),
    *("stems", "stems_stored", "bytes_stored", "reason", "acknowledged_at", "trimmed"),
)

_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last are the wide forms of the first."""


def in_parts(lines: Iterator[str]) -> Iterator[str]:
    """Yield the lines, many joined: each part passes from thread to thread once, which costs more than a line."""
    while part := "".join(islice(lines, AT_ONCE)):
        yield part


def as_csv(page: Page) -> Iterator[str]:
    """Yield CSV with a head line; a cell that a spreadsheet would take for a formula begins with an apostrophe."""
    yield _line(COLUMNS)
    for row in _rows(page):
        yield _line(_harmless(_text(row[name])) for name in COLUMNS)


def as_json(page: Page) -> Iterator[str]:
    """Yield one JSON object with all tasks, as they are."""
    before = '{"tasks": ['
    for row in _rows(page):
        yield before + json.dumps(row, default=_text)
        before = ",\n"
    yield "]}\n" if before.startswith(",") else before + "]}\n"


def _rows(page: Page) -> Iterator[Mapping[str, object]]:
    start: TaskPlace | None = None
    while True:
        found = page(start)
        yield from map(_row, found.rows)
        if found.older is None:
            return
        start = found.older


def _row(shown: TaskOnPage) -> Mapping[str, object]:
    task, trimmed = shown.task, shown.trimmed
    stored = [stem.receipt for stem in shown.stems if stem.state is StemState.STORED and stem.receipt is not None]
    facts = {name: getattr(task, name) for name in COLUMNS if hasattr(task, name)}
    return {
        **{name: facts.get(name) for name in COLUMNS},
        "state": task.state.value,
        "kind": None if task.kind is None else task.kind.value,
        "created_at": shown.created_at,
        "stems": " ".join(stem.name for stem in shown.stems),
        "stems_stored": trimmed.stems if trimmed else len(stored),
        "bytes_stored": shown.bytes_stored,
        "trimmed": trimmed is not None,
    }


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_BEGINS_A_FORMULA) else text


def _line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()
