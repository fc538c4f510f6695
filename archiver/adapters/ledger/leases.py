"""Leases: how a task is taken, kept and given back."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, ColumnElement, Connection, bindparam, delete, not_, select, type_coerce, update

from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.database.prepared import Prepared
from archiver.adapters.ledger.moves import change_task, move_task
from archiver.adapters.ledger.rows import claim_of
from archiver.adapters.ledger.schema.tables import enlisted, owners, pauses, stems, tasks
from archiver.core import plan
from archiver.core.model import Claim, TaskId
from archiver.core.states import StemState, TaskEvent

LEASE_ENDS: Mapping[str, None] = {"token": None, "owner": None, "leased_until": None}
"""The columns that give a task back."""

_LEASE = Prepared(
    update(tasks)
    .where(tasks.c.task_id == bindparam("its_task"))
    .values({name: bindparam(name) for name in ("token", "owner", "leased_until")})
    .returning(*tasks.c)
)


def lease(db: Connection, task_id: TaskId, *, owner: str, until: datetime) -> Claim:
    """Lease the task, which must be free and nobody's, to `owner` under a token that nobody can guess."""
    lease_it = {"its_task": task_id, "token": secrets.token_hex(16), "owner": owner, "leased_until": until}
    (row,) = _LEASE.all(db, lease_it)
    return claim_of(db, row)


def renew(db: Connection, owner: str, *, now: datetime, lease: timedelta) -> bool:
    """Prolong all leases of `owner` and its own life; return False when it was not on record any more, or not yet."""
    db.execute(update(tasks).where(tasks.c.owner == owner).values(leased_until=now + lease))
    alive = {"alive_until": now + lease}
    if db.execute(update(owners).where(owners.c.owner == owner).values(**alive)).rowcount:
        return True
    db.execute(insert(db, owners).values(owner=owner, **alive).on_conflict_do_nothing())
    return False


def wait_less(db: Connection, by: timedelta, *, now: datetime) -> None:
    """Bring forward by so much what waits for a later moment than `now`: tasks, stems and probes."""
    for moment, its in (
        (tasks.c.not_before, tasks.c.ended_at.is_(None)),
        (stems.c.not_before, stems.c.state != StemState.STORED),
        (pauses.c.next_probe, not_(pauses.c.held)),
    ):
        earlier = type_coerce(moment, BigInteger) - by // timedelta(microseconds=1)
        db.execute(update(moment.table).where(its, moment > now).values({moment: earlier}))


def give_back(db: Connection, claim: Claim, *, reason: str, not_before: datetime) -> None:
    """End the claim's lease, if it stands, and count the try as failed."""
    its = (tasks.c.task_id == claim.task_id, tasks.c.token == claim.token)
    failed = {"attempts": tasks.c.attempts + 1, "not_before": not_before, "awaited": False, "reason": reason}
    db.execute(update(tasks).where(*its).values(**failed, **LEASE_ENDS))


def bury(db: Connection, left: ColumnElement[bool], *, now: datetime) -> bool:
    """End the leases that the dead `left`, and count the death; return whether one is quarantined from now on."""
    columns = (tasks.c.task_id, tasks.c.state, tasks.c.deaths, tasks.c.deadline, tasks.c.not_before)
    found = db.execute(select(*columns).where(left).order_by(tasks.c.task_id).with_for_update()).all()
    quarantined = False
    for task in found:
        deaths = task.deaths + 1
        values: dict[str, object] = {"deaths": deaths, **LEASE_ENDS}
        if deaths < plan.DEATHS_TO_QUARANTINE:
            change_task(db, task.task_id, values)
            continue
        quarantined = True
        if wait := plan.quarantine_wait(deaths, now, task.deadline):
            values |= {"not_before": now + wait, "awaited": False, "waits_for": None}
        move_task(db, task, TaskEvent.QUARANTINED, at=now, detail={"deaths": deaths}, **values)
    return quarantined


def release(db: Connection, owner: str) -> int:
    """End all leases of `owner`, forget its list and strike it off the record; return how many leases."""
    ended = db.execute(update(tasks).where(tasks.c.owner == owner).values(**LEASE_ENDS))
    db.execute(delete(enlisted).where(enlisted.c.owner == owner))
    db.execute(delete(owners).where(owners.c.owner == owner))
    return ended.rowcount
