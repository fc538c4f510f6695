"""Keeps the two pools full: claim, archive, and at once the next; backs off from a paused dependency."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from archiver.core.concurrency import Change
from archiver.core.errors import ArchiverError, LeaseLost, LedgerFault
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Claim, Dependency, Outcome, Pause, Paused, Stage
from archiver.pipeline.lanes import STORE, Lane, Lanes
from archiver.ports.ledger import Ledger
from archiver.ports.runtime import Clock, EventLog

Archive = Callable[[Claim], Outcome]

FAILURES_TO_PAUSE = 8
"""How many failures in a row, over all tasks, make an outage."""

NEEDS = {Stage.LIST: (Dependency.PROVIDER,), Stage.STORE: (Dependency.ORIGIN, Dependency.STORE)}
"""What must work for each half of the path."""

FARTHEST_PROBE = timedelta(minutes=1)
"""A pause whose probe is due later than this was written down before the clock was set back."""

PROBE_PATIENCE = timedelta(minutes=1)
"""How long a probe may stay without a verdict (its task met another trouble) before the next is let through."""

HEAD_START = 10
"""Asking may be ahead of storing by one part in so many of the time that is left to the nearest deadline."""


_Work = tuple[Callable[[], None], "Future[None]"]


class StemPool:
    """Threads that move stems, the earliest deadline first, over all tasks.

    Where it adapts, `threads` is the most: then there are as many as the store takes well, each origin's
    host has a limit of its own, and no thread waits for a host that is full while another is not.
    """

    def __init__(
        self,
        threads: int,
        *,
        adapts: bool = False,
        clock: Callable[[], float] = time.monotonic,
        log: EventLog | None = None,
    ) -> None:
        self._lanes = Lanes[_Work](threads, adapts=adapts, clock=clock)
        self._log = log
        self._changed = threading.Condition()
        self._closed = False
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self._staff()

    def resize(self, threads: int, *, adapts: bool = False) -> None:
        """Have so many threads, or at most so many: more at once, fewer as they end the work they are at."""
        with self._changed:
            self._lanes.resize(threads, adapts=adapts)
        self._staff()

    def _staff(self) -> None:
        """Start the threads that are missing, and let the idle ones look again."""
        with self._changed:
            fresh = [
                threading.Thread(target=self._serve, name=f"stem-{next(self._numbers)}", daemon=True)
                for _ in range(self._lanes.level - len(self._threads))
            ]
            self._threads += fresh
            self._changed.notify_all()
        for thread in fresh:
            thread.start()

    def submit(self, deadline: datetime, work: Callable[[], None], host: str = "") -> Future[None]:
        """Run `work`, which fetches from `host`, as soon as may be; the earliest deadline goes first."""
        future: Future[None] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the stem pool is closed")
            self._lanes.put(deadline, host, (work, future))
            self._changed.notify()
        return future

    def moved(self, host: str, size: int) -> None:
        """Note that `size` bytes came from `host`: by this the pool finds out how many at one time are worth it."""
        if self._lanes.adapts:
            with self._changed:
                changes = list(self._lanes.moved(host, size))
            self._tell(changes)

    def refused(self, host: str) -> None:
        """Note that `host` did not answer as it should, or said that it is too busy."""
        if self._lanes.adapts:
            with self._changed:
                changes = list(self._lanes.refused(host))
            self._tell(changes)

    def store_refused(self) -> None:
        """Note the same of the store."""
        self.refused(STORE)

    def _tell(self, changes: Sequence[tuple[str, Change]]) -> None:
        if changes:
            self._staff()
        for name, change in changes:
            if self._log is not None:
                report = self._log.debug if change.why.startswith("trial") else self._log.info
                report("concurrency.changed", host=name, before=change.before, now=change.after, reason=change.why)

    def limits(self) -> Mapping[Dependency, int]:
        """Return how many at one time are let: with the origin's host that has the most, and with the store."""
        with self._changed:
            return {Dependency.ORIGIN: self._lanes.highest, Dependency.STORE: self._lanes.level}

    def close(self) -> None:
        """Let the threads end once all that was submitted has run; does not wait for them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _serve(self) -> None:
        lane: Lane[_Work] | None = None
        while (taken := self._next(lane)) is not None:
            lane, (work, future) = taken
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - the future hands it to whoever waits
                future.set_exception(error)
            else:
                future.set_result(None)

    def _next(self, done: Lane[_Work] | None) -> tuple[Lane[_Work], _Work] | None:
        """End what was done and take what comes next; None when the thread is to end."""
        with self._changed:
            if done is not None:
                self._lanes.end(done)
            while len(self._threads) <= self._lanes.level:
                if taken := self._lanes.take():
                    return taken
                if self._closed and not self._lanes.waiting:
                    break
                self._changed.wait()
            # Whoever waits for what this thread has ended, or for all to be over, must look again.
            self._changed.notify_all()
            self._threads.remove(threading.current_thread())
            return None


_Subject = tuple[Dependency, AccountName]
"""What one breaker is for: the provider as one account has it, the origin, or the store."""


def _subject(dependency: Dependency, account: AccountName = DEFAULT_ACCOUNT) -> _Subject:
    return dependency, account if dependency is Dependency.PROVIDER else DEFAULT_ACCOUNT


def _fields(subject: _Subject) -> dict[str, object]:
    dependency, account = subject
    further = {} if account == DEFAULT_ACCOUNT else {"account": account}
    return {"dependency": dependency.value, **further}


class Breakers:
    """The Gate: a circuit breaker for each subject, kept in the ledger so that every process sees it.

    What the operator holds is shut until it is lifted, or its time is over; nothing probes it. It is the
    whole dependency, for every account.

    One opens when its subject refuses us, or fails FAILURES_TO_PAUSE times in a row for whatever
    tasks: an outage then costs a probe now and then, not every task its tries. While it is open the
    subject is admitted once each time a probe is due; a probe that fails doubles the wait, one that
    works ends the pause.

    `accounts` are those of the settings; others are met as tasks name them.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        log: EventLog,
        accounts: Collection[AccountName] = (DEFAULT_ACCOUNT,),
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._accounts = frozenset(accounts)
        self._lock = threading.Lock()
        # Whoever starts us has probably just mended what was paused: probe at once.
        self._found_at_start = {
            pause: replace(pause, next_probe=clock()) for pause in ledger.pauses() if not pause.held
        }
        self._pauses = self._read()
        self._probes: dict[_Subject, datetime] = {}
        self._failures: Counter[_Subject] = Counter()
        self._tell_held({}, self._pauses)

    def reload(self) -> None:
        """Look into the ledger for what other processes and the operator decided; call it every few seconds."""
        found = self._read()
        now = self._clock()
        for subject in [subject for subject, pause in found.items() if pause.over(now)]:
            self._ledger.lift(subject[0], over_at=now)
            del found[subject]
        with self._lock:
            before, self._pauses = self._pauses, found
            self._probes = {subject: taken for subject, taken in self._probes.items() if subject in found}
        self._tell_held(before, found)

    def _read(self) -> dict[_Subject, Pause]:
        found = [self._found_at_start.get(pause, pause) for pause in self._ledger.pauses()]
        return {(pause.dependency, pause.account): pause for pause in found}

    def _tell_held(self, before: Mapping[_Subject, Pause], found: Mapping[_Subject, Pause]) -> None:
        was, now = ({subject[0] for subject, pause in each.items() if pause.held} for each in (before, found))
        for name in now - was:
            pause = found[_subject(name)]
            until = None if pause.lasting else pause.next_probe.isoformat()
            self._log.warning("dependency.held", dependency=name.value, until=until)
        for name in was - now:
            self._log.info("dependency.released", dependency=name.value)

    def admits(self, *dependencies: Dependency, account: AccountName = DEFAULT_ACCOUNT) -> bool:
        """Whether all of them may be used now; takes the probe of each that is due for one."""
        subjects = [_subject(dependency, account) for dependency in dependencies]
        with self._lock:
            if not all(map(self._is_open, subjects)):
                return False
            self._probes |= {subject: self._clock() for subject in subjects if subject in self._pauses}
            return True

    def open_for(self, *dependencies: Dependency) -> bool:
        """Whether `admits` would say yes, for some account at least, without taking a probe."""
        with self._lock:
            return all(
                any(self._is_open(_subject(dependency, account)) for account in self._accounts)
                for dependency in dependencies
            )

    def barred(self) -> Collection[AccountName]:
        """The accounts for which the provider may not be asked now."""
        with self._lock:
            paused = {account for dependency, account in self._pauses if dependency is Dependency.PROVIDER}
            return {account for account in paused if not self._is_open((Dependency.PROVIDER, account))}

    @property
    def fresh_only(self) -> bool:
        """Whether only tasks never listed are to be asked about.

        Listed ones are asked about again only for links to use at once: not while nothing can be stored.
        """
        return not self.open_for(*NEEDS[Stage.STORE])

    def shut(self, *dependencies: Dependency) -> bool:
        """Whether one of them is paused and nobody is probing it."""
        with self._lock:
            return any(
                subject in self._pauses and not self._is_probed(subject) for subject in map(_subject, dependencies)
            )

    def paused(self) -> Sequence[Dependency]:
        """Return what is paused, for one account at least, as far as this process knows, probed or not."""
        with self._lock:
            found = {dependency for dependency, _ in self._pauses}
            return [name for name in Dependency if name in found]

    def _is_open(self, subject: _Subject) -> bool:
        now = self._clock()
        if self._is_held(subject):
            return self._pauses[_subject(subject[0])].over(now)
        pause = self._pauses.get(subject)
        if pause is None:
            return True
        waits = now < pause.next_probe <= now + FARTHEST_PROBE
        return not waits and not self._is_probed(subject)

    def _is_held(self, subject: _Subject) -> bool:
        whole = self._pauses.get(_subject(subject[0]))
        return whole is not None and whole.held

    def _is_probed(self, subject: _Subject) -> bool:
        taken, now = self._probes.get(subject), self._clock()
        return taken is not None and taken <= now < taken + PROBE_PATIENCE

    def worked(self, dependency: Dependency, account: AccountName = DEFAULT_ACCOUNT) -> None:
        """End the pause, if any that is not held, and the row of failures."""
        subject = _subject(dependency, account)
        with self._lock:
            self._failures.pop(subject, None)
            if self._is_held(subject):
                return
            paused = self._pauses.pop(subject, None)
            self._probes.pop(subject, None)
        if paused is not None and self._ledger.resume(*subject):
            self._log.info("dependency.resumed", **_fields(subject))

    def failed(self, dependency: Dependency, error: ArchiverError, account: AccountName = DEFAULT_ACCOUNT) -> None:
        """Count a failure; open or prolong the pause once they make an outage."""
        subject = _subject(dependency, account)
        with self._lock:
            self._failures[subject] += 1
            outage = self._failures[subject] >= FAILURES_TO_PAUSE or subject in self._probes
        if outage:
            self.refused(Paused(dependency, f"{error.code}: {error}", error.hint, lasting=False, account=account))

    def refused(self, outcome: Paused) -> None:
        """Open the pause, or prolong it after a failed probe."""
        subject = _subject(outcome.dependency, outcome.account)
        with self._lock:
            if self._is_held(subject) or (subject in self._pauses and subject not in self._probes):
                return
        pause = self._ledger.pause(
            *subject,
            reason=outcome.reason,
            hint=outcome.hint,
            lasting=outcome.lasting,
            now=self._clock(),
        )
        with self._lock:
            self._pauses[pause.dependency, pause.account] = pause
            self._probes.pop(subject, None)
        self._log.error(
            "dependency.paused",
            **_fields(subject),
            reason=outcome.reason,
            hint=outcome.hint,
            next_probe=pause.next_probe.isoformat(),
        )


@dataclass(frozen=True, slots=True)
class Shift:
    """How a dispatcher works: under whose name, how many tasks at once, with what leases."""

    owner: str
    tasks_in_flight: int
    lease: timedelta = timedelta(minutes=10)
    enlisted_only: bool = False


@dataclass(frozen=True, slots=True)
class Post:
    """Where work is given out from: what every Dispatch needs."""

    ledger: Ledger
    breakers: Breakers
    shift: Shift
    clock: Clock
    log: EventLog
    progress: Callable[[], None] = lambda: None
    """Called when a claim is taken, when a task has ended, and when there is nothing to do."""
    crowded: Callable[[], Collection[AccountName]] = tuple
    """Accounts of which nothing is claimed to be asked about: such tasks would only wait in the slots."""

    def barred(self) -> Collection[AccountName]:
        """Accounts of which nothing is to be asked about now."""
        return {*self.breakers.barred(), *self.crowded()}

    def renew(self) -> bool:
        """See Dispatch."""
        return self.ledger.renew(self.shift.owner, now=self.clock(), lease=self.shift.lease)

    def try_one(self, claim: Claim, archive: Archive) -> None:
        """Take a claim along the path, whatever comes of it; raises LedgerFault, nothing else."""
        self.log.debug("task.claimed", task_id=claim.task_id, account=claim.account, state=claim.state.value)
        try:
            outcome = archive(claim)
            if isinstance(outcome, Paused):
                self.breakers.refused(outcome)
        except LeaseLost:
            self.log.warning("lease.lost", task_id=claim.task_id)
        except LedgerFault:
            raise
        except Exception as bug:
            self.log.exception("task.crashed", task_id=claim.task_id, error=repr(bug))


class Dispatch(Protocol):
    """What sees to it that due tasks are worked on, here or elsewhere."""

    @property
    def working(self) -> int:
        """Tasks in flight in this process."""

    @property
    def fault(self) -> LedgerFault | None:
        """Why nothing is begun any more, if so."""

    def pump(self) -> int:
        """Begin what can be begun, or hand it on; return how many tasks that were. Call it every second."""

    def renew(self) -> bool:
        """Prolong the leases held; call it before all else, then several times a lease.

        False when we were not on record: the first time, or others took us for dead and gave all of ours back.
        """

    def stop(self) -> None:
        """Begin nothing more."""

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no task is in flight, at most `timeout` seconds; return whether it is so."""


def preferred(listing: int, storing: int, *, ahead: timedelta, left: timedelta) -> Stage:
    """Say what a free slot had better do: find deadlines out, or meet the nearest one that is known.

    `listing` and `storing` slots are at it; asking has had `ahead` more time than storing, and `left` is the
    time to the nearest deadline of what can be stored, zero where none is known.

    Slots are shared evenly, and where they are even (always, with one) time is, but for a head start of asking:
    the provider may go down, and then what was asked about can still be stored. The head start shrinks to
    nothing as the deadline comes near, so storing has had its half by then, whatever there is to ask.
    """
    if listing != storing:
        return Stage.LIST if listing < storing else Stage.STORE
    return Stage.LIST if ahead <= left / HEAD_START else Stage.STORE


class Shares:
    """How slots, and then time, are shared between the two stages; see `preferred`. Not safe for threads by itself."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        """How much more time asking has had than storing."""

    def spend(self, stage: Stage, span: timedelta) -> None:
        """Note that a slot was used so long."""
        self.ahead += span if stage is Stage.LIST else -span

    def forfeit(self, stage: Stage) -> None:
        """Let a stage that had nothing to do save up no time: days of it would starve the other later."""
        self.ahead = (max if stage is Stage.LIST else min)(self.ahead, timedelta())


class Dispatcher:
    """Runs up to `tasks_in_flight` tasks at once; a slot that frees takes the next claim by itself."""

    def __init__(self, post: Post, archive: Archive) -> None:
        self._post = post
        self._archive = archive
        self._at_most = post.shift.tasks_in_flight
        self._changed = threading.Condition()
        self._stages: dict[int, Stage | None] = {}
        """What each slot is at; None while it looks for work."""
        self._slots = itertools.count()
        self._shares = Shares()
        self._accepting = True
        self._fault: LedgerFault | None = None

    @property
    def working(self) -> int:
        """Tasks in flight."""
        with self._changed:
            return len(self._stages)

    @property
    def fault(self) -> LedgerFault | None:
        """Why the ledger could not be used any more, if so: nothing is claimed after that."""
        return self._fault

    def pump(self) -> int:
        """Start a worker for every free slot that finds work; return how many were started."""
        started = 0
        while (found := self._next_claim()) is not None:
            slot, claim = found
            threading.Thread(target=self._work, args=(slot, claim), name=f"task-{slot}", daemon=True).start()
            started += 1
        if not self.working:
            self._post.progress()
        return started

    def resize(self, tasks_in_flight: int) -> None:
        """Run so many tasks at once: more from the next `pump`, fewer as those in flight end."""
        with self._changed:
            self._at_most = tasks_in_flight

    def renew(self) -> bool:
        """Prolong the leases held; call it before all else, then several times a lease.

        False when we were not on record: the first time, or others took us for dead and gave all of ours back.
        """
        return self._post.renew()

    def stop(self) -> None:
        """Claim nothing more."""
        with self._changed:
            self._accepting = False
            self._changed.notify_all()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no task is in flight, at most `timeout` seconds; return whether it is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._stages, timeout)

    def _work(self, slot: int, claim: Claim) -> None:
        following: Claim | None = claim
        while following is not None:
            began = self._post.clock()
            self._archive_one(following)
            following = self._exchange(slot, self._post.clock() - began)

    def _archive_one(self, claim: Claim) -> None:
        try:
            self._post.try_one(claim, self._archive)
        except LedgerFault as fault:
            self._break_down(fault)

    def _break_down(self, fault: LedgerFault) -> None:
        with self._changed:
            self._fault = self._fault or fault
            self._accepting = False
            self._changed.notify_all()

    def _exchange(self, slot: int, spent: timedelta) -> Claim | None:
        """Take the next claim into the slot; it is free when there is none. In between it is not idle."""
        self._post.progress()
        with self._changed:
            if (stage := self._stages[slot]) is not None:
                self._shares.spend(stage, spent)
            self._stages[slot] = None
        return self._fill(slot)

    def _next_claim(self) -> tuple[int, Claim] | None:
        with self._changed:
            if not self._accepting or len(self._stages) >= self._at_most:
                return None
            slot = next(self._slots)
            self._stages[slot] = None
        claim = self._fill(slot)
        return None if claim is None else (slot, claim)

    def _fill(self, slot: int) -> Claim | None:
        claim: Claim | None = None
        stage: Stage | None = None
        try:
            if self._may_claim():
                claim, stage = self._claim(self._preferred())
        except LedgerFault as fault:
            self._break_down(fault)
        finally:
            # Also after an exception that nobody foresaw: a slot that is never freed is one task less for good.
            with self._changed:
                if claim is None:
                    del self._stages[slot]
                    self._changed.notify_all()
                else:
                    self._stages[slot] = stage
        if claim is not None:
            self._post.progress()
        return claim

    def _may_claim(self) -> bool:
        with self._changed:
            return self._accepting and len(self._stages) <= self._at_most

    def _preferred(self) -> Stage:
        with self._changed:
            at_it, ahead = Counter(self._stages.values()), self._shares.ahead
        listing, storing = at_it[Stage.LIST], at_it[Stage.STORE]
        left = self._left() if listing == storing else timedelta()
        return preferred(listing, storing, ahead=ahead, left=left)

    def _left(self) -> timedelta:
        now, shift = self._post.clock(), self._post.shift
        nearest = self._post.ledger.next_deadline(shift.owner, now=now, enlisted_only=shift.enlisted_only)
        return timedelta() if nearest is None else nearest - now

    def _claim(self, wanted: Stage) -> tuple[Claim | None, Stage]:
        other = Stage.STORE if wanted is Stage.LIST else Stage.LIST
        for stage in (wanted, other):
            if self._post.breakers.open_for(*NEEDS[stage]):
                claim = self._post.ledger.claim(
                    owner=self._post.shift.owner,
                    now=self._post.clock(),
                    lease=self._post.shift.lease,
                    stage=stage,
                    enlisted_only=self._post.shift.enlisted_only,
                    fresh_only=self._post.breakers.fresh_only,
                    barred=self._post.barred() if stage is Stage.LIST else (),
                )
                if claim is not None:
                    return claim, stage
            with self._changed:
                self._shares.forfeit(stage)
        return None, wanted
