"""Checks that are in no report yet, and the reports that were written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime

from sqlalchemy import Connection, delete, func, select

from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.database.transactions import LedgerPart, outage_retry
from archiver.adapters.ledger.rows import AnyRow, chunks
from archiver.adapters.ledger.schema.faults import checks, fixity_reports
from archiver.adapters.ledger.schema.fixity import slices
from archiver.adapters.ledger.schema.tables import tasks
from archiver.core.fixity import Fixity
from archiver.core.fixity_report import Check, Sealed
from archiver.core.levels import Level
from archiver.core.slices import LISTING, Course
from archiver.core.states import TaskState


class SqlChecks(LedgerPart):
    """The Checks of `ports.fixity_records` in a SQL database."""

    @outage_retry
    def add(self, check: Check) -> None:
        """See Checks."""
        with self._db.write() as db:
            db.execute(
                insert(db, checks).values(
                    level=check.level,
                    begun_at=check.begun_at,
                    ended_at=check.ended_at,
                    slices=check.slices,
                    tasks=check.tasks,
                    bytes=check.bytes,
                    whole=check.is_whole,
                    verdicts={verdict.value: count for verdict, count in check.verdicts.items() if count},
                )
            )

    @outage_retry
    def unreported(self) -> Sequence[Check]:
        """See Checks."""
        with self._db.read() as db:
            return [_check(row) for row in db.execute(select(checks).order_by(checks.c.id))]

    @outage_retry
    def reported(self, report: Sealed, numbers: Collection[int], *, now: datetime) -> None:
        """See Checks."""
        with self._db.write() as db:
            said = {"seal": report.seal, "written_at": now}
            statement = insert(db, fixity_reports).values(day=report.day.isoformat(), **said)
            db.execute(statement.on_conflict_do_update(index_elements=["day"], set_=said))
            for chunk in chunks(numbers):
                db.execute(delete(checks).where(checks.c.id.in_(chunk)))

    @outage_retry
    def reports(self) -> Sequence[Sealed]:
        """See Checks."""
        with self._db.read() as db:
            return [_sealed(row) for row in db.execute(select(fixity_reports).order_by(fixity_reports.c.day))]

    @outage_retry
    def last_report(self) -> Sealed | None:
        """See Checks."""
        with self._db.read() as db:
            row = db.execute(select(fixity_reports).order_by(fixity_reports.c.day.desc()).limit(1)).first()
        return None if row is None else _sealed(row)

    @outage_retry
    def oldest(self, *, now: datetime) -> datetime | None:
        """See Checks."""
        any_task = select(tasks.c.task_id).where(_ARCHIVED).limit(1)
        with self._db.read() as db:
            read: datetime | None = db.scalar(select(func.min(slices.c.ended_at)).where(_READ))
            stood = _unread_since(db)
            known = [each for each in (read, stood) if each is not None]
            return min(*known, now) if known and db.scalar(any_task) is not None else None


_READ = (slices.c.course == Course.READ) & (slices.c.number != LISTING)
_ARCHIVED = tasks.c.state == TaskState.ARCHIVED
_FEW = 64
"""Slices whose tasks are looked for one slice after the other: a sixty-fourth of all."""


def _unread_since(db: Connection) -> datetime | None:
    """Return when the first archived task was accepted whose slice was never read.

    Of few slices all tasks are looked at; of many, the tasks from the oldest on, which soon meets one.
    """
    never = select(slices.c.number).where(_READ, slices.c.ended_at.is_(None))
    numbers = db.execute(never.limit(_FEW + 1)).scalars().all()
    accepted = tasks.c.accepted_at
    if len(numbers) > _FEW:
        its = select(accepted).where(_ARCHIVED, tasks.c.slice.in_(never)).order_by(accepted).limit(1)
        found: datetime | None = db.scalar(its)
        return found
    # By the slice's index: asked for one state alone, SQLite would walk through all tasks of it.
    each = select(tasks.c.state, func.min(accepted)).where(tasks.c.slice.in_(numbers)).group_by(tasks.c.state)
    firsts = db.execute(each).all() if numbers else ()
    return next((first for state, first in firsts if state is TaskState.ARCHIVED), None)


def _check(row: AnyRow) -> Check:
    verdicts = {Fixity(word): count for word, count in row.verdicts.items()}
    counts = row.tasks, row.bytes, row.slices, row.whole
    return Check(Level(row.level), row.begun_at, row.ended_at, verdicts, *counts, row.id)


def _sealed(row: AnyRow) -> Sealed:
    return Sealed(date.fromisoformat(row.day), row.seal)
