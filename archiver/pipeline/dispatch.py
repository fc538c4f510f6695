"""Keeps the workers busy: claims a task, takes it along the path, and at once claims the next."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from archiver.core.due import First
from archiver.core.errors import LeaseLost, LedgerFault
from archiver.core.model import AccountName, Claim, Outcome, Paused, Stage
from archiver.core.plan import YOUNG
from archiver.pipeline.breakers import NEEDS, Breakers
from archiver.pipeline.crowd import Crowd, EnoughWait, no_crowd, none_wait
from archiver.pipeline.fairness import Shares, preferred
from archiver.pipeline.own_leases import OwnLeases
from archiver.pipeline.places import Places
from archiver.pipeline.quarantine import Solitude
from archiver.pipeline.threads import REFUSED, start
from archiver.ports.ledger import Claims
from archiver.ports.runtime import Clock, EventLog

Archive = Callable[[Claim], Outcome]

CRASH_WAIT = timedelta(seconds=5)
"""The wait of a task whose end could not be written down, for a reason other than the ledger's; it doubles."""

LONGEST_CRASH_WAIT = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class DispatchOptions:
    """The settings of a dispatcher: the name it claims under, how many tasks at once, and its leases."""

    owner: str
    tasks_in_flight: int
    lease: timedelta = timedelta(minutes=10)
    enlisted_only: bool = False


@dataclass(frozen=True, slots=True)
class DispatchContext:
    """The parts that every dispatcher works with."""

    claims: Claims
    breakers: Breakers
    options: DispatchOptions
    clock: Clock
    log: EventLog
    progress: Callable[[], None] = lambda: None
    """Called when a claim is taken, when a task has ended, and when there is nothing to do."""
    crowded: Callable[[], Collection[AccountName]] = tuple
    """Accounts that have no permit to spare: a task to be asked about would only keep a worker waiting."""
    crowd: Crowd = no_crowd
    enough_wait: EnoughWait = none_wait
    monotonic: Callable[[], float] | None = None
    """Seconds that stand still while the machine sleeps; None: the wall clock is never set, and sleeps no less."""
    own: OwnLeases = field(init=False)

    def __post_init__(self) -> None:
        """Keep the leases that the options name."""
        own = OwnLeases(self.claims, self.options.owner, self.options.lease, monotonic=self.monotonic)
        object.__setattr__(self, "own", own)

    def seconds(self) -> float:
        """Return a time by which to measure how long something takes."""
        return self.clock().timestamp() if self.monotonic is None else self.monotonic()

    def look_for_crowd(self, working: int, places: Places) -> int:
        """Tell whether tasks wait for a worker; to be called every second.

        Returns how many tasks in flight slow hosts hold up.
        """
        return self.crowd(places.at_most, wait=not places.may_store(working) and self._any_waits())

    def _any_waits(self) -> bool:
        now = self.clock()
        return any(
            self.claims.due(
                stage,
                now=now,
                until=now,
                limit=1,
                fresh_only=self.breakers.fresh_only,
                blocked_accounts=self.blocked_accounts(),
            )
            for stage in Stage
            if self.breakers.is_available(*NEEDS[stage])
        )

    def blocked_accounts(self) -> Collection[AccountName]:
        """Return the accounts of which nothing is to be asked about now."""
        return {*self.breakers.blocked_accounts(), *self.crowded()}

    def is_young(self, claim: Claim) -> bool:
        """Return whether its id came a moment ago."""
        return self.clock() - claim.accepted_at <= YOUNG

    def renew(self) -> bool:
        """See Dispatcher."""
        return self.own.renew(self.clock())

    def attempt(self, claim: Claim, archive: Archive) -> None:
        """Take a claim along the path, and survive whatever comes of it; raises LedgerFault alone."""
        self.log.debug("task.claimed", task_id=claim.task_id, account=claim.account, state=claim.state.value)
        try:
            outcome = archive(claim)
            if isinstance(outcome, Paused):
                self.breakers.trip(outcome)
        except LeaseLost:
            self.log.warning("lease.lost", task_id=claim.task_id)
        except LedgerFault:
            raise
        except Exception as bug:
            self.log.exception("task.crashed", task_id=claim.task_id, error=repr(bug))
            self.give_back(claim, f"a bug: {bug!r}")

    def give_back(self, claim: Claim, reason: str) -> None:
        """End its lease, which would be renewed for as long as this process lives; raise LedgerFault."""
        wait = min(CRASH_WAIT * (1 << min(claim.attempts, 20)), LONGEST_CRASH_WAIT)
        self.claims.give_back(claim, reason=reason, not_before=self.clock() + wait)


class Dispatcher(Protocol):
    """Sees to it that due tasks are worked on, here or elsewhere."""

    @property
    def working(self) -> int:
        """Tasks in flight in this process."""

    @property
    def fault(self) -> LedgerFault | None:
        """The reason why nothing is begun any more; None while work goes on."""

    def pump(self) -> int:
        """Begin every task that can be begun, or hand it on; return how many. Call it every second."""

    def renew(self) -> bool:
        """Prolong the leases held; call it before all else, then several times a lease.

        False when this process was not on record: the first time, or when others took it for dead and gave
        all its tasks back.
        """

    def stop(self) -> None:
        """Begin nothing more."""

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no task is in flight, at most `timeout` seconds; return whether it is so."""


class LocalDispatcher:
    """A Dispatcher that works in this process: each worker, a thread, claims its next task by itself."""

    def __init__(self, context: DispatchContext, archive: Archive) -> None:
        self._context = context
        self._archive = archive
        self._places = Places(context.options.tasks_in_flight)
        self._changed = threading.Condition()
        self._workers: dict[int, Stage | None] = {}
        """The stage each worker is at; None while it looks for work."""
        self._numbers = itertools.count()
        self._shares = Shares()
        self._solitude = Solitude(context.clock)
        self._accepting = True
        self._fault: LedgerFault | None = None
        self._looked_at: float | None = None

    @property
    def working(self) -> int:
        """Tasks in flight."""
        with self._changed:
            return len(self._workers)

    @property
    def fault(self) -> LedgerFault | None:
        """The ledger's fault after which nothing is claimed; None while work goes on."""
        return self._fault

    def pump(self) -> int:
        """Start a worker for every task that may be claimed now; return how many were started. Raises LedgerFault."""
        started = 0
        while (found := self._begin()) is not None:
            worker, claim = found
            thread = threading.Thread(target=self._work, args=found, name=f"task-{worker}", daemon=True)
            if not start(thread, self._context.log):
                self._place(worker, None)
                self._context.give_back(claim, REFUSED)
                break
            started += 1
        if not self.working:
            self._context.progress()
        self._look_for_crowd()
        return started

    def _look_for_crowd(self) -> None:
        """Look once a second at most: `pump` is called several times, and looking asks the ledger."""
        now = self._context.seconds()
        if self._looked_at is not None and 0 <= now - self._looked_at < 1:
            return
        self._looked_at = now
        try:
            self._places.slow = self._context.look_for_crowd(self.working, self._places)
        except LedgerFault as fault:
            self._break_down(fault)

    def step(self) -> bool:
        """Claim one task and take it along the path, in the calling thread; False when none may be claimed."""
        found = self._begin()
        if found is None:
            return False
        worker, claim = found
        try:
            self._attempt(claim)
        finally:
            self._place(worker, None)
        return True

    def resize(self, tasks_in_flight: int) -> None:
        """Run so many tasks at once: more from the next `pump`, fewer as those in flight end."""
        with self._changed:
            self._places.at_most = tasks_in_flight

    def renew(self) -> bool:
        """See Dispatcher."""
        return self._context.renew()

    def stop(self) -> None:
        """Claim nothing more."""
        with self._changed:
            self._accepting = False
            self._changed.notify_all()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no task is in flight, at most `timeout` seconds; return whether it is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._workers, timeout)

    # --- a worker

    def _begin(self) -> tuple[int, Claim] | None:
        """Give a worker its number and its first claim; None when there is no room or nothing to claim."""
        with self._changed:
            if not self._accepting or self._solitude.lasts or len(self._workers) >= self._places.count:
                return None
            worker = next(self._numbers)
            self._workers[worker] = None
        claim = self._next(worker)
        return None if claim is None else (worker, claim)

    def _work(self, worker: int, claim: Claim) -> None:
        following: Claim | None = claim
        while following is not None:
            began = self._context.seconds()
            self._attempt(following)
            following = self._exchange(worker, timedelta(seconds=self._context.seconds() - began))

    def _attempt(self, claim: Claim) -> None:
        try:
            self._context.attempt(claim, self._archive)
        except LedgerFault as fault:
            self._break_down(fault)

    def _break_down(self, fault: LedgerFault) -> None:
        self._fault = self._fault or fault
        self.stop()

    def _exchange(self, worker: int, spent: timedelta) -> Claim | None:
        """Count the time the worker spent, and return its next claim. In between it is not idle."""
        self._context.progress()
        with self._changed:
            if (stage := self._workers[worker]) is not None:
                self._shares.spend(stage, spent)
            self._workers[worker] = None
            self._places.leaves(worker)
            self._solitude.ends(worker)
        return self._next(worker)

    def _next(self, worker: int) -> Claim | None:
        """Return the worker's next claim; None when there is none, and then the worker is gone."""
        claim: Claim | None = None
        stage: Stage | None = None
        try:
            if self._may_claim():
                claim, stage = self._find(worker)
        except LedgerFault as fault:
            self._break_down(fault)
        finally:
            # Also after an exception that nobody foresaw: a worker counted for ever is one task less for good.
            self._place(worker, None if claim is None else stage, claim)
        if claim is not None:
            self._context.progress()
        return claim

    def _place(self, worker: int, stage: Stage | None, claim: Claim | None = None) -> None:
        """Note the stage that the worker is at; None: it has ended."""
        with self._changed:
            self._places.leaves(worker)
            if claim is not None:
                self._places.takes(worker, claim, stage, is_young=self._context.is_young(claim))
            if stage is None:
                del self._workers[worker]
                self._solitude.ends(worker)
                self._changed.notify_all()
            else:
                self._workers[worker] = stage

    # --- the claim

    def _may_claim(self) -> bool:
        with self._changed:
            return self._accepting and not self._solitude.lasts and len(self._workers) <= self._places.count

    def _find(self, worker: int) -> tuple[Claim | None, Stage]:
        """Claim a task: a quarantined one where no other is left, due or in flight, or once it has waited too long."""
        with self._changed:
            overdue = self._solitude.overdue()
        found = self._claim(Stage.STORE, overdue) if overdue is not None else (None, Stage.STORE)
        if found[0] is not None:
            self._set_alone(worker)
            return found
        found = self._claim(self._preferred())
        return found if found[0] is not None or self.working > 1 else self._claim_alone(worker)

    def _claim_alone(self, worker: int) -> tuple[Claim | None, Stage]:
        """Claim a quarantined task; nothing is begun beside it for a while."""
        self._set_alone(worker)
        claim, stage = self._claim(Stage.STORE, self._context.clock())
        if claim is None:
            with self._changed:
                self._solitude.ends(worker)
        return claim, stage

    def _set_alone(self, worker: int) -> None:
        with self._changed:
            self._solitude.begins(worker)

    def _preferred(self) -> Stage:
        with self._changed:
            at_it, ahead = Counter(self._workers.values()), self._shares.ahead
        listing, storing = at_it[Stage.LIST], max(0, at_it[Stage.STORE] - self._places.held_up)
        left = self._left() if listing == storing else timedelta()
        return preferred(listing, storing, ahead=ahead, left=left)

    def _left(self) -> timedelta:
        now, options = self._context.clock(), self._context.options
        nearest = self._context.claims.next_deadline(options.owner, now=now, enlisted_only=options.enlisted_only)
        return timedelta() if nearest is None else nearest - now

    def _claim(self, wanted: Stage, alone_from: datetime | None = None) -> tuple[Claim | None, Stage]:
        other, now = Stage.STORE if wanted is Stage.LIST else Stage.LIST, self._context.clock()
        if not self._context.own.may_claim(now):
            return None, wanted
        for stage in (wanted, other):
            if stage is Stage.STORE and alone_from is None and not self._may_store():
                continue
            if self._context.breakers.is_available(*NEEDS[stage]):
                claim = self._take(stage, now, alone_from)
                if claim is not None:
                    return claim, stage
            with self._changed:
                self._shares.forfeit(stage)
        return None, wanted

    def _may_store(self) -> bool:
        with self._changed:
            return self._places.may_store(sum(stage is Stage.STORE for stage in self._workers.values()))

    def _take(self, stage: Stage, now: datetime, alone_from: datetime | None) -> Claim | None:
        """Claim a task of the stage; to ask about, where enough wait that do not go first, only one that does."""
        with self._changed:
            crowded, full, full_of_asks = self._places.crowded, self._places.full, self._places.full_of_asks
            eases = self._context.breakers.evidence.eases()
            latest = stage is Stage.STORE and alone_from is None and self._places.takes_latest(eases=eases)
        take = partial(
            self._context.claims.claim,
            owner=self._context.options.owner,
            now=now,
            lease=self._context.options.lease,
            stage=stage,
            enlisted_only=self._context.options.enlisted_only,
            fresh_only=self._context.breakers.fresh_only,
            alone_from=alone_from,
            first=First.LATEST if latest else First.UNTRIED if crowded else First.URGENT,
        )
        if stage is Stage.STORE:
            # What a try has failed of may ask for links anew, and would hold a thread while it waits for a permit.
            return take(untried_only=full or (crowded and bool(self._context.enough_wait(first=False))))
        blocked, enough_wait = set(self._context.breakers.blocked_accounts()), self._context.enough_wait
        if alone_from is not None:
            return take(blocked_accounts=blocked, untried_only=full_of_asks)
        blocked |= set(enough_wait(first=True))
        late = set(enough_wait(first=False))
        claim = take(blocked_accounts=blocked, untried_only=True) if late else None
        return claim or take(blocked_accounts=blocked | late, untried_only=full_of_asks)
