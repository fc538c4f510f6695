"""Claims: tasks taken under a lease, for as long as their owner lives."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from archiver.adapters.ledger import claimable, leases, owners
from archiver.adapters.ledger.database.transactions import LedgerPart, outage_retry
from archiver.core.model import AccountName, Claim, Due, Stage, TaskId
from archiver.ports.ledger import IsAlive


class SqlClaims(LedgerPart):
    """The Claims of `ports.ledger` in a SQL database."""

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
    ) -> Claim | None:
        """See Claims."""
        # A lease is worth nothing once its holder is gone, and what the holder writes down later lasts with it.
        with self._db.write(passing=True) as db:
            task_id = claimable.most_urgent(
                db,
                tuple(Stage) if stage is None else (stage,),
                owner=owner,
                now=now,
                enlisted_only=enlisted_only,
                fresh_only=fresh_only,
                blocked=blocked_accounts,
            )
            if task_id is None:
                return None
            claim = leases.lease(db, task_id, owner=owner, until=now + lease)
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
    ) -> Claim | None:
        """See Claims."""
        with self._db.write() as db:
            if not claimable.lock_if_claimable(
                db, task_id, stages, now=now, fresh_only=fresh_only, blocked=blocked_accounts
            ):
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
    ) -> Sequence[Due]:
        """See Claims."""
        with self._db.read() as db:
            return claimable.upcoming(
                db, stage, now=now, until=until, limit=limit, fresh_only=fresh_only, blocked=blocked_accounts
            )

    @outage_retry
    def next_deadline(self, owner: str, *, now: datetime, enlisted_only: bool = False) -> datetime | None:
        """See Claims."""
        with self._db.read() as db:
            return claimable.next_deadline(db, owner=owner, now=now, enlisted_only=enlisted_only)

    @outage_retry
    def renew(self, owner: str, *, now: datetime, lease: timedelta) -> bool:
        """See Claims."""
        with self._db.write(passing=True) as db:
            known = leases.renew(db, owner, now=now, lease=lease)
        self._db.checkpoint("ledger.renewed")
        return known

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
                leases.release(db, owner)
            dead += owners.release_silent(db, unknown, now=now)
        if dead:
            self._db.checkpoint("ledger.released")
        return sorted(dead)
