"""Saying: what queue lines say of tasks beside whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, String, and_, bindparam, func, update

from archiver.adapters.ledger.leases import LEASE_ENDS
from archiver.adapters.ledger.rows import chunks
from archiver.adapters.ledger.schema.tables import tasks
from archiver.core.model import TaskId
from archiver.core.records.kinds.names import KindName
from archiver.core.said import Said
from archiver.core.states import TaskState

_CALLED = (
    update(tasks)
    .where(tasks.c.task_id == bindparam("its_task"))
    .values(
        title=func.coalesce(bindparam("named", type_=String), tasks.c.title),
        parent=func.coalesce(bindparam("made_from", type_=String), tasks.c.parent),
    )
)


def say(db: Connection, said: Mapping[TaskId, Said], now: datetime) -> None:
    """Write down what was said of those tasks; a kind only of those of which none is known."""
    for kind in KindName:
        its = [task_id for task_id, words in said.items() if words.kind is kind]
        for chunk in chunks(its):
            unknown = and_(tasks.c.task_id.in_(chunk), tasks.c.kind.is_(None))
            ask_anew(db, unknown, now)
            db.execute(update(tasks).where(unknown).values(kind=kind.value))
    called = [
        {"its_task": task_id, "named": words.title or None, "made_from": words.parent}
        for task_id, words in said.items()
        if words.title or words.parent
    ]
    for some in chunks(called):
        db.execute(_CALLED, some)


_HINTED = (
    update(tasks)
    .where(tasks.c.task_id == bindparam("its_task"), tasks.c.kind.is_(None))
    .values(hint=bindparam("its_kind", type_=String))
)


def hint(db: Connection, kinds: Mapping[TaskId, KindName]) -> None:
    """Let those of the tasks whose kind is not known be asked about as these first."""
    for some in chunks({"its_task": task_id, "its_kind": kind.value} for task_id, kind in sorted(kinds.items())):
        db.execute(_HINTED, some)


def ask_anew(db: Connection, which: ColumnElement[bool], now: datetime) -> None:
    """Let those of them that have no stems begin anew: what was answered to another question tells nothing.

    A lease on such a one ends with it: whoever works on it now asks as before.
    """
    afresh: dict[str, object] = {
        "first_asked_at": None,
        "not_before": now,
        "awaited": False,
        "asks": 0,
        "attempts": 0,
        "reason": "",
    }
    afresh["urgency"] = func.coalesce(tasks.c.deadline, tasks.c.accepted_at)
    db.execute(update(tasks).where(which, tasks.c.state == TaskState.QUEUED).values(**afresh, **LEASE_ENDS))
