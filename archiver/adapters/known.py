"""A glance at what a SQLite ledger knows of some ids, without loading what runs the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path

from archiver.core.model import TaskId
from archiver.core.states import TaskState

PATIENCE = 2.0
"""Seconds that a ledger which others write to is waited for."""
_AT_ONCE = 500


def known(path: Path, ids: Iterable[TaskId]) -> Mapping[TaskId, TaskState] | None:
    """Return the states of those ids that the ledger at `path` knows; None where there is none to look into.

    Changes nothing and never fails: whoever needs more than a hint opens the ledger.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as db:
            return dict(_states(db, iter(ids)))
    except (sqlite3.Error, ValueError):
        return None


def _states(db: sqlite3.Connection, ids: Iterator[TaskId]) -> Iterator[tuple[TaskId, TaskState]]:
    while chunk := list(islice(ids, _AT_ONCE)):
        marks = ", ".join("?" * len(chunk))
        # Only the number of marks is put in.
        for task_id, state in db.execute(f"SELECT task_id, state FROM tasks WHERE task_id IN ({marks})", chunk):  # noqa: S608
            yield TaskId(task_id), TaskState(state)
