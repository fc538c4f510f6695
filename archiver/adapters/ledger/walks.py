"""Walks: how far a check by hand came."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, update

from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.database.transactions import LedgerPart, outage_retry
from archiver.adapters.ledger.rows import AnyRow
from archiver.adapters.ledger.schema.fixity import walks
from archiver.core.errors import LeaseLost
from archiver.core.levels import Level
from archiver.core.walks import Walk, WalkSums

_NONE = WalkSums().as_json()


class SqlWalks(LedgerPart):
    """The Walks of `ports.fixity` in a SQL database."""

    @outage_retry
    def take(self, level: Level, selection: str, *, now: datetime, within: timedelta, anew: bool = False) -> Walk:
        """See Walks."""
        old = or_(walks.c.noted_at <= now - within, walks.c.noted_at > now + within)
        its = (walks.c.level == level, walks.c.selection == selection)
        token = {"token": secrets.token_hex(16)}
        fresh = {"begun_at": now, "noted_at": now, "place": "", "sums": _NONE, "reported": _NONE}
        with self._db.write() as db:
            db.execute(delete(walks).where(old))
            statement = insert(db, walks).values(level=level, selection=selection, **token, **fresh)
            kept = token if not anew else token | fresh
            db.execute(statement.on_conflict_do_update(index_elements=["level", "selection"], set_=kept))
            return _walk(db.execute(select(walks).where(*its)).one())

    @outage_retry
    def note(self, walk: Walk, place: str, sums: WalkSums, *, now: datetime) -> Walk:
        """See Walks."""
        self._move(walk, {"place": place, "sums": sums.as_json(), "noted_at": now})
        self._db.checkpoint("fixity.walk_noted")
        return Walk(walk.level, walk.selection, walk.token, walk.begun_at, place, sums, walk.reported)

    @outage_retry
    def report(self, walk: Walk) -> None:
        """See Walks."""
        with self._db.write() as db:
            db.execute(update(walks).where(*_its(walk)).values(reported=walks.c.sums))

    @outage_retry
    def end(self, walk: Walk) -> None:
        """See Walks."""
        with self._db.write() as db:
            db.execute(delete(walks).where(*_its(walk)))

    def _move(self, walk: Walk, values: Mapping[str, Any]) -> None:
        with self._db.write(passing=True) as db:
            if db.execute(update(walks).where(*_its(walk)).values(**values)).rowcount != 1:
                raise LeaseLost(f"the check at the level {walk.level.value}")


def _its(walk: Walk) -> tuple[ColumnElement[bool], ...]:
    return walks.c.level == walk.level, walks.c.selection == walk.selection, walks.c.token == walk.token


def _walk(row: AnyRow) -> Walk:
    sums, reported = WalkSums.of_json(row.sums), WalkSums.of_json(row.reported)
    return Walk(Level(row.level), row.selection, row.token, row.begun_at, row.place, sums, reported)
