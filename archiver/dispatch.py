"""Keeps the two pools full: claim, archive, and at once the next; backs off from a paused dependency."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from archiver.core.errors import ArchiverError, LeaseLost, LedgerFault
from archiver.core.model import Claim, Dependency, Outcome, Paused
from archiver.ports import Clock, EventLog, Ledger, Pause, Stage

Archive = Callable[[Claim], Outcome]

FAILURES_TO_PAUSE = 8
"""How many failures in a row, over all tasks, make an outage."""

NEEDS = {Stage.LIST: (Dependency.PROVIDER,), Stage.STORE: (Dependency.ORIGIN, Dependency.STORE)}
"""What must work for each half of the path."""

FARTHEST_PROBE = timedelta(minutes=1)
"""A pause whose probe is due later than this was written down before the clock was set back."""

PROBE_PATIENCE = timedelta(minutes=1)
"""How long a probe may stay without a verdict (its task met another trouble) before the next is let through."""


class StemPool:
    """Threads that move stems, the earliest deadline first, over all tasks."""

    def __init__(self, threads: int) -> None:
        self._waiting: list[tuple[datetime, int, Callable[[], None], Future[None]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._wanted = 0
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self.resize(threads)

    def resize(self, threads: int) -> None:
        """Have so many threads: more at once, fewer as they end the work they are at."""
        with self._changed:
            self._wanted = threads
            fresh = [
                threading.Thread(target=self._serve, name=f"stem-{next(self._numbers)}", daemon=True)
                for _ in range(threads - len(self._threads))
            ]
            self._threads += fresh
            self._changed.notify_all()
        for thread in fresh:
            thread.start()

    def submit(self, deadline: datetime, work: Callable[[], None]) -> Future[None]:
        """Run `work` as soon as a thread is free; the earliest deadline goes first."""
        future: Future[None] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the stem pool is closed")
            heapq.heappush(self._waiting, (deadline, next(self._order), work, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Let the threads end once all that was submitted has run; does not wait for them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _serve(self) -> None:
        while (item := self._next()) is not None:
            work, future = item
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - the future hands it to whoever waits
                future.set_exception(error)
            else:
                future.set_result(None)

    def _next(self) -> tuple[Callable[[], None], Future[None]] | None:
        with self._changed:
            while not self._waiting or len(self._threads) > self._wanted:
                if len(self._threads) > self._wanted:
                    self._threads.remove(threading.current_thread())
                    return None
                if self._closed:
                    return None
                self._changed.wait()
            _, _, work, future = heapq.heappop(self._waiting)
            return work, future


class Breakers:
    """The Gate: one circuit breaker a dependency, kept in the ledger so that every process sees it.

    What the operator holds is shut until it is lifted, or its time is over; nothing probes it.

    It opens when a dependency refuses us, or fails FAILURES_TO_PAUSE times in a row for whatever
    tasks: an outage then costs a probe now and then, not every task its tries. While it is open the
    dependency is admitted once each time a probe is due; a probe that fails doubles the wait, one that
    works ends the pause.
    """

    def __init__(self, ledger: Ledger, clock: Clock, log: EventLog) -> None:
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        # Whoever starts us has probably just mended what was paused: probe at once.
        self._found_at_start = {
            pause: replace(pause, next_probe=clock()) for pause in ledger.pauses() if not pause.held
        }
        self._pauses = self._read()
        self._probes: dict[Dependency, datetime] = {}
        self._failures: Counter[Dependency] = Counter()
        self._tell_held({}, self._pauses)

    def reload(self) -> None:
        """Look into the ledger for what other processes and the operator decided; call it every few seconds."""
        found = self._read()
        now = self._clock()
        for name in [name for name, pause in found.items() if pause.over(now)]:
            self._ledger.lift(name, over_at=now)
            del found[name]
        with self._lock:
            before, self._pauses = self._pauses, found
            self._probes = {name: taken for name, taken in self._probes.items() if name in found}
        self._tell_held(before, found)

    def _read(self) -> dict[Dependency, Pause]:
        return {pause.dependency: self._found_at_start.get(pause, pause) for pause in self._ledger.pauses()}

    def _tell_held(self, before: Mapping[Dependency, Pause], found: Mapping[Dependency, Pause]) -> None:
        was, now = ({name for name, pause in each.items() if pause.held} for each in (before, found))
        for name in now - was:
            until = None if found[name].lasting else found[name].next_probe.isoformat()
            self._log.warning("dependency.held", dependency=name.value, until=until)
        for name in was - now:
            self._log.info("dependency.released", dependency=name.value)

    def admits(self, *dependencies: Dependency) -> bool:
        """Whether all of them may be used now; takes the probe of each that is due for one."""
        with self._lock:
            if not all(map(self._is_open, dependencies)):
                return False
            self._probes |= {name: self._clock() for name in dependencies if name in self._pauses}
            return True

    def open_for(self, *dependencies: Dependency) -> bool:
        """Whether `admits` would say yes, without taking a probe."""
        with self._lock:
            return all(map(self._is_open, dependencies))

    @property
    def fresh_only(self) -> bool:
        """Whether only tasks never listed are to be asked about.

        Listed ones are asked about again only for links to use at once: not while nothing can be stored.
        """
        return not self.open_for(*NEEDS[Stage.STORE])

    def shut(self, *dependencies: Dependency) -> bool:
        """Whether one of them is paused and nobody is probing it."""
        with self._lock:
            return any(name in self._pauses and not self._is_probed(name) for name in dependencies)

    def paused(self) -> Sequence[Dependency]:
        """Return what is paused as far as this process knows, probed or not, in the order of Dependency."""
        with self._lock:
            return [name for name in Dependency if name in self._pauses]

    def _is_open(self, dependency: Dependency) -> bool:
        pause = self._pauses.get(dependency)
        if pause is None:
            return True
        now = self._clock()
        if pause.held:
            return pause.over(now)
        waits = now < pause.next_probe <= now + FARTHEST_PROBE
        return not waits and not self._is_probed(dependency)

    def _is_probed(self, dependency: Dependency) -> bool:
        taken, now = self._probes.get(dependency), self._clock()
        return taken is not None and taken <= now < taken + PROBE_PATIENCE

    def worked(self, dependency: Dependency) -> None:
        """End the pause, if any that is not held, and the row of failures."""
        with self._lock:
            self._failures.pop(dependency, None)
            if dependency in self._pauses and self._pauses[dependency].held:
                return
            paused = self._pauses.pop(dependency, None)
            self._probes.pop(dependency, None)
        if paused is not None and self._ledger.resume(dependency):
            self._log.info("dependency.resumed", dependency=dependency.value)

    def failed(self, dependency: Dependency, error: ArchiverError) -> None:
        """Count a failure; open or prolong the pause once they make an outage."""
        with self._lock:
            self._failures[dependency] += 1
            outage = self._failures[dependency] >= FAILURES_TO_PAUSE or dependency in self._probes
        if outage:
            self.refused(Paused(dependency, f"{error.code}: {error}", error.hint, lasting=False))

    def refused(self, outcome: Paused) -> None:
        """Open the pause, or prolong it after a failed probe."""
        with self._lock:
            if outcome.dependency in self._pauses and outcome.dependency not in self._probes:
                return
        pause = self._ledger.pause(
            outcome.dependency,
            reason=outcome.reason,
            hint=outcome.hint,
            lasting=outcome.lasting,
            now=self._clock(),
        )
        with self._lock:
            self._pauses[outcome.dependency] = pause
            self._probes.pop(outcome.dependency, None)
        self._log.error(
            "dependency.paused",
            dependency=outcome.dependency.value,
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


def try_one(claim: Claim, archive: Archive, breakers: Breakers, log: EventLog) -> None:
    """Take a claim along the path, whatever comes of it; raises LedgerFault, nothing else."""
    log.debug("task.claimed", task_id=claim.task_id, state=claim.state.value)
    try:
        outcome = archive(claim)
        if isinstance(outcome, Paused):
            breakers.refused(outcome)
    except LeaseLost:
        log.warning("lease.lost", task_id=claim.task_id)
    except LedgerFault:
        raise
    except Exception as bug:
        log.exception("task.crashed", task_id=claim.task_id, error=repr(bug))


class Shares:
    """Which stage the next slot goes to. Slots, and then time, are shared evenly.

    Between finding out deadlines and meeting the nearest known one: neither may starve the other.
    """

    def __init__(self) -> None:
        self._spent = dict.fromkeys(Stage, timedelta())

    def spend(self, stage: Stage, span: timedelta) -> None:
        """Note that a slot was used so long."""
        self._spent[stage] += span

    def order(self, at_work: Iterable[Stage]) -> Sequence[Stage]:
        """Return the stages, the one whose turn it is first."""
        counts = Counter(at_work)
        return sorted(Stage, key=lambda stage: (counts[stage], self._spent[stage]))


class Dispatcher:
    """Runs up to `tasks_in_flight` tasks at once; a slot that frees takes the next claim by itself.

    Calls `progress` when a claim is taken, when a task has ended, and when there is nothing to do.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        archive: Archive,
        breakers: Breakers,
        shift: Shift,
        clock: Clock,
        log: EventLog,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._archive = archive
        self._breakers = breakers
        self._shift = shift
        self._clock = clock
        self._log = log
        self._progress = progress
        self._at_most = shift.tasks_in_flight
        self._changed = threading.Condition()
        self._stages: dict[int, Stage] = {}
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
            self._progress()
        return started

    def resize(self, tasks_in_flight: int) -> None:
        """Run so many tasks at once: more from the next `pump`, fewer as those in flight end."""
        with self._changed:
            self._at_most = tasks_in_flight

    def renew(self) -> bool:
        """Prolong the leases held; call it before all else, then several times a lease.

        False when we were not on record: the first time, or others took us for dead and gave all of ours back.
        """
        return self._ledger.renew(self._shift.owner, now=self._clock(), lease=self._shift.lease)

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
            began = self._clock()
            self._archive_one(following)
            following = self._exchange(slot, self._clock() - began)

    def _archive_one(self, claim: Claim) -> None:
        try:
            try_one(claim, self._archive, self._breakers, self._log)
        except LedgerFault as fault:
            self._break_down(fault)

    def _break_down(self, fault: LedgerFault) -> None:
        with self._changed:
            self._fault = self._fault or fault
            self._accepting = False
            self._changed.notify_all()

    def _exchange(self, slot: int, spent: timedelta) -> Claim | None:
        """Give the slot back and take the next claim into it, if there is one."""
        self._progress()
        with self._changed:
            self._shares.spend(self._stages.pop(slot), spent)
            self._changed.notify_all()
        found = self._next_claim(slot)
        return None if found is None else found[1]

    def _next_claim(self, slot: int | None = None) -> tuple[int, Claim] | None:
        with self._changed:
            if not self._accepting or len(self._stages) >= self._at_most:
                return None
            number = next(self._slots) if slot is None else slot
            stages = self._shares.order(self._stages.values())
            self._stages[number] = stages[0]
        claim: Claim | None = None
        stage = stages[0]
        try:
            claim, stage = self._claim(stages)
        except LedgerFault as fault:
            self._break_down(fault)
        finally:
            # Also after an exception that nobody foresaw: a slot that is never freed is one task less for good.
            with self._changed:
                if claim is None:
                    del self._stages[number]
                    self._changed.notify_all()
                else:
                    self._stages[number] = stage
        if claim is None:
            return None
        self._progress()
        return number, claim

    def _claim(self, stages: Sequence[Stage]) -> tuple[Claim | None, Stage]:
        for stage in stages:
            if not self._breakers.open_for(*NEEDS[stage]):
                continue
            claim = self._ledger.claim(
                owner=self._shift.owner,
                now=self._clock(),
                lease=self._shift.lease,
                stage=stage,
                enlisted_only=self._shift.enlisted_only,
                fresh_only=self._breakers.fresh_only,
            )
            if claim is not None:
                return claim, stage
        return None, stages[0]
