"""Rows of the tables, read as the nouns of `core.model` and `ports`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Connection, Row, bindparam, select

from archiver.adapters.ledger.database.prepared import Prepared
from archiver.adapters.ledger.schema.standing import task_counts
from archiver.adapters.ledger.schema.tables import history, stems
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Claim, Receipt, StemName, StemRow, TaskId
from archiver.core.records.kinds.names import KindName
from archiver.core.reports import Moved, TaskRow
from archiver.core.states import StemState, TaskState
from archiver.core.text import is_address
from archiver.core.trimming import Trimmed

CHUNK = 500
"""Rows a statement: well under any database's limit of bound values."""

AnyRow: TypeAlias = "Row[*tuple[Any, ...]]"
T = TypeVar("T")


def chunks(items: Iterable[T]) -> Iterable[list[T]]:
    """Cut `items` into lists of CHUNK at most."""
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


_STEMS = select(stems).where(stems.c.task_id.in_(bindparam("ids", expanding=True))).order_by(stems.c.name)
_STEMS_OF_ONE = Prepared(select(stems).where(stems.c.task_id == bindparam("its_task")).order_by(stems.c.name))


def stems_of(db: Connection, ids: Sequence[TaskId]) -> Mapping[TaskId, tuple[StemRow, ...]]:
    """The stems of the tasks `ids`, by name."""
    found: dict[TaskId, list[StemRow]] = defaultdict(list)
    for chunk in chunks(ids):
        for row in db.execute(_STEMS, {"ids": chunk}):
            found[row.task_id].append(stem_row(row))
    return {task_id: tuple(found[task_id]) for task_id in ids}


_HISTORY = Prepared(select(history).where(history.c.task_id == bindparam("its_task")).order_by(history.c.id))


def history_of(db: Connection, task_id: TaskId) -> tuple[Moved, ...]:
    """The task's moves, the oldest first."""
    rows = _HISTORY.all(db, {"its_task": task_id})
    return tuple(Moved(row.at, row.stem, row.event, row.before, row.after, row.detail) for row in rows)


def stem_row(row: AnyRow) -> StemRow:
    """Read one row of `stems`."""
    return StemRow(
        name=StemName(row.name),
        state=row.state,
        url=None if row.url_cut else row.shown_url if is_address(row.shown_url) else "",
        url_shown=row.shown_url,
        field=row.field,
        duration=row.duration,
        attempts=row.attempts,
        gone=row.gone,
        not_before=row.not_before,
        reason=row.reason,
        media=row.media,
        receipt=_receipt(row) if row.state is StemState.STORED else None,
    )


def _receipt(row: AnyRow) -> Receipt:
    return Receipt(
        key=row.key,
        size=row.size,
        sha256=row.sha256,
        etag=row.etag,
        content_type=row.content_type,
        stored_at=row.stored_at,
        alias_of=row.alias_of,
        doubt=row.reason,
    )


def trimmed_in(row: AnyRow) -> Trimmed | None:
    """Read what is kept of a task that was trimmed; None of any other."""
    return None if row.folder_digest is None else Trimmed(row.trimmed_stems, row.trimmed_bytes, row.folder_digest)


def _account(row: AnyRow) -> AccountName:
    return AccountName(row.account or DEFAULT_ACCOUNT)


def kind_of(word: str | None) -> KindName | None:
    """Read a column that names a kind; None for one that only a newer version knows."""
    return KindName(word) if word in _KINDS else None


_KINDS = frozenset(KindName)


def claim_of(db: Connection, row: AnyRow) -> Claim:
    """Read a leased row of `tasks` as the claim it is."""
    return Claim(
        task_id=TaskId(row.task_id),
        token=row.token,
        state=row.state,
        accepted_at=row.accepted_at,
        account=_account(row),
        first_asked_at=row.first_asked_at,
        created_at=row.created_at,
        completed_at=row.completed_at,
        deadline=row.deadline,
        asks=row.asks,
        attempts=row.attempts,
        settled=row.settled,
        document=row.document,
        stems=tuple(map(stem_row, _STEMS_OF_ONE.all(db, {"its_task": row.task_id}))),
        deaths=row.deaths,
        kind=kind_of(row.kind),
        hint=kind_of(row.hint),
        title=row.title or "",
        parent=row.parent,
        saying=row.saying or "",
        said_since=row.said_since,
    )


def count_tasks(db: Connection) -> dict[TaskState, int]:
    """Return how many tasks are in each state that one is in, trimmed ones among them."""
    rows = db.execute(select(task_counts.c.state, task_counts.c.tasks).where(task_counts.c.tasks > 0))
    return {state: count for state, count in rows}  # noqa: C416 - dict(rows) does not type-check


def task_row(row: AnyRow, its_stems: tuple[StemRow, ...], its_history: tuple[Moved, ...] = ()) -> TaskRow:
    """Read one row of `tasks` for people to look at."""
    leased_until: datetime | None = row.leased_until
    return TaskRow(
        task_id=TaskId(row.task_id),
        state=row.state,
        account=_account(row),
        accepted_at=row.accepted_at,
        source=row.source,
        first_asked_at=row.first_asked_at,
        created_at=row.created_at,
        completed_at=row.completed_at,
        deadline=row.deadline,
        not_before=row.not_before,
        asks=row.asks,
        attempts=row.attempts,
        flag=row.flag,
        reason=row.reason,
        ended_at=row.ended_at,
        leased_until=leased_until,
        stems=its_stems,
        history=its_history,
        deaths=row.deaths,
        acknowledged_at=row.acknowledged_at,
        kind=kind_of(row.kind),
        title=row.title or "",
        trimmed=trimmed_in(row),
    )
