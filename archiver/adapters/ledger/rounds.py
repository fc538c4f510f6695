"""Rounds: how far verification came, slice by slice."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select, update

from archiver.adapters.ledger import owners
from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.database.transactions import LedgerPart, outage_retry
from archiver.adapters.ledger.rows import AnyRow
from archiver.adapters.ledger.schema.fixity import rounds, slices
from archiver.core.errors import LeaseLost
from archiver.core.fixity import Fixity
from archiver.core.slices import LISTING, SLICES, Checked, Course, Place, Round, SliceLease, Standing
from archiver.ports.ledger import IsAlive

_NO_LEASE: Mapping[str, Any] = {"owner": None, "token": None, "leased_until": None}
_FROM_THE_START: Mapping[str, Any] = {"after_task": "", "after_key": "", "objects": 0, "bytes": 0, "verdicts": "{}"}


class SqlRounds(LedgerPart):
    """The Rounds of `ports.fixity` in a SQL database."""

    @outage_retry
    def newest(self, course: Course) -> Round | None:
        """See Rounds."""
        with self._db.read() as db:
            return _newest(db, course)

    @outage_retry
    def begin(self, course: Course, *, now: datetime) -> Round:
        """See Rounds."""
        with self._db.write() as db:
            _make_rows(db, course, now)
            known = db.execute(_of(course).with_for_update()).one()
            if known.number and known.ended_at is None:
                return _round(known)
            fresh = {"number": known.number + 1, "begun_at": now, "ended_at": None}
            db.execute(update(rounds).where(rounds.c.course == course).values(**fresh))
        self._db.checkpoint("fixity.round_begun")
        return Round(course, known.number + 1, now)

    @outage_retry
    def end(self, round_: Round, *, now: datetime) -> bool:
        """See Rounds."""
        its = (rounds.c.course == round_.course, rounds.c.number == round_.number, rounds.c.ended_at.is_(None))
        with self._db.write() as db:
            done = not _left(db, round_) and bool(db.execute(update(rounds).where(*its).values(ended_at=now)).rowcount)
        self._db.checkpoint("fixity.round_ended")
        return done

    @outage_retry
    def take(
        self,
        course: Course,
        *,
        owner: str,
        now: datetime,
        lease: timedelta,
        round_: Round | None = None,
        listing: bool = False,
    ) -> SliceLease | None:
        """See Rounds."""
        with self._db.write(passing=True) as db:
            if round_ is None:
                _make_rows(db, course, now)
            _put_back(db, course, now)
            row = db.execute(_free(course, now, lease, round_, listing=listing)).first()
            if row is None:
                return None
            values: dict[str, Any] = {"owner": owner, "token": secrets.token_hex(16), "leased_until": now + lease}
            if row.begun_at is None or (round_ is not None and row.round < round_.number):
                newest = _newest(db, course) if round_ is None else round_
                values |= {**_FROM_THE_START, "begun_at": now, "round": newest.number if newest else 0}
            its = (slices.c.course == course, slices.c.number == row.number)
            taken = db.execute(update(slices).where(*its).values(**values).returning(*slices.c)).one()
        self._db.checkpoint("fixity.slice_taken")
        return _lease(taken)

    @outage_retry
    def note(self, held: SliceLease, place: Place, checked: Checked) -> SliceLease:
        """See Rounds."""
        with self._db.write(passing=True) as db:
            _move(db, held, {"after_task": place.task, "after_key": place.key, **_counts(checked)})
        self._db.checkpoint("fixity.noted")
        return SliceLease(held.course, held.number, held.round, held.token, held.begun_at, place, checked)

    @outage_retry
    def finish(self, held: SliceLease, checked: Checked, *, now: datetime) -> None:
        """See Rounds."""
        done: dict[str, Any] = {"after_task": "", "after_key": "", "begun_at": None}
        if not checked.verdicts.get(Fixity.UNREAD):
            done["ended_at"] = now
        with self._db.write() as db:
            _move(db, held, {**done, **_counts(checked), **_NO_LEASE})
        self._db.checkpoint("fixity.slice_ended")

    @outage_retry
    def renew(self, owner: str, *, now: datetime, lease: timedelta) -> None:
        """See Rounds."""
        with self._db.write(passing=True) as db:
            db.execute(update(slices).where(slices.c.owner == owner).values(leased_until=now + lease))

    @outage_retry
    def release(self, owner: str) -> None:
        """See Rounds."""
        with self._db.write() as db:
            db.execute(update(slices).where(slices.c.owner == owner).values(**_NO_LEASE))

    @outage_retry
    def release_dead(self, is_alive: IsAlive) -> None:
        """See Rounds."""
        with self._db.read() as db:
            names = db.execute(select(slices.c.owner).where(slices.c.owner.is_not(None)).distinct()).scalars().all()
        for owner in owners.judge(names, is_alive)[0]:
            self.release(owner)

    @outage_retry
    def standings(self, course: Course, *, now: datetime) -> Sequence[Standing]:
        """See Rounds."""
        its = (slices.c.course == course, slices.c.number != LISTING)
        with self._db.read() as db:
            found = db.execute(select(slices).where(*its).order_by(slices.c.number)).all()
        return [_standing(row, now) for row in found]

    @outage_retry
    def left(self, round_: Round) -> int:
        """See Rounds."""
        with self._db.read() as db:
            return _left(db, round_)

    @outage_retry
    def kept_since(self) -> datetime | None:
        """See Rounds."""
        with self._db.read() as db:
            known: datetime | None = db.scalar(select(rounds.c.kept_since).where(rounds.c.course == Course.READ))
        return known

    @outage_retry
    def keep_since(self, now: datetime | None) -> datetime | None:
        """See Rounds."""
        known = self.kept_since()
        if (known is None) == (now is None) and (known is None or now is None or known <= now):
            return known
        with self._db.write() as db:
            if now is not None:
                _make_rows(db, Course.READ, now)
            db.execute(update(rounds).where(rounds.c.course == Course.READ).values(kept_since=now))
        return now


def _of(course: Course) -> Select[Any]:
    return select(rounds).where(rounds.c.course == course)


def _newest(db: Connection, course: Course) -> Round | None:
    """Return the newest round; what stands under the number 0 was never begun."""
    row = db.execute(_of(course).where(rounds.c.number > 0)).first()
    return None if row is None else _round(row)


def _round(row: AnyRow) -> Round:
    return Round(row.course, row.number, row.begun_at, row.ended_at)


def _make_rows(db: Connection, course: Course, now: datetime) -> None:
    """Let there be a row for each slice of the course."""
    if db.execute(_of(course)).first() is not None:
        return
    fresh = {"course": course, "number": 0, "begun_at": now, "ended_at": now}
    db.execute(insert(db, rounds).values(**fresh).on_conflict_do_nothing())
    last = LISTING + 1 if course in {Course.LIST, Course.DAILY} else SLICES
    rows = [{"course": course, "number": number, "round": 0, **_FROM_THE_START} for number in range(LISTING, last)]
    db.execute(insert(db, slices).on_conflict_do_nothing(), rows)


def _put_back(db: Connection, course: Course, now: datetime) -> None:
    """Let no slice have been ended later than now."""
    ahead = (slices.c.course == course, slices.c.ended_at > now)
    db.execute(update(slices).where(*ahead).values(ended_at=now))


def _free(course: Course, now: datetime, lease: timedelta, round_: Round | None, *, listing: bool) -> Select[Any]:
    """Return the statement that finds the slice to take: of those under way first, then by their ends."""
    free = or_(slices.c.token.is_(None), slices.c.leased_until <= now, slices.c.leased_until > now + lease)
    its = [slices.c.course == course, free, (slices.c.number == LISTING) == listing]
    if round_ is not None:
        its.append(or_(slices.c.round < round_.number, slices.c.begun_at.is_not(None)))
    order = (slices.c.begun_at.is_(None), slices.c.ended_at.is_not(None), slices.c.ended_at, slices.c.number)
    return select(slices).where(*its).order_by(*order).limit(1).with_for_update(skip_locked=True)


def _move(db: Connection, held: SliceLease, values: Mapping[str, Any]) -> None:
    its = (slices.c.course == held.course, slices.c.number == held.number, slices.c.token == held.token)
    if db.execute(update(slices).where(*its).values(**values)).rowcount != 1:
        raise LeaseLost(f"slice {held.number} of {held.course.value}")


def _left(db: Connection, round_: Round) -> int:
    open_ = or_(slices.c.round < round_.number, slices.c.begun_at.is_not(None))
    return db.scalar(select(func.count()).where(slices.c.course == round_.course, open_)) or 0


def _counts(checked: Checked) -> Mapping[str, Any]:
    verdicts = json.dumps({verdict.value: count for verdict, count in checked.verdicts.items()}, sort_keys=True)
    return {"objects": checked.objects, "bytes": checked.bytes, "verdicts": verdicts}


def _checked(row: AnyRow) -> Checked:
    return Checked(row.objects, row.bytes, {Fixity(word): count for word, count in json.loads(row.verdicts).items()})


def _lease(row: AnyRow) -> SliceLease:
    place = Place(row.after_task, row.after_key)
    return SliceLease(Course(row.course), row.number, row.round, row.token, row.begun_at, place, _checked(row))


def _standing(row: AnyRow, now: datetime) -> Standing:
    ended = row.ended_at and min(row.ended_at, now)
    return Standing(row.number, row.round, ended, row.begun_at is not None, _checked(row))
