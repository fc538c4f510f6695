"""Pauses of dependencies: the breakers' and the operator's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, literal, not_, or_, select, update

from archiver.adapters.ledger import backed_off
from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.database.transactions import LedgerPart, outage_retry
from archiver.adapters.ledger.schema.tables import pauses, tasks
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Dependency, Pause, Subject, TaskId

FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(seconds=30)
"""A probe is one request; waiting longer would only delay the work once the trouble is over."""


_KEY = [pauses.c.dependency, pauses.c.account, pauses.c.host]


class SqlPauses(LedgerPart):
    """The Pauses of `ports.ledger` in a SQL database."""

    @outage_retry
    def pause(
        self,
        dependency: Dependency,
        account: AccountName = DEFAULT_ACCOUNT,
        host: str = "",
        *,
        reason: str,
        hint: str,
        lasting: bool,
        now: datetime,
    ) -> Pause:
        """See Pauses."""
        with self._db.write() as db:
            standing = _read(db, select(pauses).where(pauses.c.dependency == dependency).with_for_update())
            found = next((pause for pause in standing if pause.held), None)
            if found is None:
                subject = Subject(dependency, account, host)
                before = next((pause for pause in standing if pause.subject == subject), None)
                since, probes, next_probe = _wait(before, now)
                fresh = Pause(dependency, since, reason, hint, lasting, probes, next_probe, account=account, host=host)
                found = _write(db, fresh)
        self._db.checkpoint("ledger.paused")
        return found

    @outage_retry
    def resume(self, dependency: Dependency, account: AccountName = DEFAULT_ACCOUNT, host: str = "") -> bool:
        """See Pauses."""
        its = (pauses.c.dependency == dependency, pauses.c.account == account, pauses.c.host == host)
        with self._db.write() as db:
            ended = db.execute(delete(pauses).where(*its, not_(pauses.c.held))).rowcount > 0
            if ended:
                _wake(db, f" {Subject(dependency, account, host).key} ")
        self._db.checkpoint("ledger.resumed")
        return ended

    @outage_retry
    def hold(self, dependency: Dependency, *, until: datetime | None, now: datetime) -> Pause:
        """See Pauses."""
        reason, hint = "held by the operator", "run: stem-archiver resume"
        with self._db.write() as db:
            db.execute(delete(pauses).where(pauses.c.dependency == dependency))
            pause = _write(db, Pause(dependency, now, reason, hint, until is None, 0, until or now, held=True))
        self._db.checkpoint("ledger.paused")
        return pause

    @outage_retry
    def wake(self, subject: Subject) -> None:
        """See Pauses."""
        with self._db.write() as db:
            _wake(db, f" {subject.key} ")

    @outage_retry
    def is_awaited(self, subject: Subject) -> bool:
        """See Pauses."""
        its = or_(_waits_for(f" {subject.key} "), tasks.c.waits_for == backed_off.failed_at(subject))
        waiting = (tasks.c.waits_for.is_not(None), its, tasks.c.ended_at.is_(None), tasks.c.not_before.is_not(None))
        with self._db.read() as db:
            return db.execute(select(tasks.c.task_id).where(*waiting).limit(1)).first() is not None

    @outage_retry
    def bring_forward(
        self, subjects: Collection[Subject] | None, *, now: datetime, after: datetime, each: int, but: Sequence[TaskId]
    ) -> Sequence[TaskId]:
        """See Pauses."""
        with self._db.read() as db:
            found = backed_off.chosen(db, subjects, after=after, each=each, but=but)
        if found:
            with self._db.write() as db:
                backed_off.bring_forward(db, found, now=now)
            self._db.checkpoint("ledger.resumed")
        return found

    @outage_retry
    def lift(self, dependency: Dependency, *, over_at: datetime | None = None) -> bool:
        """See Pauses."""
        statement = delete(pauses).where(pauses.c.dependency == dependency)
        if over_at is not None:
            statement = statement.where(pauses.c.held, not_(pauses.c.lasting), pauses.c.next_probe <= over_at)
        with self._db.write() as db:
            ended = db.execute(statement).rowcount > 0
            if ended:
                _wake(db, f" {dependency.value}:")
        self._db.checkpoint("ledger.resumed")
        return ended

    @outage_retry
    def all(self) -> Sequence[Pause]:
        """See Pauses."""
        with self._db.read() as db:
            return all_pauses(db)


def all_pauses(db: Connection) -> tuple[Pause, ...]:
    """Return every pause, by dependency, account and host."""
    return _read(db, select(pauses).order_by(pauses.c.dependency, pauses.c.account, pauses.c.host))


def _wake(db: Connection, key: str) -> None:
    """Make due what waits for a pause that is over."""
    due = {"not_before": tasks.c.accepted_at, "waits_for": None}
    db.execute(update(tasks).where(_waits_for(key), tasks.c.ended_at.is_(None)).values(**due))


def _waits_for(key: str) -> ColumnElement[bool]:
    """Return the tasks that wait for it; keys stand with a blank between, and none has one."""
    padded = literal(" ") + tasks.c.waits_for + literal(" ")
    return and_(tasks.c.waits_for.is_not(None), padded.contains(key, autoescape=True))


def _read(db: Connection, which: Select[Any]) -> tuple[Pause, ...]:
    return tuple(Pause(**row) for row in db.execute(which).mappings())


def _wait(before: Pause | None, now: datetime) -> tuple[datetime, int, datetime]:
    """Return since when it is paused, how many probes have failed, and when the next is due."""
    if before is None:
        return now, 0, now + FIRST_WAIT
    if now < before.next_probe <= now + LONGEST_WAIT:
        return before.since, before.probes, before.next_probe
    probes = before.probes + 1
    return before.since, probes, now + min(FIRST_WAIT * (1 << min(probes, 10)), LONGEST_WAIT)


def _write(db: Connection, pause: Pause) -> Pause:
    values = asdict(pause)
    statement = insert(db, pauses).values(values)
    db.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=values))
    return pause
