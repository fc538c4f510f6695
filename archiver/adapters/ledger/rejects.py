"""Rejects: lines that name no task, as many as are kept; what is beyond is only counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, exists, func, select, true, update

from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.rows import chunks
from archiver.adapters.ledger.schema.tables import dropped, rejects
from archiver.core.intake import Reject

KEPT_OF_A_FILE = 1_000
KEPT = 10_000
"""Rejects that are kept, of one file and in all."""

_UNSEEN = rejects.c.acknowledged_at.is_(None)


def keep(db: Connection, lines: Sequence[Reject], now: datetime) -> None:
    """Write these down, each once; drop what is too much: acknowledged ones first, then the oldest."""
    statement = insert(db, rejects).on_conflict_do_nothing()
    names = ("path", "offset", "excerpt", "reason", "line")
    for chunk in chunks(lines):
        db.execute(statement, [{name: getattr(line, name) for name in names} | {"at": now} for line in chunk])
    for path in sorted({line.path for line in lines}):
        _drop(db, rejects.c.path == path, KEPT_OF_A_FILE)
    if lines:
        _drop(db, true(), KEPT)


def _drop(db: Connection, which: ColumnElement[bool], most: int) -> None:
    """Drop all of these but `most`, and count those that nobody acknowledged by their file."""
    excess = (db.scalar(select(func.count()).select_from(rejects).where(which)) or 0) - most
    if excess <= 0:
        return
    oldest = select(rejects.c.id).where(which).order_by(_UNSEEN, rejects.c.id).limit(excess).scalar_subquery()
    gone = db.execute(
        delete(rejects).where(rejects.c.id.in_(oldest)).returning(rejects.c.path, rejects.c.acknowledged_at)
    ).all()
    for path, count in sorted(Counter(path for path, acknowledged_at in gone if acknowledged_at is None).items()):
        counted = insert(db, dropped).values(path=path, lines=count)
        more = {"lines": dropped.c.lines + count}
        db.execute(counted.on_conflict_do_update(index_elements=[dropped.c.path], set_=more))


def count_unseen(db: Connection) -> tuple[int, int]:
    """Return the number of rejects that nobody acknowledged, and how many of them were too many to keep."""
    kept = db.scalar(select(func.count()).select_from(rejects).where(_UNSEEN)) or 0
    beyond = int(db.scalar(select(func.sum(dropped.c.lines))) or 0)
    return kept + beyond, beyond


def acknowledge(db: Connection, now: datetime) -> int:
    """Acknowledge every reject; return how many."""
    in_all, _ = count_unseen(db)
    db.execute(update(rejects).where(_UNSEEN).values(acknowledged_at=now))
    db.execute(delete(dropped))
    return in_all


def are_expired(db: Connection, before: datetime) -> bool:
    """Return whether any was acknowledged before then."""
    return bool(db.scalar(select(exists().where(rejects.c.acknowledged_at < before))))


def expire(db: Connection, before: datetime) -> int:
    """Forget those that were acknowledged before then; return how many."""
    return db.execute(delete(rejects).where(rejects.c.acknowledged_at < before)).rowcount
