"""Faults of the archive: a row a key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, case, func, or_, select, update

from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.database.transactions import LedgerPart, outage_retry
from archiver.adapters.ledger.rows import AnyRow, chunks
from archiver.adapters.ledger.schema.faults import OPEN_FAULT, faults
from archiver.core.fixity import Fixity, Judged
from archiver.core.fixity_faults import KEPT_MOST, LONGEST_WORDS, FaultState, FixityFault, is_acknowledged


class SqlFaults(LedgerPart):
    """The Faults of `ports.fixity_records` in a SQL database."""

    @outage_retry
    def note(self, found: Sequence[Judged], *, now: datetime) -> Collection[str]:
        """See Faults."""
        by_key = {each.key: each for each in found}
        if not by_key:
            return frozenset()
        with self._db.write() as db:
            stood = {row.key: row for chunk in chunks(by_key) for row in _standing(db, chunk)}
            room = max(KEPT_MOST - _count(db), 0)
            kept = [*stood, *[key for key in by_key if key not in stood][:room]]
            for key in kept:
                _write(db, by_key[key], now)
        return frozenset(key for key in kept if key not in stood or _is_news(stood[key], by_key[key]))

    @outage_retry
    def close(self, keys: Collection[str], *, now: datetime) -> None:
        """See Faults."""
        if not keys:
            return
        with self._db.write() as db:
            for chunk in chunks(keys):
                mended = update(faults).where(faults.c.key.in_(chunk), OPEN_FAULT)
                db.execute(mended.values(state=FaultState.CLOSED, closed_at=now))

    @outage_retry
    def standing(self, most: int | None = None) -> Sequence[FixityFault]:
        """See Faults."""
        wanted = select(faults).where(OPEN_FAULT).order_by(faults.c.seen, faults.c.key).limit(most)
        with self._db.read() as db:
            return [_fault(row) for row in db.execute(wanted)]

    @outage_retry
    def acknowledge(self, names: Collection[str], *, now: datetime) -> Sequence[FixityFault]:
        """See Faults."""
        with self._db.write() as db:
            found = []
            for chunk in chunks(names):
                named = or_(faults.c.key.in_(chunk), faults.c.task_id.in_([each for each in chunk if each]))
                its = update(faults).where(named, OPEN_FAULT, faults.c.acknowledged_at.is_(None))
                found += [_fault(row) for row in db.execute(its.values(acknowledged_at=now).returning(*faults.c))]
        return sorted(found, key=lambda fault: fault.key)

    @outage_retry
    def acknowledged(self) -> Mapping[Fixity, int]:
        """See Faults."""
        with self._db.read() as db:
            its = _by_kind().where(faults.c.acknowledged_at.is_not(None))
            return {Fixity(kind): count for kind, count in db.execute(its)}

    @outage_retry
    def counts(self) -> Mapping[Fixity, int]:
        """See Faults."""
        with self._db.read() as db:
            return {Fixity(kind): count for kind, count in db.execute(_by_kind())}


def _by_kind() -> Select[Any]:
    return select(faults.c.kind, func.count()).where(OPEN_FAULT).group_by(faults.c.kind)


def _count(db: Connection) -> int:
    return db.scalar(select(func.count()).select_from(faults).where(OPEN_FAULT)) or 0


def _standing(db: Connection, keys: Sequence[str]) -> Sequence[AnyRow]:
    """Return the open faults of those keys that have one."""
    return db.execute(select(faults).where(faults.c.key.in_(keys), OPEN_FAULT)).all()


def _is_news(row: AnyRow, judged: Judged) -> bool:
    """Return whether an open fault is found of another kind; or, where it was acknowledged, in another way."""
    known = _fault(row)
    return known.kind is not judged.verdict or (
        known.acknowledged_at is not None and not is_acknowledged(known, judged)
    )


def _write(db: Connection, judged: Judged, now: datetime) -> None:
    said = {
        "kind": judged.verdict,
        "task_id": judged.task_id,
        "expected": judged.expected[:LONGEST_WORDS],
        "found": judged.found[:LONGEST_WORDS],
        "state": FaultState.OPEN,
        "closed_at": None,
    }
    statement = insert(db, faults).values(key=judged.key, seen=now, **said)
    is_same = (faults.c.kind == statement.excluded.kind) & OPEN_FAULT
    seen = case((is_same, faults.c.seen), else_=statement.excluded.seen)
    acknowledged = case((is_same & (faults.c.found == statement.excluded.found), faults.c.acknowledged_at), else_=None)
    changed = {**said, "seen": seen, "acknowledged_at": acknowledged}
    db.execute(statement.on_conflict_do_update(index_elements=["key"], set_=changed))


def _fault(row: AnyRow) -> FixityFault:
    kind, state = Fixity(row.kind), FaultState(row.state)
    return FixityFault(
        row.key, kind, row.task_id, row.seen, row.expected, row.found, state, row.closed_at, row.acknowledged_at
    )
