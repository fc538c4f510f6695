"""The composition root: the only module that names real adapters."""

from __future__ import annotations

import itertools
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from archiver import __version__
from archiver.backfill import Backfill, Ending, end, enrol
from archiver.core import plan
from archiver.core.errors import ArchiverError, LedgerFault, SettingsFault
from archiver.core.model import Intake, Policy, TaskId
from archiver.core.record import shown_url
from archiver.daemon import Care, Daemon, Hangup, Job, Stopping, drain
from archiver.dispatch import Breakers, Dispatcher, Shift, StemPool
from archiver.edge.buffers import BufferBudget
from archiver.edge.downloader import HttpDownloader
from archiver.edge.downloader.address import Resolve, system_resolve
from archiver.edge.downloader.dialer import Connect, tcp_connect
from archiver.edge.heartbeat import Ping
from archiver.edge.ledger import SqlLedger
from archiver.edge.ledger.sql import PATIENCE
from archiver.edge.metrics import CONTENT_TYPE, Metrics, Sources
from archiver.edge.object_store import S3Store, s3_client
from archiver.edge.owners import OwnerLock
from archiver.edge.pages import Page, PageServer
from archiver.edge.queue_file import QueueFile
from archiver.edge.record_api import Answered, KieApi
from archiver.edge.record_api.pace import Wait
from archiver.edge.service_manager import Systemd
from archiver.health import HEALTHZ, READYZ, healthz, readyz
from archiver.logs import set_level
from archiver.notices import Heartbeat, Notices, ToldLog
from archiver.pipeline import Archiver, Outside
from archiver.ports import Checkpoint, Clock, EventLog, Observer, OpenWork, Overview, unobserved
from archiver.pulse import Beating, Pulse
from archiver.redaction import Cleaner
from archiver.reload import Reload, Tune
from archiver.settings import Settings
from archiver.upkeep import DeadlineWatch, QueueIntake, Waking, abort_strays, abort_uploads, free_leases

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DISPATCH_EVERY = timedelta(seconds=1)
_HOUSEKEEPING_EVERY = timedelta(seconds=30)
_STRAYS_EVERY = timedelta(minutes=10)
_DEADLINES_EVERY = timedelta(minutes=1)
_NOTICES_EVERY = timedelta(seconds=1)
_LAST_WORDS = 5.0
"""Seconds that a message may take while the daemon ends."""

_WORK = "work"
"""What the dispatcher and the transfers are called in the pulse, beside the jobs of the daemon."""
_WORK_WITHIN = timedelta(minutes=10)
"""How long all tasks in flight may be silent together: transfers to a slow store are so for minutes."""

_S3_CONNECTIONS = 256
"""How many idle ones the store's client may keep at least, so that a reload can raise the concurrency."""


Progress = Callable[[int, int, timedelta | None], None]
"""Is told, several times a second: tasks done, tasks in all, and the time to the nearest deadline."""


def utc_now() -> datetime:
    """Now, as an aware UTC datetime."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the service takes from the machine that it runs on: its time, its network."""

    clock: Clock = utc_now
    monotonic: Callable[[], float] = time.monotonic
    """Seconds: by them requests are paced, and bodies and answers found too slow."""
    sleep: Callable[[float], None] = time.sleep
    wait: Wait = threading.Condition.wait
    resolve: Resolve = system_resolve
    """Looks up the names of the CDN's hosts."""
    connect: Connect = tcp_connect
    """Opens connections to the CDN."""
    patience: timedelta = PATIENCE
    """How long another process may keep the ledger locked."""
    s3_client: Callable[..., S3Client] = s3_client
    """Makes the client of the store; see archiver.edge.object_store.s3_client."""


THIS_MACHINE = Machine()


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
        at_risk=schedule.at_risk,
    )


def open_ledger(settings: Settings, checkpoint: Checkpoint = unobserved, machine: Machine = THIS_MACHINE) -> SqlLedger:
    """Open and, where needed, create or migrate the ledger; raise LedgerFault."""
    return SqlLedger.open(settings.ledger.url, checkpoint=checkpoint, patience=machine.patience)


def open_api(
    settings: Settings,
    log: EventLog,
    checkpoint: Checkpoint = unobserved,
    machine: Machine = THIS_MACHINE,
    answered: Answered = lambda _: None,
) -> KieApi:
    """Return the client that holds the provider's key."""
    provider = settings.provider
    return KieApi(
        base_url=provider.base_url,
        api_key=provider.key(),
        user_agent=provider.user_agent,
        requests_per_10s=provider.requests_per_10s,
        timeout=provider.timeout.total_seconds(),
        proxy=settings.download.proxy_url(),
        allow_http=settings.download.allow_http,
        jitter=random.random,
        log=log,
        clock=machine.monotonic,
        wait=machine.wait,
        checkpoint=checkpoint,
        answered=answered,
    )


def open_store(
    settings: Settings, log: EventLog, checkpoint: Checkpoint = unobserved, machine: Machine = THIS_MACHINE
) -> S3Store:
    """Return the bucket, with credentials from boto3's own chain."""
    store = settings.store
    client = machine.s3_client(
        endpoint_url=store.endpoint_url,
        region=store.region,
        addressing_style=store.addressing_style,
        max_connections=max(settings.download.concurrency + settings.download.tasks_in_flight, _S3_CONNECTIONS),
        user_agent_extra=f"stem-archiver/{__version__}",
    )
    return S3Store(
        client,
        bucket=store.bucket,
        storage_class=store.storage_class,
        sse=store.sse,
        kms_key_id=store.kms_key_id,
        tags=store.tags,
        single_put_max=store.single_put_max,
        part_size=store.part_size,
        buffers=BufferBudget(settings.download.buffer_budget),
        jitter=random.random,
        clock=machine.clock,
        sleep=machine.sleep,
        log=log,
        checkpoint=checkpoint,
    )


def open_downloader(
    settings: Settings, checkpoint: Checkpoint = unobserved, machine: Machine = THIS_MACHINE
) -> HttpDownloader:
    """Return the anonymous client of the CDN."""
    download = settings.download
    return HttpDownloader(
        user_agent=settings.provider.user_agent,
        max_bytes=download.max_stem_bytes,
        min_rate=download.min_rate,
        connect_timeout=download.connect_timeout.total_seconds(),
        read_timeout=download.read_timeout.total_seconds(),
        allowed_hosts=download.allowed_hosts,
        allow_http=download.allow_http,
        allow_private_addresses=download.allow_private_addresses,
        proxy=download.proxy_url(),
        max_connections=download.concurrency,
        resolve=machine.resolve,
        connect=machine.connect,
        clock=machine.monotonic,
        sleep=machine.sleep,
        jitter=random.random,
        checkpoint=checkpoint,
    )


def open_notices(settings: Settings, log: EventLog, machine: Machine = THIS_MACHINE) -> Notices | None:
    """Return what tells people, or None where nobody is to be told; raise SettingsFault."""
    urls = settings.notify.services()
    if not urls:
        return None
    with _extra("notify.urls", "notify"):
        from archiver.edge.messenger import Messenger  # noqa: PLC0415 - an extra, and slow to load
    try:
        messenger = Messenger(urls)
    except ValueError as error:
        raise SettingsFault(f"notify.urls: {error}") from None
    return Notices(
        send=messenger,
        cleaner=Cleaner(settings.secrets()),
        clock=machine.clock,
        min_interval=settings.notify.min_interval,
        log=log,
    )


def owners_folder(ledger_url: str) -> Path:
    """Return where the processes that share this ledger keep their locks."""
    database = Path(ledger_url.removeprefix("sqlite:///"))
    return database.with_name(database.name + ".owners")


def own_lock(settings: Settings) -> OwnerLock:
    """Return this process's proof of life; raise LedgerFault where it cannot be written down."""
    folder = owners_folder(settings.ledger.url)
    try:
        return OwnerLock(folder)
    except OSError as error:
        hint = "the service needs room for, and the right to write, a small file in that folder"
        raise LedgerFault(f"the ledger's folder of locks {folder} cannot be used: {error.strerror}", hint) from error


@dataclass(frozen=True, slots=True)
class Service:
    """What `run` and `backfill` work with, wired together."""

    settings: Settings
    owner: str
    ledger: SqlLedger
    owners: OwnerLock
    store: S3Store
    breakers: Breakers
    dispatcher: Dispatcher
    waking: Waking
    log: EventLog
    cancel: Callable[[], None]
    """Makes transfers and calls under way end at once, their tasks given back."""
    pulse: Pulse
    """Which loops make progress: the daemon's jobs by name, and `work`."""
    metrics: Metrics
    tunes: Mapping[str, Tune]
    """By name, the settings that can change while the service is at work, and how."""
    notices: Notices | None = None
    clock: Clock = utc_now
    checkpoint: Checkpoint = unobserved

    def free_leases(self) -> None:
        """Take up at once what dead processes held."""
        free_leases(ledger=self.ledger, alive=self.owners.alive, clock=self.clock, log=self.log)

    def abort_uploads(self) -> None:
        """Clear away the multipart uploads that dead processes left open."""
        abort_uploads(ledger=self.ledger, store=self.store, alive=self.owners.alive, log=self.log)

    def abort_strays(self) -> None:
        """Clear away the multipart uploads that no process knows of."""
        abort_strays(ledger=self.ledger, store=self.store, prefix=self.settings.store.prefix, log=self.log)

    def stop(self, stopping: Stopping) -> None:
        """Drain, then give back every lease."""
        grace = self.settings.shutdown_grace
        drain(self.dispatcher, stopping, grace=grace, cancel=self.cancel, log=self.log)
        self.ledger.release(self.owner, now=self.clock())

    # --- the daemon

    def care(self, environ: Mapping[str, str], hangup: Hangup, read: Callable[[], Settings]) -> Care:
        """Return how `run` is to be looked after; `read` reads the settings again, on SIGHUP."""
        reload = Reload(self.settings, read=read, tunes=self.tunes, log=self.log)
        return Care(Systemd.of(environ, os.getpid()), status=self._status, hangup=hangup, reload=reload)

    def _status(self) -> str:
        working = self.dispatcher.working
        says = f"{working} task{'s' if working > 1 else ''} in flight" if working else "waiting for work"
        paused = ", ".join(self.breakers.paused())
        return f"{says}; paused: {paused}" if paused else says

    def run(self, stopping: Stopping, care: Care | None = None) -> None:
        """Run the daemon until asked to stop; raises LedgerFault when the ledger ended it.

        Raises SettingsFault, before anything is begun, when an extra that the settings need is not installed.
        """
        self.pulse.expect(_WORK, _WORK_WITHIN)
        daemon = Daemon(
            self.jobs(), stopping=stopping, clock=self.clock, log=self.log, pulse=self.pulse, care=care or Care()
        )
        with self.watched():
            with self.called():
                path = str(self.settings.queue.path)
                self.log.info("daemon.started", version=__version__, owner=self.owner, queue=path)
                fault = daemon.run(lambda: self.dispatcher.fault)
            try:
                self.stop(stopping)
            finally:
                self.log.info("daemon.stopped")
                if self.notices is not None:
                    self.notices.close(_LAST_WORDS)
        if fault is not None:
            raise fault

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Serve metrics and health while this lasts; where that cannot be, say so and go on."""
        address = self.settings.http.address()
        if address is None:
            yield
            return
        try:
            server = PageServer(*address, self.pages(), self.log)
        except OSError as error:
            hint = "set http.listen to a free port; until then this process answers neither /metrics nor /healthz"
            report = self.log.error
            report("http.unavailable", listen=self.settings.http.listen, error=error.strerror, hint=hint)
            yield
            return
        with closing(server):
            self.log.info("http.listening", address=server.address)
            yield

    def pages(self) -> Mapping[str, Callable[[], Page]]:
        """Return what is served at http.listen."""
        return {
            "/metrics": lambda: Page(200, CONTENT_TYPE, self.metrics.page()),
            HEALTHZ: lambda: _json_page(*healthz(self.pulse.late())),
            READYZ: lambda: _json_page(*readyz(self.breakers.paused())),
        }

    def sources(self, budget: Callable[[], int]) -> Sources:
        """Return what the gauges are read from; `budget` is what the pace of requests allows."""
        return Sources(
            overview=self.overview,
            unread=self.unread,
            paused=self.breakers.paused,
            late=self.pulse.late,
            budget=budget,
            clock=self.clock,
        )

    def overview(self) -> Overview:
        """Return what `status` says; raise LedgerFault."""
        return self.ledger.overview(now=self.clock(), at_risk=self.settings.schedule.at_risk)

    def unread(self) -> int:
        """Return how many bytes of the queue file are not taken in yet; raise QueueUnreadable or LedgerFault."""
        path = str(self.settings.queue.path)
        return QueueFile(path).unread(self.ledger.cursor(path))

    @contextmanager
    def called(self) -> Iterator[None]:
        """Take the provider's callbacks while this lasts, if so set; where that cannot be, say so and go on.

        Raises SettingsFault when what it takes is not installed.
        """
        address = self.settings.callback.address()
        if not self.settings.callback.enabled or address is None:
            yield
            return
        with _extra("callback.enabled", "callback"):
            from archiver.edge.callbacks import Callbacks, CallbackServer  # noqa: PLC0415 - an extra
        key = self.settings.callback.key()
        try:
            server = CallbackServer(
                *address, Callbacks(key=key, heard=self.waking.heard, clock=self.clock, log=self.log)
            )
        except OSError as error:
            hint = "set callback.listen to an address of this machine and a free port; until then tasks are polled"
            report = self.log.error
            report("callback.unavailable", listen=self.settings.callback.listen, error=error.strerror, hint=hint)
            yield
            return
        with closing(server):
            self.log.info("callback.listening", address=server.address)
            yield

    def jobs(self) -> dict[str, Job]:
        """Return the daemon's work by name."""
        path = self.settings.queue.path
        intake = QueueIntake(
            queue=QueueFile(str(path)),
            path=str(path),
            ledger=self.ledger,
            clock=self.clock,
            log=self.log,
            checkpoint=self.checkpoint,
            progress=lambda: self.pulse.beat("intake"),
        )
        watch = DeadlineWatch(
            ledger=self.ledger, clock=self.clock, at_risk=self.settings.schedule.at_risk, log=self.log
        )
        heartbeat = self._heartbeat()

        def deadlines() -> None:
            watch()
            heartbeat()

        jobs = {
            "intake": Job(intake, self.settings.queue.poll_interval),
            "dispatch": Job(self._dispatch, _DISPATCH_EVERY),
            "deadlines": Job(deadlines, _DEADLINES_EVERY),
            "housekeeping": Job(self._housekeeping, _HOUSEKEEPING_EVERY),
            "strays": Job(self.abort_strays, _STRAYS_EVERY),
        }
        return jobs if self.notices is None else jobs | {"notices": Job(self.notices.flush, _NOTICES_EVERY)}

    def _heartbeat(self) -> Callable[[], None]:
        """Return what is called after each sweep that worked."""
        url = self.settings.notify.heartbeat()
        if url is None:
            return lambda: None
        return Heartbeat(Ping(url, user_agent=self.settings.provider.user_agent), self.pulse.late, self.log)

    def _dispatch(self) -> None:
        self.breakers.reload()
        self.waking()
        self.dispatcher.pump()

    def _housekeeping(self) -> None:
        self.dispatcher.renew()
        self.free_leases()
        self.abort_uploads()

    # --- one shot

    def backfill(
        self,
        intakes: Iterable[Intake],
        *,
        stopping: Stopping,
        limit: int | None,
        wait: bool,
        max_wait: timedelta,
        progress: Progress,
    ) -> Ending:
        """Take the ids in and work until each has ended; raises LedgerFault."""
        roll = enrol(
            intakes,
            owner=self.owner,
            ledger=self.ledger,
            limit=limit,
            clock=self.clock,
            log=self.log,
            checkpoint=self.checkpoint,
        )
        self.log.info("backfill.started", tasks=roll.taken, already_archived=roll.already_archived)
        backfill = Backfill(
            owner=self.owner,
            ledger=self.ledger,
            dispatcher=self.dispatcher,
            breakers=self.breakers,
            stopping=stopping,
            clock=self.clock,
            wait=wait,
            max_wait=max_wait,
        )

        def report(work: OpenWork) -> None:
            nearest = None if work.nearest_deadline is None else work.nearest_deadline - self.clock()
            progress(roll.taken - work.tasks, roll.taken, nearest)

        try:
            verdict = backfill.run(report)
            self.abort_uploads()
            self.abort_strays()
            ending = end(backfill, verdict, roll)
        finally:
            self.stop(stopping)
        self.log.info("backfill.finished", verdict=ending.verdict.value, unfinished=len(ending.unfinished))
        return ending


def _json_page(status: int, answer: Mapping[str, object]) -> Page:
    return Page(status, "application/json", (json.dumps(answer) + "\n").encode("ascii"))


@contextmanager
def _extra(setting: str, extra: str) -> Iterator[None]:
    """Turn a failing import of what is installed only on demand into a SettingsFault that says how."""
    try:
        yield
    except ImportError as missing:
        raise SettingsFault(
            f"{setting} needs {missing.name}; install it with: pip install 'stem-archiver[{extra}]'"
        ) from missing


@contextmanager
def service(
    settings: Settings,
    *,
    log: EventLog,
    observer: Observer | None = None,
    enlisted_only: bool = False,
    checkpoint: Checkpoint = unobserved,
    machine: Machine = THIS_MACHINE,
) -> Iterator[Service]:
    """Wire everything together, free what dead processes held, and close it all at the end.

    `observer` is told what moves in place of the metrics, which otherwise are.
    Raises LedgerFault when the ledger cannot be opened, SettingsFault when people cannot be told as set.
    """
    metrics = Metrics(__version__)
    notices = None if enlisted_only else open_notices(settings, log, machine)
    log = log if notices is None else ToldLog(log, notices.tell)
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(open_ledger(settings, checkpoint, machine)))
        owners = stack.enter_context(closing(own_lock(settings)))
        api = stack.enter_context(closing(open_api(settings, log, checkpoint, machine, metrics.api_answered)))
        downloader = stack.enter_context(closing(open_downloader(settings, checkpoint, machine)))
        store = stack.enter_context(closing(open_store(settings, log, checkpoint, machine)))
        pool = stack.enter_context(closing(StemPool(settings.download.concurrency)))
        breakers = Breakers(ledger, machine.clock, log)
        pulse = Pulse(machine.monotonic)
        cancelled = threading.Event()
        archiver = Archiver(
            outside=Outside(api=api, downloader=downloader, store=store, ledger=ledger, gate=breakers, pool=pool),
            owner=owners.owner,
            prefix=settings.store.prefix,
            policy=policy_of(settings, called=settings.callback.enabled and not enlisted_only),
            version=__version__,
            clock=machine.clock,
            jitter=random.random,
            log=log,
            observer=Beating(observer or metrics, pulse, _WORK),
            cancelled=cancelled.is_set,
            checkpoint=checkpoint,
        )
        shift = Shift(owners.owner, settings.download.tasks_in_flight, enlisted_only=enlisted_only)
        dispatcher = Dispatcher(
            ledger=ledger,
            archive=archiver.archive,
            breakers=breakers,
            shift=shift,
            clock=machine.clock,
            log=log,
            progress=lambda: pulse.beat(_WORK),
        )

        def cancel() -> None:
            cancelled.set()
            api.close()

        whole = Service(
            settings=settings,
            owner=owners.owner,
            ledger=ledger,
            owners=owners,
            store=store,
            breakers=breakers,
            dispatcher=dispatcher,
            waking=Waking(ledger, machine.clock, log, add_unknown=settings.callback.add_unknown),
            log=log,
            cancel=cancel,
            pulse=pulse,
            metrics=metrics,
            tunes=_tunes(api, downloader, pool, dispatcher),
            notices=notices,
            clock=machine.clock,
            checkpoint=checkpoint,
        )
        metrics.watch(whole.sources(api.budget))
        whole.free_leases()
        yield whole


def _tunes(api: KieApi, downloader: HttpDownloader, pool: StemPool, dispatcher: Dispatcher) -> Mapping[str, Tune]:
    return {
        "log.level": lambda new: set_level(new.log.level),
        "provider.requests_per_10s": lambda new: api.set_pace(new.provider.requests_per_10s),
        "download.concurrency": lambda new: pool.resize(new.download.concurrency),
        "download.tasks_in_flight": lambda new: dispatcher.resize(new.download.tasks_in_flight),
        "download.allowed_hosts": lambda new: downloader.allow_hosts(new.download.allowed_hosts),
    }


@dataclass(frozen=True, slots=True)
class PreviewedStem:
    """A stem that would be fetched from `url` and stored under `key`."""

    url: str
    key: str
    """Its extension is known only from the first bytes, and shown as `*`."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a backfill would do with one id."""

    task_id: TaskId
    says: str
    stems: tuple[PreviewedStem, ...] = ()


def preview(settings: Settings, intakes: Iterable[Intake], *, limit: int | None, log: EventLog) -> Iterator[Preview]:
    """Ask for each record and say what would be stored; writes nothing anywhere."""
    api = open_api(settings, log)
    with closing(api):
        ids = dict.fromkeys(task_id for intake in intakes for task_id in intake.ids)
        for task_id in itertools.islice(ids, limit):
            try:
                record = api.fetch(task_id)
            except ArchiverError as error:
                yield Preview(task_id, f"{error.code}: {error}")
                continue
            stems = tuple(
                PreviewedStem(shown_url(stem.url), plan.object_key(settings.store.prefix, task_id, stem.name, "*"))
                for stem in record.stems
            )
            yield Preview(task_id, f"{record.phase.value}, {len(stems)} stems", stems)
