"""Owners: the processes that hold leases, lists and uploads, and which of them are dead."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, union

from archiver.adapters.ledger.leases import bury, release
from archiver.adapters.ledger.schema.tables import enlisted, owners, tasks
from archiver.ports.ledger import IsAlive


def judge(names: Iterable[str], is_alive: IsAlive) -> tuple[list[str], list[str]]:
    """Return the dead of those owners, and those of whom `is_alive` cannot tell."""
    judged = {owner: is_alive(owner) for owner in names}
    return [owner for owner, alive in judged.items() if alive is False], [
        owner for owner, alive in judged.items() if alive is None
    ]


def on_record(db: Connection) -> set[str]:
    """Return everyone who signed on, and was neither released nor taken for dead."""
    return set(db.execute(select(owners.c.owner)).scalars())


def known(db: Connection) -> list[str]:
    """Return everyone who holds a lease, has a list or signed on."""
    holding = select(tasks.c.owner).where(tasks.c.owner.is_not(None))
    return sorted(db.execute(union(holding, select(enlisted.c.owner), select(owners.c.owner))).scalars())


def release_silent(db: Connection, silent: Iterable[str], *, now: datetime, longest_wait: timedelta) -> list[str]:
    """Release those owners that neither renewed nor claimed in time, and return them; their rows are locked first."""
    gone = []
    for owner in silent:
        renewed = db.execute(select(owners.c.alive_until).where(owners.c.owner == owner).with_for_update()).scalar()
        claimed = db.execute(select(func.max(tasks.c.leased_until)).where(tasks.c.owner == owner)).scalar()
        if not any(until and now < until <= now + longest_wait for until in (renewed, claimed)):
            bury(db, tasks.c.owner == owner, now=now)
            release(db, owner)
            gone.append(owner)
    return gone
