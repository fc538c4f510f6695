"""Listing: tasks, the newest first, a page at a time along one index, however many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, or_, select, tuple_, union_all

from archiver.adapters.ledger.attention import Near, stands_so
from archiver.adapters.ledger.rows import kind_of
from archiver.adapters.ledger.schema.tables import stems, tasks
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, TaskId
from archiver.core.reports import ListedTask, TaskQuery
from archiver.core.states import TaskState

PAGE = 2_000
"""Tasks that are held in memory."""

Place = tuple[datetime, str]
"""When the last task that was shown was accepted, and its id."""

COLUMNS = [
    tasks.c[name]
    for name in (
        *("task_id", "state", "account", "accepted_at", "source", "deadline", "not_before", "ended_at", "reason"),
        *("acknowledged_at", "kind", "title"),
    )
]


def newest(db: Connection, query: TaskQuery, near: Near, after: Place | None, limit: int) -> Sequence[ListedTask]:
    """Return the next tasks, at most `limit`: those of each state by the index, then the newest of these."""
    parts = [_of_state(state, query, near, after).limit(limit).subquery() for state in query.states]
    both = union_all(*(select(part) for part in parts)).subquery()
    rows = db.execute(select(both).order_by(both.c.accepted_at.desc(), both.c.task_id.desc()).limit(limit)).mappings()
    return [listed_task(row) for row in rows]


def listed_task(row: Mapping[Any, Any]) -> ListedTask:
    """Read the COLUMNS of a row."""
    return ListedTask(
        **{
            **{column.name: row[column.name] for column in COLUMNS},
            "task_id": TaskId(row["task_id"]),
            "account": AccountName(row["account"] or DEFAULT_ACCOUNT),
            "kind": kind_of(row["kind"]),
            "title": row["title"] or "",
        }
    )


def _of_state(state: TaskState, query: TaskQuery, near: Near, after: Place | None) -> Select[tuple[object, ...]]:
    newest_first = (tasks.c.accepted_at.desc(), tasks.c.task_id.desc())
    search = select(*COLUMNS).where(tasks.c.state == state, *conditions(query, near)).order_by(*newest_first)
    if after is None:
        return search
    types = (tasks.c.accepted_at.type, tasks.c.task_id.type)
    return search.where(tuple_(tasks.c.accepted_at, tasks.c.task_id) < tuple_(*after, types=types))


def conditions(query: TaskQuery, near: Near) -> list[ColumnElement[bool]]:
    """Return what is asked of a task beside its state."""
    found: list[ColumnElement[bool]] = []
    if query.need is not None:
        found.append(stands_so(query.need, near))
    if query.account is not None:
        found.append(tasks.c.account.is_not_distinct_from(None if query.account == DEFAULT_ACCOUNT else query.account))
    if query.since is not None:
        found.append(tasks.c.accepted_at >= query.since)
    if not query.acknowledged:
        found.append(tasks.c.acknowledged_at.is_(None))
    if query.text:
        found.append(_has(query.text))
    return found


def _has(text: str) -> ColumnElement[bool]:
    of_task = (tasks.c.task_id, tasks.c.title, tasks.c.account, tasks.c.source, tasks.c.reason)
    of_stem = or_(*(column.icontains(text, autoescape=True) for column in (stems.c.name, stems.c.reason)))
    its_stem = exists().where(stems.c.task_id == tasks.c.task_id, of_stem)
    return or_(*(column.icontains(text, autoescape=True) for column in of_task), its_stem)
