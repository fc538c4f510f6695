"""The dispatchers of more than one machine: a Deferrer queues jobs, any number of JobRunners do them.

The ledger decides. A job only says which task to look at: it may come late, twice or never, and whoever
defers makes it anew from the ledger.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from archiver.core.due import Due
from archiver.core.errors import LedgerFault
from archiver.core.model import Claim, Stage, TaskId
from archiver.core.plan import DEATHS_TO_QUARANTINE
from archiver.pipeline.breakers import NEEDS
from archiver.pipeline.dispatch import Archive, DispatchContext
from archiver.pipeline.fairness import Shares, preferred
from archiver.pipeline.places import Places
from archiver.pipeline.quarantine import OVERDUE, Solitude
from archiver.ports.work import Engine, JobKind, Jobs

WINDOW = 1000
"""The most jobs of each stage that wait, the most urgent ones: a queue of all would slow every fetch from it."""

PROBES = 8
"""The same while a dependency that they need is paused: most would only find that it is."""

AHEAD = timedelta(seconds=30)
"""The time by which a task's job is deferred early, so that workers go on while nobody defers."""

LOOK_AHEAD_EVERY = timedelta(seconds=10)
"""The look ahead goes over all open tasks, which takes longer than a second when they are a million."""

LEASE = timedelta(seconds=10)
"""The lease of a worker's claims: so soon others take up its tasks should it die."""

RENEW_EVERY = timedelta(seconds=2)


class Deferrer:
    """A Dispatcher that leaves the work to others: defers a job for each due task that has none. Several may do so."""

    def __init__(self, context: DispatchContext, jobs: Jobs) -> None:
        self._context = context
        self._jobs = jobs
        self._accepting = True
        self._solitude = Solitude(context.clock)
        self._looked_ahead: datetime | None = None
        self.working = 0
        self.fault: LedgerFault | None = None

    def pump(self) -> int:
        """Defer the tasks that are due now or soon and can be worked on; return how many jobs. Raises LedgerFault."""
        now = self._context.clock()
        until = self._until(now)
        found, deferred = self._defer_all(now, until)
        alone_from = self._solitude.overdue() if found else now
        if alone_from is not None:
            deferred += self._defer_all(now, now, alone_from)[1]
        if deferred:
            self._context.log.debug("job.deferred", jobs=deferred)
        self._context.progress()
        return deferred

    def _defer_all(self, now: datetime, until: datetime, alone_from: datetime | None = None) -> tuple[bool, int]:
        """Return whether a task was due, and how many jobs were deferred; of quarantined tasks by `alone_from`."""
        due, deferred = False, 0
        for stage in Stage:
            if self._accepting and self._context.breakers.is_available(*NEEDS[stage]):
                tasks = self._due(stage, now, until, alone_from)
                due = due or any(task.not_before <= now for task in tasks)
                deferred += self._jobs.defer(tasks, now=now)
        return due, deferred

    def _until(self, now: datetime) -> datetime:
        """Return the time up to which tasks are looked for."""
        if self._looked_ahead is not None and self._looked_ahead <= now < self._looked_ahead + LOOK_AHEAD_EVERY:
            return now
        self._looked_ahead = now
        return now + AHEAD

    def _due(self, stage: Stage, now: datetime, until: datetime, alone_from: datetime | None) -> Sequence[Due]:
        probing = self._context.breakers.is_paused(*NEEDS[stage])
        return self._context.claims.due(
            stage,
            now=now,
            until=until,
            limit=PROBES if probing else WINDOW,
            fresh_only=self._context.breakers.fresh_only,
            blocked_accounts=self._context.breakers.blocked_accounts(),
            alone_from=alone_from,
        )

    def renew(self) -> bool:
        """Say that this process lives; it holds no leases."""
        return self._context.renew()

    def stop(self) -> None:
        """Defer nothing more."""
        self._accepting = False

    def wait_idle(self, timeout: float) -> bool:  # noqa: ARG002 - the signature of Dispatcher
        """Return True: nothing is ever in flight here."""
        return True


class JobRunner:
    """A Dispatcher, and the JobHandler of an engine: does the jobs that others deferred, `tasks_in_flight` at once.

    A job claims its task in the ledger. Where the claim is refused the job is done with: its task is not due,
    or another holds it.
    """

    def __init__(self, context: DispatchContext, engine: Engine, archive: Archive) -> None:
        self._context = context
        self._engine = engine
        self._archive = archive
        self._changed = threading.Condition()
        self._at_work: list[Stage] = []
        self._places = Places(context.options.tasks_in_flight)
        self._shares = Shares()
        self._solitude = Solitude(context.clock)
        self._started = False
        self._accepting = True
        self._fault: LedgerFault | None = None

    # --- the Dispatcher

    @property
    def working(self) -> int:
        """Tasks in flight."""
        with self._changed:
            return len(self._at_work)

    @property
    def fault(self) -> LedgerFault | None:
        """The reason why no job is taken any more; None while work goes on."""
        return self._fault or self._engine.fault

    def pump(self) -> int:
        """Start the engine, the first time; its jobs come by themselves. Look whether tasks wait."""
        if not self._started and self._accepting:
            self._started = True
            self._engine.start(self, at_once=2 * self._places.at_most)
        try:
            places = self._places
            places.slow = self._context.look_for_crowd(self.working, places)
        except LedgerFault as fault:
            self._fault = self._fault or fault
            self.stop()
        return 0

    def renew(self) -> bool:
        """See Dispatcher; call it every RENEW_EVERY."""
        return self._context.renew()

    def stop(self) -> None:
        """Take no more jobs."""
        with self._changed:
            self._accepting = False
        self._engine.stop()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no task is in flight, at most `timeout` seconds; return whether it is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._at_work, timeout)

    # --- the JobHandler

    def wants(self) -> Sequence[Collection[JobKind]]:
        """Return the kinds of jobs that may be taken now, those of the stage whose turn it is first.

        What was tried or asked about before waits where there is no room for more of it.
        Asking has no head start here: it would cost a look into the ledger for every job.
        """
        with self._changed:
            if not self._accepting or self._solitude.lasts or len(self._at_work) >= self._places.count:
                return []
            at_it = Counter(self._at_work)
            first = preferred(at_it[Stage.LIST], at_it[Stage.STORE], ahead=self._shares.ahead, left=timedelta())
            groups = {stage: self._places.groups(stage) for stage in sorted(Stage, key=first.__ne__)}
            if not self._places.may_store(at_it[Stage.STORE]):
                del groups[Stage.STORE]
        breakers = self._context.breakers
        return [group for stage, its in groups.items() if breakers.is_available(*NEEDS[stage]) for group in its]

    def begins(self, task_id: TaskId, kind: JobKind) -> None:
        """Count a task in flight."""
        with self._changed:
            self._at_work.append(kind.stage)
            self._places.promised(task_id, kind)

    def work(self, task_id: TaskId, stage: Stage) -> None:
        """Claim the task and archive it as far as it goes now."""
        began = self._context.seconds()
        try:
            self._work(task_id, stage)
        except LedgerFault as fault:
            self._fault = self._fault or fault
            self.stop()
        finally:
            with self._changed:
                self._at_work.remove(stage)
                self._places.leaves(task_id)
                self._solitude.ends(task_id)
                self._shares.spend(stage, timedelta(seconds=self._context.seconds() - began))
                self._changed.notify_all()

    def _work(self, task_id: TaskId, stage: Stage) -> None:
        claim = self._claim(task_id)
        self._context.progress()
        if claim is None:
            self._context.log.debug("job.skipped", task_id=task_id)
            return
        with self._changed:
            self._places.takes(task_id, claim, stage)
        self._context.attempt(claim, self._archive)
        self._context.progress()

    def _claim(self, task_id: TaskId) -> Claim | None:
        """Claim the task; a quarantined one, beside which nothing is begun, where no other is in flight."""
        now = self._context.clock()
        with self._changed:
            if self._solitude.lasts:
                return None
            alone = len(self._at_work) == 1
        if not self._context.own.may_claim(now):
            return None
        claim = self._context.claims.claim_task(
            task_id,
            owner=self._context.options.owner,
            now=now,
            lease=self._context.options.lease,
            stages=[stage for stage in Stage if self._context.breakers.is_available(*NEEDS[stage])],
            fresh_only=self._context.breakers.fresh_only,
            blocked_accounts=self._context.blocked_accounts(),
            alone_from=now if alone else now - OVERDUE,
        )
        if claim is not None and claim.deaths >= DEATHS_TO_QUARANTINE:
            with self._changed:
                self._solitude.begins(task_id)
        return claim

    def idles(self) -> None:
        """Take note that the engine lives, and that no stage had anything to do."""
        with self._changed:
            for stage in Stage:
                self._shares.forfeit(stage)
        if not self.working:
            self._context.progress()
