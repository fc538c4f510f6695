"""Reports: all that people are shown of the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, not_, select, true

from archiver.adapters.ledger import attention, listing
from archiver.adapters.ledger.backlog import backlog
from archiver.adapters.ledger.claimable import DUE, ENLISTED, FREE, NOT_BLOCKED, OPEN, asked
from archiver.adapters.ledger.database.transactions import LedgerPart, outage_retry
from archiver.adapters.ledger.family import family_of
from archiver.adapters.ledger.pauses import all_pauses
from archiver.adapters.ledger.processes import all_processes
from archiver.adapters.ledger.put_off import put_off
from archiver.adapters.ledger.rejects import count_unseen
from archiver.adapters.ledger.rows import AnyRow, count_tasks, history_of, stems_of, task_row
from archiver.adapters.ledger.schema.keys import BEGUN, HAS_DEADLINE
from archiver.adapters.ledger.schema.tables import (
    QUARANTINED,
    UNTRIMMED,
    cursors,
    enlisted,
    rejects,
    tallies,
    tasks,
    trims,
)
from archiver.adapters.ledger.unlisted import first_unlisted, unlisted_by_minute
from archiver.core import plan
from archiver.core.attention import Need, NeedyTask
from archiver.core.intake import Reject
from archiver.core.model import AccountName, TaskId
from archiver.core.reports import (
    AtRisk,
    EnlistedWork,
    ListedTask,
    OpenWork,
    Overview,
    Process,
    Quarantined,
    TaskQuery,
    TaskRow,
)
from archiver.core.states import StemState, TaskState
from archiver.ports.ledger import RETENTION

SHOWN = 20
"""Rows of a kind that `overview` lists."""

RATE_WINDOW = timedelta(hours=1)


class SqlReports(LedgerPart):
    """The Reports of `ports.ledger` in a SQL database."""

    @outage_retry
    def show(self, task_id: TaskId) -> TaskRow | None:
        """See Reports."""
        with self._db.read() as db:
            row = db.execute(select(tasks).where(tasks.c.task_id == task_id)).first()
            if row is None:
                return None
            found = task_row(row, stems_of(db, [task_id])[task_id], history_of(db, task_id))
            return replace(found, family=family_of(db, row))

    @outage_retry
    def enlisted(self, owner: str, *, limit: int) -> EnlistedWork:
        """See Reports."""
        its = (enlisted.c.task_id == tasks.c.task_id, enlisted.c.owner == owner)
        counted = select(tasks.c.state, func.count().label("number")).where(*its).group_by(tasks.c.state)
        listed = select(tasks).where(*its, tasks.c.state != TaskState.ARCHIVED)
        with self._db.read() as db:
            states = dict.fromkeys(TaskState, 0) | {row.state: row.number for row in db.execute(counted)}
            found = db.execute(listed.order_by(tasks.c.urgency, tasks.c.task_id).limit(limit)).all() if limit else ()
            its_stems = stems_of(db, [row.task_id for row in found])
        return EnlistedWork(states, tuple(task_row(row, its_stems[row.task_id]) for row in found))

    @outage_retry
    def open_work(self, owner: str | None, blocked_accounts: Collection[AccountName] = ()) -> OpenWork:
        """See Reports."""
        goes_on = NOT_BLOCKED if blocked_accounts else true()
        counts = select(
            func.count(),
            func.min(tasks.c.not_before).filter(not_(tasks.c.awaited), goes_on),
            func.min(tasks.c.not_before).filter(tasks.c.awaited, goes_on),
            func.min(tasks.c.deadline),
            func.count().filter(tasks.c.awaited),
        ).select_from(tasks)
        wanted = [OPEN, tasks.c.not_before.is_not(None)] + ([] if owner is None else [ENLISTED])
        with self._db.read() as db:
            values = {"me": owner, "blocked": list(blocked_accounts)}
            return OpenWork(*db.execute(counts.where(*wanted), values).one())

    def newest(
        self, query: TaskQuery, *, now: datetime, at_risk: timedelta, retention: timedelta = RETENTION
    ) -> Iterator[ListedTask]:
        """See Reports."""
        near, after = attention.Near(now + at_risk, retention), None
        while found := self._newest(query, near, after):
            yield from found
            after = found[-1].accepted_at, found[-1].task_id

    @outage_retry
    def _newest(self, query: TaskQuery, near: attention.Near, after: listing.Place | None) -> Sequence[ListedTask]:
        with self._db.read() as db:
            return listing.newest(db, query, near, after, listing.PAGE)

    @outage_retry
    def moved_at(self, path: str) -> datetime | None:
        """See Reports."""
        with self._db.read() as db:
            return db.scalar(select(cursors.c.moved_at).where(cursors.c.path == path))

    @outage_retry
    def are_rejected(self, rejects: Sequence[Reject]) -> bool:
        """See Reports."""
        with self._db.read() as db:
            return all(db.scalar(select(exists().where(*_is(reject)))) for reject in rejects)

    @outage_retry
    def processes(self) -> Sequence[Process]:
        """See Reports."""
        with self._db.read() as db:
            return all_processes(db)

    @outage_retry
    def quarantined(self) -> Sequence[Quarantined]:
        """See Reports."""
        with self._db.read() as db:
            return _quarantined(db)

    def needing(self, *, now: datetime, at_risk: timedelta, retention: timedelta = RETENTION) -> Iterator[NeedyTask]:
        """See Reports."""
        near, after = attention.Near(now + at_risk, retention), ()
        for need in Need:
            while True:
                found, after = self._needing(need, near, after)
                yield from found
                if not after:
                    break

    @outage_retry
    def _needing(
        self, need: Need, near: attention.Near, after: attention.Key
    ) -> tuple[Sequence[NeedyTask], attention.Key]:
        with self._db.read() as db:
            return attention.page(db, need, near, after)

    @outage_retry
    def overview(self, *, now: datetime, at_risk: timedelta, retention: timedelta = RETENTION) -> Overview:
        """See Reports."""
        with self._db.read() as db:
            return overview_of(db, now, at_risk, retention, self._db.longest_wait)[0]


def overview_of(
    db: Connection, now: datetime, at_risk: timedelta, retention: timedelta, longest_wait: timedelta
) -> tuple[Overview, Sequence[tuple[datetime, int]]]:
    """Return what `status` shows, and the backlog that its forecast is made of."""
    values, near = asked(longest_wait, now), attention.Near(now + at_risk, retention)
    unlisted = unlisted_by_minute(db)
    needs, endangered = attention.count(db, near)
    rejected, dropped = count_unseen(db)
    its_tasks = dict.fromkeys(TaskState, 0) | count_tasks(db)
    totals = db.execute(select(tallies)).all()
    working, ready, next_due = db.execute(_STANDING, values).one()
    quarantined = db.scalar(select(func.count()).select_from(tasks).where(QUARANTINED)) or 0
    wanted = backlog(db, unlisted, retention)
    rate = _stems_an_hour(db, values, stems_stored=_stored(totals), archived=its_tasks[TaskState.ARCHIVED])
    seen = Overview(
        tasks=its_tasks,
        stems={row.state: row.stems for row in totals},
        bytes_stored=sum(row.bytes for row in totals),
        due=ready,
        working=working,
        next_due=next_due,
        nearest_deadline=_nearest_deadline(db, unlisted, retention),
        at_risk_count=endangered,
        at_risk=_at_risk(db, near) if endangered else (),
        pauses=all_pauses(db),
        rejected_lines=rejected,
        dropped_rejects=dropped,
        rejects=_last_rejects(db) if rejected else (),
        last_archived_at=_last_archived_at(db),
        stems_an_hour=rate,
        quarantined_count=quarantined,
        quarantined=_quarantined(db) if quarantined else (),
        needs=needs,
        needing=attention.first(db, near, needs, SHOWN),
        put_off=put_off(db),
        forecast_late=None if rate is None else plan.forecast(wanted, rate / RATE_WINDOW.total_seconds(), now),
    )
    return seen, wanted


def _nearest_deadline(
    db: Connection, unlisted: Sequence[tuple[datetime, int]], retention: timedelta
) -> datetime | None:
    known = db.scalar(select(func.min(tasks.c.deadline)).where(HAS_DEADLINE))
    first = (begun + retention for begun, _ in unlisted)
    return min((moment for moment in (known, *first) if moment is not None), default=None)


_STANDING = select(
    func.count().filter(not_(FREE)),
    func.count().filter(DUE, FREE),
    func.min(tasks.c.not_before).filter(not_(DUE), FREE),
).where(OPEN)
"""The number worked on, the number due, and the time when the next will be."""


def _stored(totals: Sequence[AnyRow]) -> int:
    return sum(row.stems for row in totals if row.state is StemState.STORED)


def _stems_an_hour(db: Connection, values: Mapping[str, Any], *, stems_stored: int, archived: int) -> float | None:
    """Return the tasks that ended archived within the hour, times the stems that a task has on average.

    None without any, unless work has been waiting for all that time: then the rate is really nought.
    """
    now = values["now"]
    recent = and_(UNTRIMMED, tasks.c.ended_at > now - RATE_WINDOW)
    ended = db.scalar(select(func.count()).select_from(tasks).where(recent)) or 0
    if ended and archived:
        return ended * stems_stored / archived
    waiting = and_(OPEN, tasks.c.accepted_at < now - RATE_WINDOW, DUE)
    return 0.0 if db.scalar(select(exists().where(waiting)), values) else None


def _last_archived_at(db: Connection) -> datetime | None:
    """Return when the last task ended archived: a trimmed one only where all are."""
    latest = db.scalar(select(func.max(tasks.c.ended_at)).where(UNTRIMMED))
    return db.scalar(select(trims.c.ended_at)) if latest is None else latest


def _at_risk(db: Connection, near: attention.Near) -> tuple[AtRisk, ...]:
    search = select(tasks.c.task_id, tasks.c.deadline, BEGUN.label("begun"), tasks.c.reason)
    found = list(db.execute(search.where(near.known).order_by(tasks.c.deadline, tasks.c.task_id).limit(SHOWN)))
    found += first_unlisted(db, search, near.begun_before, SHOWN)
    deadlines = {row.task_id: row.deadline or row.begun + near.retention for row in found}
    rows = sorted(found, key=lambda row: (deadlines[row.task_id], row.task_id))[:SHOWN]
    its_stems = stems_of(db, [row.task_id for row in rows])
    return tuple(
        AtRisk(
            task_id=row.task_id,
            deadline=deadlines[row.task_id],
            missing_stems=sum(stem.state is not StemState.STORED for stem in its_stems[row.task_id]),
            reason=row.reason or next((stem.reason for stem in its_stems[row.task_id] if stem.reason), ""),
        )
        for row in rows
    )


def _quarantined(db: Connection) -> tuple[Quarantined, ...]:
    columns = (tasks.c.task_id, tasks.c.deaths, tasks.c.not_before)
    in_order = (tasks.c.deaths.desc(), tasks.c.urgency.desc(), tasks.c.task_id.desc())
    rows = db.execute(select(*columns).where(QUARANTINED).order_by(*in_order).limit(SHOWN))
    return tuple(Quarantined(TaskId(row.task_id), row.deaths, row.not_before) for row in rows)


def _is(reject: Reject) -> tuple[ColumnElement[bool], ...]:
    its = rejects.c
    return its.path == reject.path, its.offset == reject.offset, its.excerpt == reject.excerpt


def _last_rejects(db: Connection) -> tuple[Reject, ...]:
    unseen = select(rejects).where(rejects.c.acknowledged_at.is_(None))
    rows = db.execute(unseen.order_by(rejects.c.id.desc()).limit(SHOWN)).all()
    return tuple(Reject(row.path, row.offset, row.excerpt, row.reason, row.line) for row in reversed(rows))
