"""The parts of `run`, `worker` and `backfill`, put together."""

from __future__ import annotations

import os
import platform
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from archiver import __version__
from archiver.adapters.ledger import SqlLedger
from archiver.adapters.provider.client import Answered
from archiver.app.adapters import Adapters, folders_in, opened
from archiver.app.ledger import on_server
from archiver.app.machine import THIS_MACHINE, Machine
from archiver.app.places import store_name, store_place
from archiver.app.schemas import read_schemas
from archiver.app.terms import CheckTerms
from archiver.core.errors import SettingsFault
from archiver.core.exclusion import Exclusion
from archiver.core.keys import probe_key
from archiver.core.model import Dependency, Policy, Subject
from archiver.pipeline.breakers import Breakers
from archiver.pipeline.cluster import LEASE, Deferrer, JobRunner
from archiver.pipeline.context import Bucket, Outside, TaskContext
from archiver.pipeline.crowd import WholeCrowd
from archiver.pipeline.dispatch import Archive, DispatchContext, Dispatcher, DispatchOptions, LocalDispatcher
from archiver.pipeline.schemas import Schemas
from archiver.pipeline.second_look import SecondLook
from archiver.pipeline.task import Archiver
from archiver.ports.runtime import UNWATCHED, EventLog, Observer, Watch
from archiver.ports.store import ProvableStore
from archiver.service.housekeeping import Housekeeping, abort_strays
from archiver.service.liveness import TaskWatch
from archiver.service.presence import Presence, clock_off
from archiver.service.proof import FirstProof, StoreProof, probed, renewed
from archiver.service.restart import notice_set_back
from archiver.service.shutdown import Shutdown, drain
from archiver.settings import Settings

EXPIRY = timedelta(days=30)
"""The time for which an acknowledged reject is kept."""


class Role(StrEnum):
    """The command that a process was started by."""

    RUN = "run"
    WORKER = "worker"
    BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one process, put together for its role."""

    role: Role
    settings: Settings
    machine: Machine
    log: EventLog
    adapters: Adapters
    breakers: Breakers
    dispatcher: Dispatcher
    watch: TaskWatch
    presence: Presence
    proof: StoreProof
    look: SecondLook
    terms: CheckTerms
    exclusion: Exclusion = field(default_factory=Exclusion)

    @property
    def stores(self) -> bool:
        """True where this process archives by itself, and leaves that to no workers."""
        return self.role is not Role.RUN or self.adapters.engine is None

    @property
    def housekeeping(self) -> Housekeeping:
        """Clears away what dead processes left."""
        ledger, is_alive = self.adapters.ledger, self.adapters.lock.alive
        return Housekeeping(ledger.claims, ledger.uploads, self.adapters.store, is_alive, self.machine.clock, self.log)

    def begin(self, asked: Callable[[], bool]) -> None:
        """Free what dead processes held, and prove the store where this one writes; raise StoreUnfit, LedgerFault.

        A silent store is not waited for once `asked()` says that the process is to end.
        """
        if (mark := self.adapters.ledger.rebuilds.unfinished()) is not None:
            raise mark.fault()
        self.dispatcher.renew()
        self.housekeeping.free_leases()
        notice_set_back(self.adapters.ledger.processes, self.adapters.ledger.claims, self.machine.clock, self.log)
        if self.stores:
            FirstProof(self.proof, self.breakers, asked).take()
        self.presence.begin()

    def abort_strays(self) -> None:
        """Clear away the multipart uploads that no process knows of; a store that is paused is not asked for them."""
        if not self.breakers.is_usable(Subject(Dependency.STORE)):
            return
        abort_strays(
            reports=self.adapters.ledger.reports,
            uploads=self.adapters.ledger.uploads,
            store=self.adapters.store,
            prefix=self.settings.store.prefix,
            now=self.machine.clock(),
            log=self.log,
        )

    def expire(self) -> None:
        """Forget what was acknowledged long ago; raise LedgerFault."""
        self.adapters.ledger.intakes.expire_rejects(before=self.machine.clock() - EXPIRY)

    def renew_proof(self) -> None:
        """Prove the store anew once a day; raise LedgerFault."""
        renewed(self.proof, self.breakers)

    def probe_store(self) -> None:
        """Probe a paused store once that is due and no task does; raise LedgerFault."""
        if self.stores:
            probed(self.proof, self.breakers, self.adapters.store.try_write)

    def heed(self, shutdown: Shutdown) -> None:
        """Wait for a ledger's server that is away no longer than a process may that was asked to end."""
        self.adapters.ledger.db.outage.shorten(lambda: shutdown.asked)

    def clock_set_back(self, by: timedelta) -> None:
        """Let nothing wait for longer because the wall clock was set back; raise LedgerFault."""
        now = self.machine.clock()
        self.adapters.ledger.claims.clock_set_back(by, now=now)
        self.adapters.ledger.processes.take_back(now=now)

    def stop(self, shutdown: Shutdown) -> None:
        """Drain, then give back every lease; raise LedgerFault."""
        self.drain(shutdown)
        self.release()

    def drain(self, shutdown: Shutdown) -> None:
        """Begin nothing more, and let what is under way finish within the grace; then break it off."""
        grace = self.settings.shutdown_grace
        drain(self.dispatcher, shutdown, grace=grace, cancel=self.adapters.cancel, log=self.log)

    def release(self) -> None:
        """Give back every lease, and forget what was enlisted; raise LedgerFault."""
        self.adapters.ledger.claims.release(self.adapters.owner)


@contextmanager
def assembled(
    settings: Settings,
    role: Role,
    *,
    log: EventLog,
    observer: Observer,
    progress: Callable[[], None] = lambda: None,
    answered: Answered = lambda _: None,
    asked: Callable[[], bool] = lambda: False,
    machine: Machine = THIS_MACHINE,
) -> Iterator[Parts]:
    """Put everything together, free what dead processes held, and close it all at the end.

    Once `asked()` says that the process is to end, a silent store is not waited for any longer. Calls `progress`
    whenever work moves on, be it by one block, and `answered` with the outcome of each request to the provider. On a
    ledger on a server, `run` leaves the work to workers. Raises LedgerFault when the ledger cannot be opened,
    SettingsFault when an extra is not installed, or a worker has no server to work with.
    """
    queues_jobs = _queues_jobs(settings, role)
    watch = TaskWatch(log, machine.monotonic, progress=progress)
    with opened(
        settings, queues_jobs=queues_jobs, log=log, machine=machine, answered=answered, watch=watch
    ) as adapters:
        breakers = Breakers(adapters.ledger.pauses, machine.clock, log, settings.provider.api_keys())
        proof = store_proof(settings, adapters.store, adapters.ledger, machine, log, watch)
        archiver = _archiver(
            settings, role, adapters, breakers, watch, proof, log=log, observer=observer, machine=machine
        )
        context = _dispatch_context(
            settings, role, adapters, breakers, watch, log=log, progress=progress, machine=machine
        )
        dispatcher = _dispatcher(role, adapters, context, archiver.archive)
        look, exclusion, terms = archiver.context.look, archiver.context.exclusion, CheckTerms.of(settings, machine)
        presence = _presence(role, adapters, breakers, dispatcher, look, machine)
        parts = Parts(
            role, settings, machine, log, adapters, breakers, dispatcher, watch, presence, proof, look, terms, exclusion
        )
        parts.begin(asked)
        yield parts
        presence.end()


def _queues_jobs(settings: Settings, role: Role) -> bool:
    """Return whether the work goes through jobs; raise SettingsFault where a worker would have none."""
    if role is Role.WORKER and not on_server(settings):
        raise SettingsFault(
            "ledger.url: workers need a PostgreSQL ledger (postgresql+psycopg://...); on SQLite `run` does all itself"
        )
    return role is not Role.BACKFILL and on_server(settings)


def store_proof(
    settings: Settings,
    store: ProvableStore,
    ledger: SqlLedger,
    machine: Machine,
    log: EventLog,
    watch: Watch = UNWATCHED,
) -> StoreProof:
    """Return what sees to it that the store is proven before it is written to."""
    return StoreProof(
        store,
        ledger.proofs,
        name=store_name(settings),
        place=store_place(settings),
        key=probe_key(settings.store.prefix),
        demand=settings.store.create_only,
        clock=machine.clock,
        log=log,
        watch=watch,
    )


def _dispatch_context(
    settings: Settings,
    role: Role,
    adapters: Adapters,
    breakers: Breakers,
    watch: TaskWatch,
    *,
    log: EventLog,
    progress: Callable[[], None],
    machine: Machine,
) -> DispatchContext:
    in_flight = settings.download.tasks_in_flight
    options = DispatchOptions(adapters.owner, in_flight, enlisted_only=role is Role.BACKFILL)
    accounts, crowd = adapters.accounts, WholeCrowd(adapters.transfers, watch.held_up)
    return DispatchContext(
        adapters.ledger.claims,
        breakers,
        options,
        machine.clock,
        log,
        progress,
        accounts.crowded,
        crowd,
        accounts.enough_wait,
        machine.monotonic,
    )


def _presence(
    role: Role,
    adapters: Adapters,
    breakers: Breakers,
    dispatcher: Dispatcher,
    look: SecondLook,
    machine: Machine,
) -> Presence:
    def doing() -> str:
        working = dispatcher.working
        does = f"{working} task{'s' if working > 1 else ''} in flight" if working else "waiting for work"
        paused = ", ".join(breakers.paused())
        facts = (does, f"paused: {paused}" if paused else "", clock_off(look.ahead()))
        return "; ".join(filter(None, facts))

    return Presence(
        adapters.ledger.processes,
        owner=adapters.owner,
        role=role.value,
        place=platform.node(),
        pid=os.getpid(),
        clock=machine.clock,
        doing=doing,
    )


def policy_of(settings: Settings, *, called: bool = False) -> Policy:
    """Return the spans that decisions are made by.

    Where the provider's callbacks come in (`called`), asking by ourselves is but a safety net.
    """
    schedule = settings.schedule
    return Policy(
        retention=settings.provider.retention,
        grace_after_deadline=schedule.grace_after_deadline,
        pending_first=schedule.pending_max if called else schedule.pending_first,
        pending_max=schedule.pending_max,
        retry_first=schedule.retry_first,
        retry_max=schedule.retry_max,
        missing_after=schedule.missing_after,
        settled_after=schedule.settled_after,
        at_risk=schedule.at_risk,
        min_rate=settings.download.min_rate,
        max_stem_bytes=settings.download.max_stem_bytes,
    )


def _archiver(
    settings: Settings,
    role: Role,
    adapters: Adapters,
    breakers: Breakers,
    watch: TaskWatch,
    proof: StoreProof,
    *,
    log: EventLog,
    observer: Observer,
    machine: Machine,
) -> Archiver:
    ledger, pool = adapters.ledger, adapters.transfers
    sides = adapters.accounts, adapters.downloader, adapters.store
    bucket = Bucket(folders_in(adapters.store, settings, machine), ledger.adoptions)
    outside = Outside(*sides, ledger.progress, ledger.uploads, breakers, pool, bucket, proof.ensure)
    policy = policy_of(settings, called=settings.callback.enabled and role is not Role.BACKFILL)
    context = TaskContext(
        outside,
        adapters.owner,
        settings.store.prefix,
        policy,
        __version__,
        machine.clock,
        random.random,
        log,
        observer,
        exclusion=Exclusion(settings.download.exclude),
        names=settings.store.names,
        look=SecondLook(machine.clock, machine.steady, policy.missing_after),
        cancelled=adapters.cancelled.is_set,
        is_best_effort=lambda: proof.is_best_effort,
        checkpoint=machine.checkpoint,
        watch=watch,
        cores=machine.cores,
        schemas=Schemas(read_schemas),
    )
    return Archiver(context)


def _dispatcher(role: Role, adapters: Adapters, context: DispatchContext, archive: Archive) -> Dispatcher:
    """Return who gives the work out: the one place where one process and a cluster part."""
    if adapters.engine is None:
        return LocalDispatcher(context, archive)
    if role is Role.RUN:
        return Deferrer(context, adapters.engine)
    return JobRunner(replace(context, options=replace(context.options, lease=LEASE)), adapters.engine, archive)
