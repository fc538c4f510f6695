"""Each outside thing, made as the settings say."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from archiver.adapters.downloader import BodyLimits, ConnectionOptions, HttpDownloader, Network, Reach, Throttle
from archiver.adapters.downloader.stored_file import judge
from archiver.adapters.ledger import SqlLedger
from archiver.adapters.ledger.permits import SharedPermits
from archiver.adapters.object_store import LateStore
from archiver.adapters.owners import DaemonRuns, OwnerLock, only_daemon
from archiver.adapters.provider.accounts import KieAccounts
from archiver.adapters.provider.client import WINDOW, Answered, KieApi
from archiver.adapters.provider.file_permits import FilePermits
from archiver.adapters.provider.flavours import FLAVOURS, flavour_of
from archiver.adapters.provider.limiter import LocalPermits, RateLimiter, Spread
from archiver.adapters.provider.wire import Endpoint
from archiver.app.extras import extra
from archiver.app.jobs import open_jobs
from archiver.app.ledger import on_server, open_ledger
from archiver.app.machine import THIS_MACHINE, Machine
from archiver.app.places import owners_folder
from archiver.app.store import open_store, throttle_of
from archiver.core.errors import LedgerFault, SettingsFault
from archiver.core.model import AccountName
from archiver.core.redaction import Cleaner
from archiver.pipeline.transfers import TransferThreads
from archiver.ports.provider import Permits
from archiver.ports.runtime import UNWATCHED, EventLog, Watch
from archiver.ports.work import Engine
from archiver.preservation.adoption import Adoption
from archiver.preservation.task_folders import TaskFolders
from archiver.service.alerts import Alerts
from archiver.settings import Settings

if TYPE_CHECKING:
    from archiver.adapters.notify.messenger import Messenger


@dataclass(frozen=True, slots=True)
class Adapters:
    """The outside things that one process works with, opened."""

    ledger: SqlLedger
    lock: OwnerLock
    accounts: KieAccounts
    throttle: Throttle
    transfers: TransferThreads
    downloader: HttpDownloader
    store: LateStore
    engine: Engine | None
    """None where no jobs are queued."""
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def owner(self) -> str:
        """The name of this process in the ledger."""
        return self.lock.owner

    def cancel(self) -> None:
        """Make transfers and calls under way end at once, their tasks given back."""
        self.cancelled.set()
        self.throttle.stop()
        self.accounts.close()


@contextmanager
def opened(
    settings: Settings,
    *,
    queues_jobs: bool,
    log: EventLog,
    machine: Machine,
    answered: Answered,
    watch: Watch = UNWATCHED,
) -> Iterator[Adapters]:
    """Open everything, and close it at the end; raise LedgerFault, or SettingsFault without an extra that is needed.

    `watch` hears of each block that comes in or leaves, `answered` of the outcome of each request to the provider.
    """
    machine = _watched(machine, watch)
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(open_ledger(settings, machine.checkpoint, machine.patience, log)))
        lock = stack.enter_context(closing(own_lock(settings)))
        accounts = stack.enter_context(closing(open_accounts(settings, log, machine, answered, ledger)))
        throttle = throttle_of(settings, machine)
        transfers = _transfers(settings, log, machine)
        stack.enter_context(closing(transfers))
        downloader = stack.enter_context(
            closing(open_downloader(settings, machine, throttle, transfers.refused, watch))
        )
        store = stack.enter_context(closing(open_store(settings, log, machine, transfers.store_refused, watch)))
        engine = stack.enter_context(closing(open_jobs(settings))) if queues_jobs else None
        yield Adapters(ledger, lock, accounts, throttle, transfers, downloader, store, engine)


def _watched(machine: Machine, watch: Watch) -> Machine:
    """Return the machine with waits in line that are shown as progress: whoever waits so is not hung."""

    def wait(condition: threading.Condition, seconds: float) -> None:
        machine.wait(condition, seconds)
        watch.progress()

    return replace(machine, wait=wait)


def _transfers(settings: Settings, log: EventLog, machine: Machine) -> TransferThreads:
    most, adapts = settings.download.most_transfers, settings.download.adapts
    return TransferThreads(most, adapts=adapts, clock=machine.monotonic, wall=machine.clock, log=log)


def open_accounts(
    settings: Settings,
    log: EventLog,
    machine: Machine = THIS_MACHINE,
    answered: Answered = lambda _: None,
    ledger: SqlLedger | None = None,
) -> KieAccounts:
    """Return the clients that hold the provider's keys, one for each account.

    All processes on one ledger keep to one rate for each account together; on a server, those that hand over the
    `ledger`.
    """
    provider = settings.provider
    endpoint = Endpoint(
        base_url=provider.base_url,
        user_agent=provider.user_agent,
        proxy=settings.download.proxy_url(),
        allow_http=settings.download.allow_http,
        flavour=FLAVOURS[provider.flavour or flavour_of(provider.base_url)],
    )
    clients, keys = {}, dict(provider.api_keys())
    for account in keys:
        permits = _permits(settings, account, machine, ledger)
        spread = Spread(provider.request_rates()[account], WINDOW)
        clients[account] = KieApi(
            endpoint,
            api_key=partial(keys.__getitem__, account),
            limiter=RateLimiter(permits, clock=machine.monotonic, wait=machine.wait, spread=spread),
            timeout=provider.timeout.total_seconds(),
            jitter=random.random,
            log=log,
            clock=machine.monotonic,
            checkpoint=machine.checkpoint,
            answered=answered,
            account=account,
        )
    return KieAccounts(clients, keys)


def _permits(settings: Settings, account: AccountName, machine: Machine, ledger: SqlLedger | None) -> Permits:
    """Return the account's permits: those of all who share the ledger, or of this process where it has none."""
    limit = settings.provider.request_rates()[account]
    if not on_server(settings):
        return _permits_on_disk(settings, account, limit, machine)
    if ledger is None:
        return LocalPermits(limit, WINDOW, clock=machine.monotonic)
    return SharedPermits(
        ledger.db.run,
        account=account,
        limit=limit,
        window=WINDOW,
        longest=settings.provider.timeout.total_seconds(),
        jitter=random.random,
        clock=machine.monotonic,
    )


def _permits_on_disk(settings: Settings, account: AccountName, limit: int, machine: Machine) -> Permits:
    """Return the permits of all processes beside the ledger's file, where any has been at work on it yet."""
    folder = owners_folder(settings.ledger.url)
    longest = settings.provider.timeout.total_seconds()
    with suppress(OSError):  # `check` asks the provider also where it may not look at the folder
        if folder.is_dir():
            file = folder / f"{account}.pace"
            return FilePermits(file, limit, window=WINDOW, longest=longest, clock=machine.monotonic)
    return LocalPermits(limit, WINDOW, clock=machine.monotonic)


def folders_in(store: LateStore, settings: Settings, machine: Machine) -> TaskFolders:
    """Return the folders of tasks in that bucket."""
    largest = settings.download.max_stem_bytes
    return TaskFolders(Adoption(store.archive, settings.store.prefix, judge, machine.clock, largest))


def open_downloader(
    settings: Settings,
    machine: Machine,
    throttle: Throttle,
    on_failure: Callable[[str], None],
    watch: Watch = UNWATCHED,
) -> HttpDownloader:
    """Return the anonymous client of the CDN."""
    download = settings.download
    return HttpDownloader(
        user_agent=settings.provider.user_agent,
        limits=BodyLimits(download.max_stem_bytes, download.min_rate),
        reach=Reach(download.allowed_hosts, download.allow_http, download.allow_private_addresses),
        connections=ConnectionOptions(
            proxy=download.proxy_url(),
            connect_timeout=download.connect_timeout.total_seconds(),
            read_timeout=download.read_timeout.total_seconds(),
            most_idle=download.most_transfers,
        ),
        network=Network(machine.resolve, machine.connect),
        throttle=throttle,
        clock=machine.monotonic,
        sleep=machine.sleep,
        jitter=random.random,
        on_failure=on_failure,
        checkpoint=machine.checkpoint,
        watch=watch,
    )


def alerts_of(settings: Settings, machine: Machine = THIS_MACHINE) -> Alerts | None:
    """Return the alerts, still empty, or None where nobody is to be alerted."""
    return Alerts(Cleaner(settings.secrets()), machine.clock) if settings.notify.services() else None


def open_messenger(settings: Settings) -> Messenger:
    """Return the way to the people who are alerted; raise SettingsFault."""
    with extra("notify.urls", "notify"):
        from archiver.adapters.notify.messenger import Messenger  # noqa: PLC0415 - an extra, and slow to load
    try:
        return Messenger(settings.notify.services())
    except ValueError as error:
        raise SettingsFault(f"notify.urls: {error}") from None


@contextmanager
def only_run(settings: Settings, machine: Machine) -> Iterator[None]:
    """Be the only `run` on a ledger in a file while this lasts; raise LedgerFault with the one that is at work."""
    file = settings.ledger_file()
    if file is None:
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(only_daemon(file, machine.clock()))
        except DaemonRuns as runs:
            who = "another process" if runs.other is None else f"process {runs.other.pid} on {runs.other.host}"
            since = "" if runs.other is None else f", since {runs.other.since:%Y-%m-%d %H:%M:%S} UTC"
            hint = (
                "stop that one first, or give this one a ledger of its own (ledger.url); `backfill` may run beside it"
            )
            raise LedgerFault(f"the ledger {file} has its daemon already: {who}{since}", hint) from None
        except OSError as error:
            hint = "the service needs the right to write, and room, in the ledger's folder"
            raise LedgerFault(f"the ledger {file} cannot be locked: {error.strerror}", hint) from error
        yield


def own_lock(settings: Settings) -> OwnerLock:
    """Return this process's proof of life; raise LedgerFault where it cannot be written down."""
    folder = owners_folder(settings.ledger.url)
    try:
        return OwnerLock(folder, shared=on_server(settings))
    except OSError as error:
        hint = "the service needs room for, and the right to write, a small file in that folder"
        raise LedgerFault(f"the ledger's folder of locks {folder} cannot be used: {error.strerror}", hint) from error
