"""Conditions and keys that the indexes of open tasks are made of, beside columns.

A database uses such an index only for a statement that words it alike: so it is worded here, with literals.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, String, and_, case, func, literal_column, or_, type_coerce
from sqlalchemy.sql.expression import Grouping

from archiver.adapters.ledger.schema.tables import stems, tasks
from archiver.adapters.ledger.schema.types import UtcTime
from archiver.core.plan import DEATHS_TO_QUARANTINE
from archiver.core.put_off import UNKNOWN_YET, Why
from archiver.core.states import TaskState


def literally(value: str | int) -> ColumnElement[Any]:
    """Return a plain word or number as it stands in the text of a statement."""
    return literal_column(f"'{value}'", String) if isinstance(value, str) else literal_column(str(value), Integer)


def _begins(column: ColumnElement[str], word: str) -> ColumnElement[bool]:
    # No LIKE: SQLite takes none into an index, and PostgreSQL's depends on the collation.
    return func.substr(column, literally(1), literally(len(word))) == literally(word)


_IS_OPEN = tasks.c.ended_at.is_(None)

HAS_DEADLINE = and_(_IS_OPEN, tasks.c.deadline.is_not(None))
"""Open tasks of which a deadline is known."""

UNLISTED = and_(_IS_OPEN, tasks.c.deadline.is_(None))
"""Open tasks of which no deadline is known, and so no stem; they may be very many."""

# PostgreSQL wants what is no function in brackets.
BEGUN: ColumnElement[Any] = type_coerce(
    Grouping(case((tasks.c.created_at < tasks.c.accepted_at, tasks.c.created_at), else_=tasks.c.accepted_at)), UtcTime
)
"""When a task of which no deadline is known was created, as far as that is known, or accepted."""

MINUTE = 60_000_000
"""Microseconds."""


def minute_of(moment: ColumnElement[Any]) -> ColumnElement[int]:
    """Return the number of the minute, since 1970, that a moment is in."""
    return Grouping(type_coerce(moment, BigInteger) // literally(MINUTE))


FAILED_AT = "failed@"
"""Begins the `waits_for` of a task that backed off, so that the end of a pause is none of its business."""

BACKED_OFF = and_(tasks.c.waits_for.is_not(None), _begins(tasks.c.waits_for, FAILED_AT))
"""Tasks that backed off, and of which it is known from what."""

# Bound, these values would let SQLite plan a claim anew each time: indexes compare with such.
CLEAR = tasks.c.deaths < literally(DEATHS_TO_QUARANTINE)
"""Tasks that are not quarantined."""

IS_QUEUED = tasks.c.state == literally(TaskState.QUEUED.value)
IS_LISTED = tasks.c.state == literally(TaskState.LISTED.value)

PUT_OFF = and_(
    _IS_OPEN,
    CLEAR,
    tasks.c.reason != literally(""),
    or_(tasks.c.waits_for.is_(None), BACKED_OFF),
)
"""Open tasks that were tried or asked about in vain, and wait for the next time, not for a pause."""

WHY = Grouping(
    case(
        (_begins(tasks.c.reason, UNKNOWN_YET), literally(Why.UNKNOWN.value)),
        (tasks.c.awaited, literally(Why.NOT_READY.value)),
        else_=literally(Why.FAILING.value),
    )
)
"""Why a task is put off."""

SINCE: ColumnElement[Any] = type_coerce(func.coalesce(tasks.c.first_asked_at, tasks.c.accepted_at), UtcTime)
"""When it was first asked about; where it never was, when it was accepted."""

UNSTORED = stems.c.state != literally("stored")
"""Stems that are not stored."""
