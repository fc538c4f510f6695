"""One shot: takes ids in and drives the same path as the daemon until each has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from archiver.core.clocks import Steps
from archiver.core.errors import LedgerFault
from archiver.core.intake import Intake
from archiver.core.model import Dependency, Pause, TaskId
from archiver.core.reports import EnlistedWork, OpenWork
from archiver.core.states import TaskState
from archiver.pipeline.breakers import Breakers
from archiver.pipeline.dispatch import Dispatcher
from archiver.ports.ledger import Intakes, Pauses, Reports
from archiver.ports.runtime import Checkpoint, Clock, EventLog, unobserved
from archiver.service.intake import accept
from archiver.service.shutdown import Shutdown

UNFINISHED_SHOWN = 1000
"""The most unfinished tasks that the result names; all are counted."""

TICK = timedelta(seconds=0.25)
RELOAD = timedelta(seconds=5)
PIECE = 5000
"""Ids that are written down at once: whoever asks for the end waits no longer than for these."""
COUNTING_SHARE = 20
"""Counting what is left may take one part in so many of the time."""


class Verdict(StrEnum):
    """The end that a backfill came to."""

    DONE = "done"
    UNFINISHED = "unfinished"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class BackfillOptions:
    """The bounds of a backfill."""

    limit: int | None
    """The most ids that are taken, of those that are not archived yet; None for all."""
    wait: bool
    """True to wait for tasks that the provider has not finished."""
    max_wait: timedelta
    """The wait, from the moment when nothing else is left to do."""


@dataclass(slots=True)
class BackfillCounts:
    """The ids of a backfill as they are taken in, each counted once it is written down, and once only."""

    taken: int = 0
    """Ids that were given and are valid."""
    already_archived: int = 0
    """Those that were archived when they were taken in."""
    rejected: int = 0
    """Lines that are no ids."""
    complete: bool = False
    """True once all ids were read, or as many as were asked for."""


@dataclass(frozen=True, slots=True)
class BackfillResult:
    """The end of a backfill, and what it leaves behind."""

    verdict: Verdict
    counts: BackfillCounts
    work: EnlistedWork
    """States of its tasks in the ledger once none of them is under way here any more."""
    pauses: tuple[Pause, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a backfill stands while it works."""

    done: EnlistedWork
    """Without the tasks themselves."""
    left: OpenWork
    pauses: tuple[Pause, ...] = ()


def stay(dispatcher: Dispatcher) -> None:
    """Prolong our leases; raise LedgerFault where others took us for dead: the list of our tasks is gone then."""
    if not dispatcher.renew():
        raise LedgerFault(
            "this backfill was silent for too long, and another machine gave its tasks back",
            "run it again: what is stored is not stored twice. If it was not held up, compare the machines' clocks",
        )


@dataclass(slots=True)
class Enrolment:
    """Takes the ids of a backfill into the ledger, and enlists them."""

    owner: str
    intakes: Intakes
    dispatcher: Dispatcher
    clock: Clock
    log: EventLog
    checkpoint: Checkpoint = unobserved
    counts: BackfillCounts = field(default_factory=BackfillCounts, init=False)
    _writing: threading.Lock = field(default_factory=threading.Lock, init=False)
    _closed: bool = field(default=False, init=False)

    def take(self, batches: Iterable[Intake], limit: int | None) -> None:
        """Take in the ids, at most `limit` of those that there is work on; raise LedgerFault.

        Prolongs our leases after each batch: a million ids take a while, in which we must not be taken for dead.
        """
        room = limit
        for batch in batches:
            self.checkpoint("queue.read")
            room = self._take(batch, room)
            if self._closed:
                return
            stay(self.dispatcher)
            if room == 0:
                break
        self.counts.complete = True

    def close(self) -> None:
        """Take in nothing more; waits for the piece that is being written."""
        self._closed = True
        with self._writing:
            pass

    def _take(self, batch: Intake, room: int | None) -> int | None:
        """Take in a batch; return the room that it leaves."""
        ids, rejects = list(dict.fromkeys(batch.ids)), batch.rejects
        while (ids or rejects) and room != 0:
            piece, left = ids[:PIECE], ids[PIECE:]
            resting = frozenset() if room is None else self.intakes.resting(piece)
            some, cut = within(piece, resting, room)
            with self._writing:
                if self._closed:
                    break
                new = self._enlist(replace(batch.only(some), rejects=rejects))
            ids, rejects = cut + left, ()
            room = None if room is None else room - sum(task_id not in resting for task_id in new)
        return room

    def _enlist(self, some: Intake) -> Collection[TaskId]:
        """Write these down; return those that are new to this backfill."""
        states = self.intakes.known(some.ids)
        archived = {task_id for task_id, state in states.items() if state is TaskState.ARCHIVED}
        todo = tuple(task_id for task_id in some.ids if task_id not in archived)
        accepted = accept(some.only(todo), source="backfill", intakes=self.intakes, now=self.clock(), log=self.log)
        self.counts.rejected += len(accepted.rejects)
        new = self.intakes.enlist(self.owner, some.ids)
        self.counts.taken += len(new)
        self.counts.already_archived += len(archived.intersection(new))
        return new


@dataclass(slots=True)
class Backfill:
    """Works until every enlisted task has ended, or waiting longer was not asked for."""

    owner: str
    reports: Reports
    pauses: Pauses
    dispatcher: Dispatcher
    breakers: Breakers
    shutdown: Shutdown
    options: BackfillOptions
    clock: Clock
    monotonic: Callable[[], float] = time.monotonic
    """Seconds; whatever is waited for here is measured by them."""
    give_up: Callable[[], None] = lambda: None
    """Gives up tasks and transfers of which nothing moves; called every few seconds."""
    rotate: Callable[[], None] = lambda: None
    """Reads settings, keys and credentials again where that is asked for; called every few seconds."""
    set_back: Callable[[timedelta], None] = lambda _: None
    """Called with the span by which the wall clock was set back."""
    _steps: Steps = field(default_factory=Steps, init=False)
    _seen: Standing | None = field(default=None, init=False)
    _look_at: float | None = field(default=None, init=False)

    def run(self, tick: Callable[[Standing], None]) -> Verdict:
        """Work to the end; calls `tick` several times a second. Raises LedgerFault."""
        idle_since: float | None = None
        for seconds in self._ticks(tick):
            if self.dispatcher.pump() or self.dispatcher.working:
                continue
            if self.dispatcher.fault is not None:
                raise self.dispatcher.fault
            idle_since = seconds if idle_since is None else idle_since
            left = self.options.max_wait - timedelta(seconds=seconds - idle_since)
            verdict = self._verdict(give_up=self.clock() + left)
            if verdict is not None:
                return verdict
        return Verdict.STOPPED

    def _ticks(self, tick: Callable[[Standing], None]) -> Iterator[float]:
        """Yield the seconds until asked to stop; keeps leases and pauses fresh on the way."""
        refresh_at = self.monotonic() + RELOAD.total_seconds()
        self._rejudge(self.monotonic())
        while not self.shutdown.asked:
            now = self.monotonic()
            if now >= refresh_at:
                self.breakers.reload()
                stay(self.dispatcher)
                self.give_up()
                self.rotate()
                self._rejudge(now)
                refresh_at = now + RELOAD.total_seconds()
            yield now
            if self.dispatcher.working:
                self.dispatcher.wait_idle(TICK.total_seconds())
            else:
                self.shutdown.wait(TICK.total_seconds())
            tick(self._standing())

    def _rejudge(self, seconds: float) -> None:
        """Let nothing wait for longer where the wall clock was set back."""
        step = self._steps.look(self.clock(), seconds)
        if step < timedelta():
            self.set_back(-step)

    def _standing(self) -> Standing:
        """Return where it stands.

        Counting a million tasks takes a while, so it is done less often the longer it takes.
        """
        began = self.monotonic()
        if self._seen is None or self._look_at is None or began >= self._look_at:
            pauses = tuple(self.pauses.all())
            lasting = [pause for pause in pauses if pause.lasting and _is_of_an_account(pause)]
            left = self.reports.open_work(self.owner, [pause.account for pause in lasting])
            self._seen = Standing(self.reports.enlisted(self.owner, limit=0), left, pauses)
            ended = self.monotonic()
            self._look_at = ended + COUNTING_SHARE * (ended - began)
        return self._seen

    def _verdict(self, give_up: datetime) -> Verdict | None:
        """Return how it ends, or None to go on waiting; an end is by a count of this moment, not by an older one."""
        if self._judged(give_up) is None:
            return None
        self._look_at = None
        return self._judged(give_up)

    def _judged(self, give_up: datetime) -> Verdict | None:
        work = self._standing().left
        if not work.tasks:
            return Verdict.DONE
        pauses = self.pauses.all()
        if any(pause.lasting and not _is_of_an_account(pause) for pause in pauses):
            return Verdict.PAUSED
        moments = [pause.next_probe for pause in pauses if not pause.lasting]
        moments += [moment for moment in (work.next_retry, work.next_ask if self.options.wait else None) if moment]
        if moments and min(moments) <= give_up:
            return None
        return Verdict.PAUSED if pauses else Verdict.UNFINISHED

    def result(self, verdict: Verdict, counts: BackfillCounts) -> BackfillResult:
        """Sum up once nothing is under way; a DONE whose tasks did not all end archived is UNFINISHED.

        Raises LedgerFault.
        """
        work = self.reports.enlisted(self.owner, limit=UNFINISHED_SHOWN)
        # After the list was read: had it been gone by then, this says so.
        stay(self.dispatcher)
        if verdict is Verdict.DONE and (work.not_archived or counts.rejected):
            verdict = Verdict.UNFINISHED
        return BackfillResult(verdict, replace(counts), work, tuple(self.pauses.all()))


def within(
    ids: Sequence[TaskId], resting: Collection[TaskId], room: int | None
) -> tuple[tuple[TaskId, ...], list[TaskId]]:
    """Return the first ids, of which `room` at most are not `resting`, and the rest; None: all have room."""
    if room is None:
        return tuple(ids), []
    at_work = [number for number, task_id in enumerate(ids) if task_id not in resting]
    end = len(ids) if len(at_work) <= room else at_work[room]
    return tuple(ids[:end]), list(ids[end:])


def _is_of_an_account(pause: Pause) -> bool:
    """Return whether the other accounts go on all the same."""
    return pause.dependency is Dependency.PROVIDER and not pause.held
