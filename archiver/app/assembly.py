"""`run`, `worker` and `backfill`, wired together."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from archiver import __version__
from archiver.adapters.downloader import HttpDownloader, Throttle
from archiver.adapters.ledger import SqlLedger
from archiver.adapters.notify.heartbeat import Ping
from archiver.adapters.object_store import S3Store
from archiver.adapters.owners import OwnerLock
from archiver.adapters.provider.accounts import KieAccounts
from archiver.adapters.provider.client import Answered
from archiver.adapters.queue_file import QueueFile
from archiver.adapters.systemd import Systemd
from archiver.app.adapters import (
    open_accounts,
    open_downloader,
    open_notices,
    open_store,
    own_lock,
    policy_of,
    queue_name,
    throttle_of,
)
from archiver.app.clock import utc_now
from archiver.app.jobs import open_jobs
from archiver.app.ledger import on_server, open_ledger
from archiver.app.listeners import called, pages, watched
from archiver.app.machine import THIS_MACHINE, Machine
from archiver.core.errors import SettingsFault
from archiver.core.model import DEFAULT_ACCOUNT, Dependency, Intake
from archiver.core.reports import OpenWork, Overview
from archiver.logs import set_level
from archiver.pipeline.breakers import Breakers
from archiver.pipeline.cluster import LEASE, RENEW_EVERY, Deferrer, JobRunner
from archiver.pipeline.context import Outside, TaskContext
from archiver.pipeline.dispatch import Archive, DispatchContext, Dispatcher, DispatchOptions, LocalDispatcher
from archiver.pipeline.task import Archiver
from archiver.pipeline.transfers import TransferThreads
from archiver.ports.runtime import Checkpoint, Clock, EventLog, Observer, unobserved
from archiver.ports.work import Engine
from archiver.service.alerts import Heartbeat, Notices, ToldLog
from archiver.service.backfill import Backfill, BackfillCounts, BackfillResult, end, enrol, stay
from archiver.service.daemon import Daemon, Job
from archiver.service.deadlines import DeadlineWatch
from archiver.service.housekeeping import Housekeeping, Rescue, abort_strays
from archiver.service.intake import QueueIntake
from archiver.service.liveness import Liveness
from archiver.service.reload import Reload, Tune
from archiver.service.shutdown import Shutdown, drain, unless_asked
from archiver.service.supervision import Hangup, Supervision
from archiver.service.wakeups import Wakeups
from archiver.settings import Settings
from archiver.web.metrics import Metrics, Sources

_DISPATCH_EVERY = timedelta(seconds=1)
_RESCUE_EVERY = timedelta(seconds=2)
_HOUSEKEEPING_EVERY = timedelta(seconds=30)
_STRAYS_EVERY = timedelta(minutes=10)
_DEADLINES_EVERY = timedelta(minutes=1)
_NOTICES_EVERY = timedelta(seconds=1)
_LAST_WORDS = 5.0
"""Seconds that a message may take while the daemon ends."""

_WORK = "work"
"""What the dispatcher and the transfers are called by liveness, beside the jobs of the daemon."""
_WORK_WITHIN = timedelta(minutes=10)
"""How long all tasks in flight may be silent together: transfers to a slow store are so for minutes."""


Progress = Callable[[int, int, timedelta | None], None]
"""Is told, several times a second: tasks done, tasks in all, and the time to the nearest deadline."""


class Role(StrEnum):
    """Which command a service is wired for."""

    RUN = "run"
    WORKER = "worker"
    BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class Service:
    """What `run`, `worker` and `backfill` work with, wired together."""

    role: Role
    settings: Settings
    owner: str
    ledger: SqlLedger
    owners: OwnerLock
    store: S3Store
    breakers: Breakers
    dispatcher: Dispatcher
    rescue: Rescue | None
    """None where no jobs are queued."""
    wakeups: Wakeups
    log: EventLog
    cancel: Callable[[], None]
    """Makes transfers and calls under way end at once, their tasks given back."""
    liveness: Liveness
    """Which loops make progress: the daemon's jobs by name, and `work`."""
    metrics: Metrics
    tunes: Mapping[str, Tune]
    """By name, the settings that can change while the service is at work, and how."""
    notices: Notices | None = None
    clock: Clock = utc_now
    checkpoint: Checkpoint = unobserved

    @property
    def housekeeping(self) -> Housekeeping:
        """Clears away what dead processes left."""
        return Housekeeping(
            self.ledger.claims, self.ledger.uploads, self.store, self.owners.alive, self.clock, self.log
        )

    def abort_strays(self) -> None:
        """Clear away the multipart uploads that no process knows of."""
        abort_strays(reports=self.ledger.reports, store=self.store, prefix=self.settings.store.prefix, log=self.log)

    def stop(self, shutdown: Shutdown) -> None:
        """Drain, then give back every lease; raises LedgerFault."""
        grace = self.settings.shutdown_grace
        drain(self.dispatcher, shutdown, grace=grace, cancel=self.cancel, log=self.log)
        self.ledger.claims.release(self.owner)

    def _heed(self, shutdown: Shutdown) -> None:
        self.ledger.db.outage.shorten(lambda: shutdown.asked)

    # --- the daemon

    def _status(self) -> str:
        working = self.dispatcher.working
        says = f"{working} task{'s' if working > 1 else ''} in flight" if working else "waiting for work"
        paused = ", ".join(self.breakers.paused())
        return f"{says}; paused: {paused}" if paused else says

    def run(self, shutdown: Shutdown, hangup: Hangup, read: Callable[[], Settings]) -> None:
        """Run the daemon, or the worker, until asked to stop; raises LedgerFault when the ledger ended it.

        `read` reads the settings again, on SIGHUP.
        Raises SettingsFault, before anything is begun, when an extra that the settings need is not installed.
        """
        self._heed(shutdown)
        settings, served = self.settings, pages(self.metrics, self.liveness, self.breakers)
        self.liveness.expect(_WORK, _WORK_WITHIN)
        supervision = Supervision(
            Systemd.of(os.environ, os.getpid()),
            self.liveness,
            self._status,
            hangup,
            Reload(settings, read=read, tunes=self.tunes, log=self.log),
            self.log,
        )
        daemon = Daemon(self.jobs(), shutdown=shutdown, supervision=supervision, clock=self.clock, log=self.log)
        with watched(settings.http, served, self.log):
            with called(settings.callback, received=self.wakeups.request, clock=self.clock, log=self.log):
                queue = str(settings.queue.path)
                self.log.info("daemon.started", version=__version__, owner=self.owner, queue=queue)
                fault = daemon.run(lambda: self.dispatcher.fault)
            try:
                self.stop(shutdown)
            finally:
                self.log.info("daemon.stopped")
                if self.notices is not None:
                    self.notices.close(_LAST_WORDS)
        if fault is not None:
            raise fault

    def sources(self, budget: Callable[[], int], limits: Callable[[], Mapping[Dependency, int]]) -> Sources:
        """Return what the gauges are read from; `budget` and `limits` are what the paces of others allow."""
        return Sources(
            overview=self.overview,
            unread=self.unread,
            paused=self.breakers.paused,
            late=self.liveness.late,
            budget=budget,
            limits=limits,
            clock=self.clock,
        )

    def overview(self) -> Overview:
        """Return what `status` says; raise LedgerFault."""
        return self.ledger.reports.overview(now=self.clock(), at_risk=self.settings.schedule.at_risk)

    def unread(self) -> int:
        """Return how many bytes of the queue file are not taken in yet; raise QueueUnreadable or LedgerFault."""
        queue = self.settings.queue.path
        return QueueFile(str(queue)).unread(self.ledger.intakes.cursor(queue_name(self.settings)))

    def jobs(self) -> dict[str, Job]:
        """Return the work of the daemon, or of the worker, by name."""
        jobs = {
            "dispatch": Job(self._dispatch, _DISPATCH_EVERY),
            "housekeeping": Job(self._housekeeping, _HOUSEKEEPING_EVERY),
        }
        if self.role is Role.RUN:
            jobs |= self._intake() | {"strays": Job(self.abort_strays, _STRAYS_EVERY)}
        if self.role is Role.WORKER:
            jobs |= {"leases": Job(self._renew, RENEW_EVERY)}
        if self.rescue is not None:
            jobs |= {"rescue": Job(self.rescue, _RESCUE_EVERY)}
        return jobs if self.notices is None else jobs | {"notices": Job(self.notices.flush, _NOTICES_EVERY)}

    def _intake(self) -> dict[str, Job]:
        name = queue_name(self.settings)
        intake = QueueIntake(
            queue=QueueFile(str(self.settings.queue.path), name=name),
            path=name,
            intakes=self.ledger.intakes,
            clock=self.clock,
            log=self.log,
            checkpoint=self.checkpoint,
            progress=self._taken_in,
        )
        watch = DeadlineWatch(
            reports=self.ledger.reports, clock=self.clock, at_risk=self.settings.schedule.at_risk, log=self.log
        )
        heartbeat = self._heartbeat()

        def deadlines() -> None:
            watch()
            heartbeat()

        return {
            "intake": Job(intake, self.settings.queue.poll_interval),
            "deadlines": Job(deadlines, _DEADLINES_EVERY),
        }

    def _heartbeat(self) -> Callable[[], None]:
        """Return what is called after each sweep that worked."""
        url = self.settings.notify.heartbeat()
        if url is None:
            return lambda: None
        return Heartbeat(Ping(url, user_agent=self.settings.provider.user_agent), self.liveness.late, self.log)

    def _taken_in(self) -> None:
        self.liveness.progress("intake")
        self.dispatcher.pump()

    def _dispatch(self) -> None:
        self.breakers.reload()
        self.wakeups()
        self.dispatcher.pump()

    def _renew(self) -> None:
        self.dispatcher.renew()

    def _housekeeping(self) -> None:
        self._renew()
        self.housekeeping.free_leases()
        self.housekeeping.abort_uploads()

    # --- one shot

    def _enrol(self, counts: BackfillCounts, intakes: Iterable[Intake], limit: int | None) -> None:
        enrol(
            counts,
            intakes,
            owner=self.owner,
            ledger=self.ledger.intakes,
            limit=limit,
            clock=self.clock,
            log=self.log,
            checkpoint=self.checkpoint,
            stay=lambda: stay(self.dispatcher),
        )

    def _sweep(self) -> None:
        self.housekeeping.abort_uploads()
        self.abort_strays()

    def backfill(
        self,
        intakes: Iterable[Intake],
        *,
        shutdown: Shutdown,
        limit: int | None,
        wait: bool,
        max_wait: timedelta,
        progress: Progress,
    ) -> BackfillResult:
        """Take the ids in and work until each has ended; raises LedgerFault."""
        self._heed(shutdown)
        counts = BackfillCounts()
        unless_asked(lambda: self._enrol(counts, intakes, limit), shutdown)
        self.log.info("backfill.started", tasks=counts.taken, already_archived=counts.already_archived)
        backfill = Backfill(
            owner=self.owner,
            reports=self.ledger.reports,
            pauses=self.ledger.pauses,
            dispatcher=self.dispatcher,
            breakers=self.breakers,
            shutdown=shutdown,
            clock=self.clock,
            wait=wait,
            max_wait=max_wait,
        )

        def report(work: OpenWork) -> None:
            nearest = None if work.nearest_deadline is None else work.nearest_deadline - self.clock()
            progress(counts.taken - work.tasks, counts.taken, nearest)

        try:
            verdict = backfill.run(report)
            unless_asked(self._sweep, shutdown)
            result = end(backfill, verdict, counts)
        finally:
            self.stop(shutdown)
        self.log.info("backfill.finished", verdict=result.verdict.value, unfinished=len(result.unfinished))
        return result


@dataclass(frozen=True, slots=True)
class _Means:
    """The outside things that can be tuned, or stopped, while the service is at work."""

    accounts: KieAccounts
    throttle: Throttle
    pool: TransferThreads
    downloader: HttpDownloader
    store: S3Store
    cancelled: threading.Event = field(default_factory=threading.Event)

    def outside(self, ledger: SqlLedger, breakers: Breakers) -> Outside:
        """Return what the path works with."""
        return Outside(
            accounts=self.accounts,
            downloader=self.downloader,
            store=self.store,
            progress=ledger.progress,
            uploads=ledger.uploads,
            breakers=breakers,
            pool=self.pool,
        )

    def cancel(self) -> None:
        """See Service."""
        self.cancelled.set()
        self.throttle.stop()
        self.accounts.close()

    def tunes(self, begun: Settings, dispatcher: Dispatcher) -> Mapping[str, Tune]:
        """See Service; `begun` are the settings that the service began with."""

        def tune_accounts(new: Settings) -> bool:
            self.accounts.set_rates(new.provider.request_rates())
            before, after = ([(each.name, each.key()) for each in its.provider.accounts] for its in (begun, new))
            return before == after

        def resize(new: Settings) -> None:
            self.pool.resize(new.download.most_transfers, adapts=new.download.adapts)

        tunes: dict[str, Tune] = {
            "log.level": lambda new: set_level(new.log.level),
            "provider.requests_per_10s": lambda new: self.accounts.set_rates(
                {DEFAULT_ACCOUNT: new.provider.requests_per_10s}
            ),
            "provider.accounts": tune_accounts,
            "download.concurrency": resize,
            "download.concurrency_max": resize,
            "download.bandwidth": lambda new: self.throttle.change(new.download.bandwidth),
            "download.allowed_hosts": lambda new: self.downloader.allow_hosts(new.download.allowed_hosts),
        }
        if isinstance(dispatcher, LocalDispatcher):
            tunes["download.tasks_in_flight"] = lambda new: dispatcher.resize(new.download.tasks_in_flight)
        return tunes


def _means(
    stack: ExitStack,
    settings: Settings,
    ledger: SqlLedger,
    *,
    answered: Answered,
    working: Callable[[], None],
    log: EventLog,
    checkpoint: Checkpoint,
    machine: Machine,
) -> _Means:
    """Open them, to be closed by `stack`."""
    accounts = stack.enter_context(closing(open_accounts(settings, log, checkpoint, machine, answered, ledger)))
    throttle = throttle_of(settings, machine, progress=working)
    download = settings.download
    pool = TransferThreads(download.most_transfers, adapts=download.adapts, clock=machine.monotonic, log=log)
    stack.enter_context(closing(pool))
    downloader = stack.enter_context(closing(open_downloader(settings, checkpoint, machine, throttle, pool.refused)))
    store = stack.enter_context(closing(open_store(settings, log, checkpoint, machine, pool.store_refused)))
    return _Means(accounts, throttle, pool, downloader, store)


@contextmanager
def service(
    settings: Settings,
    *,
    log: EventLog,
    role: Role = Role.RUN,
    observer: Observer | None = None,
    checkpoint: Checkpoint = unobserved,
    machine: Machine = THIS_MACHINE,
) -> Iterator[Service]:
    """Wire everything together, free what dead processes held, and close it all at the end.

    `observer` is told what moves in place of the metrics, which otherwise are.
    On a ledger on a server, `run` leaves the work to workers. Raises LedgerFault when the ledger cannot be
    opened, SettingsFault when people cannot be told as set, or a worker has no server to work with.
    """
    if role is Role.WORKER and not on_server(settings):
        raise SettingsFault(
            "ledger.url: workers need a PostgreSQL ledger (postgresql+psycopg://...); on SQLite `run` does all itself"
        )
    notices = None if role is Role.BACKFILL else open_notices(settings, log, machine)
    log = log if notices is None else ToldLog(log, notices.tell)
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(open_ledger(settings, checkpoint, machine.patience, log)))
        owners = stack.enter_context(closing(own_lock(settings)))
        liveness = Liveness(machine.monotonic)

        def working() -> None:
            liveness.progress(_WORK)

        metrics = Metrics(__version__, progress=working)

        means = _means(
            stack,
            settings,
            ledger,
            answered=metrics.api_answered,
            working=working,
            log=log,
            checkpoint=checkpoint,
            machine=machine,
        )
        breakers = Breakers(ledger.pauses, machine.clock, log, settings.provider.api_keys())
        archiver = Archiver(
            TaskContext(
                outside=means.outside(ledger, breakers),
                owner=owners.owner,
                prefix=settings.store.prefix,
                policy=policy_of(settings, called=settings.callback.enabled and role is not Role.BACKFILL),
                version=__version__,
                clock=machine.clock,
                jitter=random.random,
                log=log,
                observer=observer or metrics,
                cancelled=means.cancelled.is_set,
                checkpoint=checkpoint,
            )
        )
        engine: Engine | None = None
        if role is not Role.BACKFILL and on_server(settings):
            engine = stack.enter_context(closing(open_jobs(settings)))
        options = DispatchOptions(owners.owner, settings.download.tasks_in_flight, enlisted_only=role is Role.BACKFILL)
        context = DispatchContext(ledger.claims, breakers, options, machine.clock, log, working, means.accounts.crowded)
        dispatcher = _dispatch(role, engine, context, archiver.archive)

        whole = Service(
            role=role,
            settings=settings,
            owner=owners.owner,
            ledger=ledger,
            owners=owners,
            store=means.store,
            breakers=breakers,
            dispatcher=dispatcher,
            rescue=None if engine is None else Rescue(engine, log),
            wakeups=Wakeups(ledger.intakes, machine.clock, log, add_unknown=settings.callback.add_unknown),
            log=log,
            cancel=means.cancel,
            liveness=liveness,
            metrics=metrics,
            tunes=means.tunes(settings, dispatcher),
            notices=notices,
            clock=machine.clock,
            checkpoint=checkpoint,
        )
        metrics.watch(whole.sources(means.accounts.budget, means.pool.limits))
        dispatcher.renew()
        whole.housekeeping.free_leases()
        yield whole


def _dispatch(role: Role, engine: Engine | None, context: DispatchContext, archive: Archive) -> Dispatcher:
    """Return what sees to it that due tasks are worked on: the one place where the embedded form and the other part."""
    if engine is None:
        return LocalDispatcher(context, archive)
    if role is Role.RUN:
        return Deferrer(context, engine)
    return JobRunner(replace(context, options=replace(context.options, lease=LEASE)), engine, archive)
