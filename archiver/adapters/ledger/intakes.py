"""Intakes: how tasks come in, from the queue file, a backfill, the provider's calls and the operator."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    update,
)

from archiver.adapters.ledger import attention, rejects
from archiver.adapters.ledger.claimable import FREE, OPEN, asked
from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.database.transactions import LedgerPart, outage_retry
from archiver.adapters.ledger.moves import recount
from archiver.adapters.ledger.rebuilds import refuse_while_rebuilt
from archiver.adapters.ledger.retry import retry
from archiver.adapters.ledger.rows import chunks, kind_of
from archiver.adapters.ledger.saying import ask_anew, hint, say
from archiver.adapters.ledger.schema.tables import cursors, enlisted, pauses, tasks
from archiver.core import plan
from archiver.core.attention import Need
from archiver.core.intake import Cursor, Intake
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Dependency, Stage, TaskId
from archiver.core.records.kinds.names import KindName
from archiver.core.slices import slice_of
from archiver.core.states import TaskState
from archiver.ports.ledger import NOTHING, RETENTION

_CURSOR = (
    cursors.c.path,
    cursors.c.device,
    cursors.c.inode,
    cursors.c.head,
    cursors.c.head_size,
    cursors.c.offset,
)


class SqlIntakes(LedgerPart):
    """The Intakes of `ports.ledger` in a SQL database."""

    @outage_retry
    def cursor(self, path: str) -> Cursor | None:
        """See Intakes."""
        with self._db.read() as db:
            row = db.execute(select(*_CURSOR).where(cursors.c.path == path)).mappings().first()
        return None if row is None else Cursor(**row)

    @outage_retry
    def take_in(self, intake: Intake, *, source: str, now: datetime) -> Sequence[TaskId]:
        """See Intakes."""
        ids = list(dict.fromkeys(intake.ids))
        with self._db.write() as db:
            new = _accept(db, ids, source, now)
            if new:
                refuse_while_rebuilt(db)
            for account in sorted(set(intake.accounts.values())):
                _assign(db, account, [task_id for task_id, named in intake.accounts.items() if named == account], now)
            if intake.accounts:
                _forget_pauses(db)
            recount(db, {TaskState.QUEUED: len(new)})
            say(db, intake.said, now)
            rejects.keep(db, intake.rejects, now)
            if intake.cursor is not None:
                _move(db, intake.cursor, now)
        self._db.checkpoint("ledger.taken_in")
        return [task_id for task_id in ids if task_id in new]

    def enlist(self, owner: str, ids: Iterable[TaskId]) -> Collection[TaskId]:
        """Add `ids` to what `owner`'s claims are limited to; return those that were added.

        One transaction for some hundred ids, so that a slow iterable holds up no one; a crash between
        two is harmless, as the list dies with its owner.
        """
        added: set[TaskId] = set()
        for chunk in chunks(ids):
            added.update(self._enlist(owner, chunk))
        self._db.checkpoint("ledger.enlisted")
        return added

    @outage_retry
    def _enlist(self, owner: str, ids: Sequence[TaskId]) -> Sequence[TaskId]:
        with self._db.write() as db:
            rows = [{"owner": owner, "task_id": task_id} for task_id in dict.fromkeys(ids)]
            statement = insert(db, enlisted).on_conflict_do_nothing().returning(enlisted.c.task_id)
            return [TaskId(task_id) for task_id in db.execute(statement, rows).scalars()]

    @outage_retry
    def known(self, ids: Sequence[TaskId]) -> Mapping[TaskId, TaskState]:
        """See Intakes."""
        states: dict[TaskId, TaskState] = {}
        with self._db.read() as db:
            for chunk in chunks(ids):
                rows = db.execute(select(tasks.c.task_id, tasks.c.state).where(tasks.c.task_id.in_(chunk)))
                states.update((row.task_id, row.state) for row in rows)
        return states

    @outage_retry
    def kinds(self, ids: Sequence[TaskId]) -> Mapping[TaskId, KindName]:
        """See Intakes."""
        kinds: dict[TaskId, KindName] = {}
        with self._db.read() as db:
            for chunk in chunks(ids):
                its = (tasks.c.task_id.in_(chunk), tasks.c.kind.is_not(None))
                for row in db.execute(select(tasks.c.task_id, tasks.c.kind).where(*its)):
                    if (kind := kind_of(row.kind)) is not None:
                        kinds[row.task_id] = kind
        return kinds

    @outage_retry
    def resting(self, ids: Sequence[TaskId]) -> Collection[TaskId]:
        """See Intakes."""
        found: set[TaskId] = set()
        at_rest = or_(tasks.c.ended_at.is_not(None), tasks.c.not_before.is_(None))
        with self._db.read() as db:
            for chunk in chunks(ids):
                found.update(db.execute(select(tasks.c.task_id).where(tasks.c.task_id.in_(chunk), at_rest)).scalars())
        return found

    @outage_retry
    def wake(
        self, ids: Sequence[TaskId], *, now: datetime, hints: Mapping[TaskId, KindName] = NOTHING
    ) -> Sequence[TaskId]:
        """See Intakes."""
        woken: list[TaskId] = []
        with self._db.write() as db:
            hint(db, hints)
            for chunk in chunks(ids):
                woken += _wake(db, chunk, now, self._db.longest_wait)
        return woken

    @outage_retry
    def retry(self, ids: Sequence[TaskId] | None, *, now: datetime) -> Sequence[TaskId]:
        """See Intakes."""
        with self._db.write() as db:
            retried = retry(db, ids, now=now)
        self._db.checkpoint("ledger.retried")
        return retried

    @outage_retry
    def acknowledge(
        self, ids: Sequence[TaskId], *, now: datetime, at_risk: timedelta, retention: timedelta = RETENTION
    ) -> Sequence[TaskId]:
        """See Intakes."""
        with self._db.write() as db:
            return attention.acknowledge(db, ids, attention.Near(now + at_risk, retention), now)

    @outage_retry
    def acknowledge_all(
        self, needs: Collection[Need], *, now: datetime, at_risk: timedelta, retention: timedelta = RETENTION
    ) -> int:
        """See Intakes."""
        with self._db.write() as db:
            return attention.acknowledge_all(db, needs, attention.Near(now + at_risk, retention), now)

    @outage_retry
    def acknowledge_rejects(self, *, now: datetime) -> int:
        """See Intakes."""
        with self._db.write() as db:
            return rejects.acknowledge(db, now)

    @outage_retry
    def expire_rejects(self, *, before: datetime) -> int:
        """See Intakes."""
        with self._db.read() as db:
            if not rejects.are_expired(db, before):
                return 0
        with self._db.write() as db:
            return rejects.expire(db, before)


_FRESH: Mapping[str, ColumnElement[Any]] = {
    "state": literal_column(f"'{TaskState.QUEUED}'"),
    "stage": literal_column(f"'{Stage.LIST}'"),
    **dict.fromkeys(("awaited", "settled"), false()),
    **dict.fromkeys(("asks", "attempts", "deaths"), literal_column("0")),
    **dict.fromkeys(("flag", "reason", "document"), literal_column("''")),
}
"""Of a task that was just taken in, as words of the statement: as values of each row they are a third dearer."""


def _accept(db: Connection, ids: Sequence[TaskId], source: str, now: datetime) -> set[TaskId]:
    came = {"source": source, "accepted_at": now, "urgency": plan.urgency(None, now), "not_before": now}
    statement = (
        insert(db, tasks)
        .values({**_FRESH, **{name: bindparam(name) for name in ("task_id", "slice", *came)}})
        .on_conflict_do_nothing()
        .returning(tasks.c.task_id)
    )
    new: set[TaskId] = set()
    for chunk in chunks(ids):
        rows = [{"task_id": task_id, "slice": slice_of(task_id), **came} for task_id in chunk]
        # RETURNING keeps no order, so the caller sorts by its own list.
        new.update(db.execute(statement, rows).scalars())
    return new


def _assign(db: Connection, account: AccountName, ids: Sequence[TaskId], now: datetime) -> None:
    """Let those tasks be the account's; one without stems begins anew, as what another account said tells nothing.

    A lease on such a one ends with it: whoever works on it now asks with the other's key.
    """
    column = None if account == DEFAULT_ACCOUNT else account
    for chunk in chunks(ids):
        moves = and_(tasks.c.task_id.in_(chunk), tasks.c.account.is_distinct_from(column))
        ask_anew(db, moves, now)
        db.execute(update(tasks).where(moves).values(account=column))


def _forget_pauses(db: Connection) -> None:
    """End the pauses of accounts that no open task is left of: nothing would ever probe them."""
    its_tasks = exists().where(tasks.c.ended_at.is_(None), tasks.c.account == pauses.c.account)
    further = (pauses.c.dependency == Dependency.PROVIDER, pauses.c.account != DEFAULT_ACCOUNT)
    db.execute(delete(pauses).where(*further, not_(its_tasks)))


def _move(db: Connection, to: Cursor, now: datetime) -> None:
    place = {
        "device": to.device,
        "inode": to.inode,
        "head": to.head,
        "head_size": to.head_size,
        "offset": to.offset,
        "moved_at": now,
    }
    statement = insert(db, cursors).values(path=to.path, **place)
    db.execute(statement.on_conflict_do_update(index_elements=[cursors.c.path], set_=place))


def _wake(db: Connection, ids: Sequence[TaskId], now: datetime, longest_wait: timedelta) -> Sequence[TaskId]:
    named = and_(OPEN, tasks.c.task_id.in_(ids))
    waiting = and_(named, FREE, tasks.c.awaited)
    being_asked = and_(named, not_(FREE), not_(tasks.c.settled))
    values = asked(longest_wait, now)
    urgent = {"not_before": now, "urgency": func.coalesce(tasks.c.deadline, tasks.c.accepted_at)}
    db.execute(update(tasks).where(waiting, tasks.c.not_before > now).values(**urgent), values)
    return db.execute(select(tasks.c.task_id).where(or_(waiting, being_asked)), values).scalars().all()
