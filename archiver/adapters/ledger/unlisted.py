"""Unlisted tasks: the open ones of which no deadline is known, and so no stem, along their index."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select

from archiver.adapters.ledger.rows import AnyRow
from archiver.adapters.ledger.schema.keys import BEGUN, CLEAR, MINUTE, UNLISTED, minute_of
from archiver.adapters.ledger.schema.tables import tasks
from archiver.core.clocks import microseconds

_ITS_MINUTE = minute_of(BEGUN)
_BY_MINUTE = select(func.min(BEGUN), func.count()).where(UNLISTED).group_by(_ITS_MINUTE).order_by(_ITS_MINUTE)


def unlisted_before(moment: datetime) -> ColumnElement[bool]:
    """Return the condition that a task is unlisted, and began before then."""
    return and_(UNLISTED, microseconds(moment) // MINUTE >= _ITS_MINUTE, moment > BEGUN)


def unlisted_by_minute(db: Connection) -> Sequence[tuple[datetime, int]]:
    """Return when the first of each minute began, and how many did."""
    return [(begun, count) for begun, count in db.execute(_BY_MINUTE)]


def count_unlisted(db: Connection, before: datetime) -> tuple[int, int]:
    """Return how many began before then, and how many of those nobody acknowledged, and are not quarantined."""
    unseen = func.count().filter(tasks.c.acknowledged_at.is_(None), CLEAR)
    endangered, needing = db.execute(select(func.count(), unseen).where(unlisted_before(before))).one()
    return endangered, needing


def first_unlisted(db: Connection, search: Select[Any], before: datetime, limit: int) -> Sequence[AnyRow]:
    """Return those of the search that began first, before then."""
    in_order = search.where(unlisted_before(before)).order_by(_ITS_MINUTE, BEGUN, tasks.c.task_id)
    return db.execute(in_order.limit(limit)).all()
