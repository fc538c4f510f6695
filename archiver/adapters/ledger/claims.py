"""Claims: tasks taken under a lease, for as long as their owner lives."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Select, and_, bindparam, not_, select

from archiver.adapters.ledger import leases, owners
from archiver.adapters.ledger.claimable import ENLISTED, FREE, NOW, Part, Quarantine, Wanted, asked, claimable
from archiver.adapters.ledger.database.prepared import Prepared
from archiver.adapters.ledger.database.transactions import LedgerPart, Transactions, outage_retry
from archiver.adapters.ledger.rows import AnyRow
from archiver.adapters.ledger.schema.tables import tasks
from archiver.adapters.ledger.schema.types import UtcTime
from archiver.core import plan
from archiver.core.due import Due, First
from archiver.core.model import AccountName, Claim, Stage, TaskId
from archiver.core.states import TaskState
from archiver.ports.ledger import IsAlive

TURNS = (
    Part.LINKS,
    Part.NEVER_ASKED,
    Part.LINKS,
    Part.NEWEST,
    Part.LINKS,
    Part.YOUNG,
    Part.ASKED,
    Part.NEWEST,
)
"""Whose turn it is to be asked about first, again and again; where nothing is due of it, the next part that has."""

NEAR = timedelta(days=1)
"""A link that is needed within so long, and what was never asked about, have jobs that go first, in turn, ..."""
HEAD_START = timedelta(days=1)
"""... by so much before the jobs for other links."""


class SqlClaims(LedgerPart):
    """The Claims of `ports.ledger` in a SQL database."""

    def __init__(self, db: Transactions) -> None:
        super().__init__(db)
        self._turns = {untried_only: itertools.cycle(TURNS) for untried_only in (False, True)}

    @outage_retry
    def claim(
        self,
        *,
        owner: str,
        now: datetime,
        lease: timedelta,
        stage: Stage | None = None,
        enlisted_only: bool = False,
        fresh_only: bool = False,
        blocked_accounts: Collection[AccountName] = (),
        alone_from: datetime | None = None,
        first: First = First.URGENT,
        untried_only: bool = False,
    ) -> Claim | None:
        """See Claims."""
        quarantine = Quarantine.OUT if alone_from is None else Quarantine.ONLY
        wanted = [
            _wanted(each, fresh_only, bool(blocked_accounts), quarantine, first=first, only=untried_only)
            for each in Stage
            if stage in {None, each}
        ]
        values = asked(self._db.longest_wait, now, blocked_accounts, me=owner, alone_from=alone_from)
        turn = next(self._turns[untried_only]) if stage is Stage.LIST else None
        # A lease is worth nothing once its holder is gone, and what the holder writes down later lasts with it.
        with self._db.write(passing=True) as db:
            while True:
                rows = [_first(db, each, values, enlisted_only=enlisted_only, turn=turn) for each in wanted]
                found = [row for row in rows if row is not None]
                if not found:
                    return None
                best = min(found, key=lambda row: _rank(row, now, alone=alone_from is not None))
                if not _is_quarantined_now(db, best, owner, now):
                    break
            claim = leases.lease(db, best.task_id, owner=owner, until=now + lease)
        self._db.checkpoint("ledger.claimed")
        return claim

    @outage_retry
    def claim_task(
        self,
        task_id: TaskId,
        *,
        owner: str,
        now: datetime,
        lease: timedelta,
        stages: Sequence[Stage],
        fresh_only: bool = False,
        blocked_accounts: Collection[AccountName] = (),
        alone_from: datetime | None = None,
    ) -> Claim | None:
        """See Claims."""
        quarantine = Quarantine.OUT if alone_from is None else Quarantine.ALSO
        wanted = Wanted(fresh_only=fresh_only, some_blocked=bool(blocked_accounts), quarantine=quarantine)
        values = asked(
            self._db.longest_wait, now, blocked_accounts, its_task=task_id, stages=list(stages), alone_from=alone_from
        )
        with self._db.write() as db:
            row = db.execute(_this_one(wanted), values).first()
            if row is None or _is_quarantined_now(db, row, owner, now):
                return None
            claim = leases.lease(db, task_id, owner=owner, until=now + lease)
        self._db.checkpoint("ledger.claimed")
        return claim

    @outage_retry
    def due(
        self,
        stage: Stage,
        *,
        now: datetime,
        until: datetime,
        limit: int,
        fresh_only: bool = False,
        blocked_accounts: Collection[AccountName] = (),
        alone_from: datetime | None = None,
    ) -> Sequence[Due]:
        """See Claims."""
        quarantine = Quarantine.OUT if alone_from is None else Quarantine.ONLY
        wanted = Wanted(stage, fresh_only, bool(blocked_accounts), quarantine)
        values = asked(self._db.longest_wait, now, blocked_accounts, until=until, alone_from=alone_from)
        found: list[AnyRow] = []
        with self._db.read() as db:
            if stage is Stage.LIST and alone_from is None:
                found += _to_ask(db, wanted, {**values, "most": limit})
            else:
                for which in ("due in time", "due and expired") if stage is Stage.STORE else ("due",):
                    found += _upcoming(wanted, which).all(db, {**values, "most": limit - len(found)})
                found = _with_untried(db, wanted, values, found, limit)
            if until > now:
                found += _upcoming(wanted, "due soon").all(db, {**values, "most": limit})
        return [_due(row, now) for row in found]

    @outage_retry
    def next_deadline(self, owner: str, *, now: datetime, enlisted_only: bool = False) -> datetime | None:
        """See Claims."""
        search = _search(Wanted(Stage.STORE), enlisted_only=enlisted_only, in_time=True, lock=False)
        with self._db.read() as db:
            row = search.first(db, asked(self._db.longest_wait, now, me=owner))
        return None if row is None else row.deadline

    @outage_retry
    def are_held(self, *, now: datetime) -> bool:
        """See Claims."""
        with self._db.read() as db:
            return _HELD.first(db, asked(self._db.longest_wait, now)) is not None

    @outage_retry
    def renew(self, owner: str, *, now: datetime, lease: timedelta) -> bool:
        """See Claims."""
        with self._db.write(passing=True) as db:
            known = leases.renew(db, owner, now=now, lease=lease)
        self._db.checkpoint("ledger.renewed")
        return known

    @outage_retry
    def clock_set_back(self, by: timedelta, *, now: datetime) -> None:
        """See Claims."""
        with self._db.write() as db:
            leases.wait_less(db, by, now=now)

    @outage_retry
    def give_back(self, claim: Claim, *, reason: str, not_before: datetime) -> None:
        """See Claims."""
        with self._db.write() as db:
            leases.give_back(db, claim, reason=reason, not_before=not_before)
        self._db.checkpoint("ledger.released")

    @outage_retry
    def release(self, owner: str) -> int:
        """See Claims."""
        with self._db.write() as db:
            count = leases.release(db, owner)
        self._db.checkpoint("ledger.released")
        return count

    @outage_retry
    def release_dead(self, is_alive: IsAlive, *, now: datetime) -> Sequence[str]:
        """See Claims. `is_alive` is asked outside the transaction: an owner that is dead stays dead."""
        with self._db.read() as db:
            known = owners.known(db)
        dead, unknown = owners.judge(known, is_alive)
        if not dead and not unknown:
            return []
        with self._db.write() as db:
            for owner in dead:
                leases.bury(db, tasks.c.owner == owner, now=now)
                leases.release(db, owner)
            dead += owners.release_silent(db, unknown, now=now, longest_wait=self._db.longest_wait)
        if dead:
            self._db.checkpoint("ledger.released")
        return sorted(dead)


_HELD = Prepared(select(tasks.c.task_id).where(tasks.c.owner.is_not(None), not_(FREE)).limit(1))
_IN_TIME = tasks.c.urgency > NOW
_SOON = and_(tasks.c.not_before > NOW, tasks.c.not_before <= bindparam("until", type_=UtcTime))


@cache
def _search(wanted: Wanted, *, enlisted_only: bool, in_time: bool, lock: bool) -> Prepared:
    """Return the statement that finds the most urgent task."""
    conditions = [claimable(wanted)]
    conditions += [_is_newest(*conditions)] if wanted.part is Part.NEWEST else []
    conditions += [ENLISTED] if enlisted_only else []
    conditions += [_IN_TIME] if in_time else []
    columns = (tasks.c.task_id, tasks.c.urgency, tasks.c.deadline, tasks.c.owner, tasks.c.deaths)
    search = select(*columns).where(*conditions).order_by(*_in_order(wanted)).limit(1)
    return Prepared(search.with_for_update(skip_locked=True) if lock else search)


def _wanted(
    stage: Stage, fresh_only: bool, some_blocked: bool, quarantine: Quarantine, *, first: First, only: bool
) -> Wanted:
    """Return what a claim wants: what goes `first` to store, or what was never tried `only`."""
    first = first if stage is Stage.STORE else First.URGENT
    untried, latest = only or first is not First.URGENT, first is First.LATEST
    return Wanted(stage, fresh_only, some_blocked, quarantine, untried=untried, or_tried=not only, latest=latest)


def _is_newest(*its: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that a task is of those with the latest urgency, of all with these conditions."""
    latest = select(tasks.c.urgency).where(*its).order_by(tasks.c.urgency.desc()).limit(1)
    return tasks.c.urgency == latest.correlate(None).scalar_subquery()


def _in_order(wanted: Wanted) -> tuple[ColumnElement[Any], ...]:
    order = (tasks.c.urgency.desc() if wanted.latest else tasks.c.urgency, tasks.c.task_id)
    return (tasks.c.deaths, *order) if wanted.quarantine is Quarantine.ONLY else order


def _is_quarantined_now(db: Connection, row: AnyRow, owner: str, now: datetime) -> bool:
    """Count the death of the other who held the task until its lease ran out; return whether it was one too many."""
    if row.owner is None or row.owner == owner:
        return False
    return leases.bury(db, tasks.c.task_id == row.task_id, now=now)


def _parts(turn: Part | None) -> list[Part]:
    """Return the parts in the order in which one is looked for; None: it is nobody's turn, the most urgent is first.

    Where no link is needed, its turn is that of the young, or of the newest where none is.
    """
    instead = (Part.YOUNG, Part.NEWEST) if turn in {Part.LINKS, Part.YOUNG} else ()
    order = (turn, *instead, Part.LINKS, Part.NEVER_ASKED, Part.ASKED)
    return [part for part in dict.fromkeys(order) if part is not None]


def _parts_that_go_first(turn: Part | None) -> list[Part]:
    its_turn = Part.NEWEST if turn is Part.NEWEST else Part.LINKS
    return [part for part in _parts(its_turn) if part not in {Part.NEVER_ASKED, Part.ASKED}]


def _to_ask(db: Connection, wanted: Wanted, values: Mapping[str, Any]) -> list[AnyRow]:
    """Return the tasks to ask about, of each part as many as it has turns, and more where others have less.

    A part is looked at once a task of it may be the next: whoever wants one alone needs few of them.
    """
    queues = {part: _rows_of(db, replace(wanted, part=part), values) for part in Part}
    found: dict[TaskId, AnyRow] = {}
    for turn in itertools.islice(itertools.cycle(TURNS), values["most"]):
        row = next((row for part in _parts(turn) for row in queues[part] if row.task_id not in found), None)
        if row is None:
            break
        found[row.task_id] = row
    return list(found.values())


def _rows_of(db: Connection, wanted: Wanted, values: Mapping[str, Any]) -> Iterator[AnyRow]:
    yield from _upcoming(wanted, "due").all(db, values)


def _with_untried(
    db: Connection, wanted: Wanted, values: Mapping[str, Any], found: list[AnyRow], limit: int
) -> list[AnyRow]:
    """Return the tasks, of which up to half are untried where there are too many for all to be in it."""
    if len(found) < limit or not any(row.attempts for row in found):
        return found
    most = {**values, "most": limit // 2}
    untried = _upcoming(replace(wanted, untried=True), "due in time").all(db, most)
    rows = {row.task_id: row for row in (*found[: limit - len(untried)], *untried, *found)}
    return list(rows.values())[:limit]


def _due(row: AnyRow, now: datetime) -> Due:
    """Return the task as a job has it: jobs are done in the order of one number, and of their making."""
    urgency = row.urgency
    if row.stage is Stage.LIST and urgency < plan.ASKED_AGAIN:
        urgency = now - HEAD_START if urgency <= now + NEAR else now
    again = row.attempts > 0 or (row.asks > 0 and row.state is TaskState.QUEUED)
    return Due(TaskId(row.task_id), row.stage, urgency, row.deadline, row.not_before, again)


def _first(
    db: Connection, wanted: Wanted, values: Mapping[str, Any], *, enlisted_only: bool, turn: Part | None
) -> AnyRow | None:
    """Find and lock the task with the nearest deadline; one whose deadline has passed only where no other is left.

    An expired task can hardly be saved by haste, and would cost others their chance.
    """
    if wanted.stage is Stage.LIST and wanted.quarantine is not Quarantine.ONLY:
        for part in _parts(turn) if wanted.or_tried else _parts_that_go_first(turn):
            search = _search(replace(wanted, part=part), enlisted_only=enlisted_only, in_time=False, lock=True)
            if row := search.first(db, values):
                return row
        return None
    row = _search(wanted, enlisted_only=enlisted_only, in_time=False, lock=True).first(db, values)
    if row is None and wanted.untried and wanted.or_tried:
        return _first(db, replace(wanted, untried=False), values, enlisted_only=enlisted_only, turn=turn)
    sought = wanted.stage is Stage.LIST or wanted.quarantine is Quarantine.ONLY
    if row is None or sought or row.urgency > values["now"]:
        return row
    return _search(wanted, enlisted_only=enlisted_only, in_time=True, lock=True).first(db, values) or row


def _rank(row: AnyRow, now: datetime, *, alone: bool) -> tuple[int, bool, datetime, str]:
    """Return the order of the most urgent tasks of two stages."""
    expired = row.deadline is not None and row.deadline <= now
    return (row.deaths, False, row.urgency, row.task_id) if alone else (0, expired, row.urgency, row.task_id)


@cache
def _this_one(wanted: Wanted) -> Select[Any]:
    """Return the statement that locks one task of `stages`, if it may be claimed."""
    its = (tasks.c.task_id == bindparam("its_task"), tasks.c.stage.in_(bindparam("stages", expanding=True)))
    return select(tasks.c.task_id, tasks.c.owner).where(*its, claimable(wanted)).with_for_update(skip_locked=True)


@cache
def _upcoming(wanted: Wanted, which: str) -> Prepared:
    """Return the statement that lists tasks in the order of claims."""
    conditions = {
        "due": (claimable(wanted),),
        "due in time": (claimable(wanted), _IN_TIME),
        "due and expired": (claimable(wanted), not_(_IN_TIME)),
        "due soon": (claimable(wanted, _SOON),),
    }
    newest = [_is_newest(*conditions[which])] if wanted.part is Part.NEWEST else []
    columns = (tasks.c.task_id, tasks.c.stage, tasks.c.urgency, tasks.c.deadline, tasks.c.not_before)
    return Prepared(
        select(*columns, tasks.c.attempts, tasks.c.asks, tasks.c.state)
        .where(*conditions[which], *newest)
        .order_by(*_in_order(wanted))
        .limit(bindparam("most", type_=Integer))
    )
