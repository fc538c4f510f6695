"""Unlisted tasks: the open ones of which no deadline is known, and so no stem; they may be very many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, and_, bindparam, case, func, select, type_coerce

from archiver.adapters.ledger.claimable import CLEAR, OPEN
from archiver.adapters.ledger.rows import AnyRow
from archiver.adapters.ledger.schema.tables import tasks
from archiver.adapters.ledger.schema.types import UtcTime

NO_DEADLINE = tasks.c.deadline.is_(None)
BEGUN = type_coerce(
    case((tasks.c.created_at < tasks.c.accepted_at, tasks.c.created_at), else_=tasks.c.accepted_at), UtcTime
)
"""When a task of which no deadline is known was created, as far as that is known, or accepted."""
MINUTE = 60_000_000
"""Microseconds."""


@dataclass(frozen=True, slots=True)
class Unlisted:
    """The unlisted tasks that began within one minute."""

    begun: datetime
    """When the first of them did."""
    count: int
    endangered: int
    needing: int
    """Those of them that nobody acknowledged, and that are not quarantined."""


_ENDANGERED = bindparam("endangered", type_=UtcTime) > BEGUN
_BY_MINUTE = (
    select(
        func.min(BEGUN),
        func.count(),
        func.count().filter(_ENDANGERED),
        func.count().filter(and_(_ENDANGERED, tasks.c.acknowledged_at.is_(None), CLEAR)),
    )
    .where(OPEN, NO_DEADLINE)
    .group_by(type_coerce(BEGUN, BigInteger) // MINUTE)
)
"""One look at them all: few rows come of it."""


def unlisted_by_minute(db: Connection, before: datetime) -> Sequence[Unlisted]:
    """Return all unlisted tasks; endangered are those that began before then."""
    return [Unlisted(*row) for row in db.execute(_BY_MINUTE, {"endangered": before})]


def first_unlisted(
    db: Connection,
    search: Select[Any],
    unlisted: Sequence[Unlisted],
    before: datetime,
    limit: int,
    counted: Callable[[Unlisted], int],
) -> Sequence[AnyRow]:
    """Return those of the search that began first, before then; only the minutes in which they did are searched."""
    count, until = 0, before
    for minute in sorted(unlisted, key=lambda each: each.begun):
        count += counted(minute)
        if count >= limit:
            until = min(until, minute.begun + timedelta(minutes=1))
            break
    if not count:
        return []
    return db.execute(
        search.where(OPEN, NO_DEADLINE, until > BEGUN).order_by(BEGUN, tasks.c.task_id).limit(limit)
    ).all()
