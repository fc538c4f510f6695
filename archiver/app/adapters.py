"""Each outside thing, made as the settings say."""

from __future__ import annotations

import os
import platform
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from archiver import __version__
from archiver.app.machine import THIS_MACHINE, Machine, utc_now
from archiver.core.errors import LedgerFault, SettingsFault
from archiver.core.model import Policy
from archiver.edge.buffers import BufferBudget
from archiver.edge.downloader import HttpDownloader
from archiver.edge.ledger import SqlLedger, copy, database_of, probe
from archiver.edge.object_store import S3Store
from archiver.edge.owners import OwnerLock
from archiver.edge.record_api import Answered, KieApi
from archiver.notices import Notices
from archiver.ports import Checkpoint, EventLog, Finding, JobCounts, unobserved
from archiver.redaction import Cleaner
from archiver.settings import Settings, data_folder
from archiver.settings.rules import SQLITE

if TYPE_CHECKING:
    from archiver.edge.jobs import Procrastinate

_S3_CONNECTIONS = 256
"""How many idle ones the store's client may keep at least, so that a reload can raise the concurrency."""


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


def open_ledger(
    settings: Settings,
    checkpoint: Checkpoint = unobserved,
    machine: Machine = THIS_MACHINE,
    log: EventLog | None = None,
) -> SqlLedger:
    """Open and, where needed, create or migrate the ledger; raise LedgerFault, or SettingsFault without its driver."""

    def heard(away: LedgerFault) -> None:
        if log is not None:
            log.warning("ledger.away", error=str(away), hint=away.hint)

    with extra("ledger.url", "cluster"):
        return SqlLedger.open(settings.ledger.url, checkpoint=checkpoint, patience=machine.patience, heard=heard)


def probe_ledger(settings: Settings) -> Iterator[Finding]:
    """Look at the server that the ledger is on; raise SettingsFault without its driver."""
    with extra("ledger.url", "cluster"), closing(database_of(settings.ledger.url)) as database:
        yield from probe(database)


def copy_ledger(source: str, target: str, progress: Callable[[str, int], None]) -> Mapping[str, int]:
    """Copy the ledger at one URL into the empty one at another; return the number of rows by table.

    Raises LedgerFault, with nothing copied, or SettingsFault without the driver.
    """
    with extra("a PostgreSQL ledger", "cluster"):
        old, new = database_of(source), database_of(target)
    try:
        return copy(old, new, now=utc_now(), progress=progress)
    finally:
        new.close()
        old.close()


def open_jobs(settings: Settings) -> Procrastinate:
    """Return the queue of jobs beside the ledger, made or upgraded where needed; raise LedgerFault or SettingsFault."""
    with extra("ledger.url", "cluster"):
        from archiver.edge.jobs import Procrastinate  # noqa: PLC0415 - an extra
    return Procrastinate.open(settings.ledger.url)


def job_counts(settings: Settings) -> JobCounts | None:
    """Say how the queue of jobs stands; None where there is none. Raises LedgerFault."""
    if not on_server(settings):
        return None
    with extra("ledger.url", "cluster"):
        from archiver.edge.jobs import counts  # noqa: PLC0415 - an extra
    return counts(settings.ledger.url)


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
    with extra("notify.urls", "notify"):
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


def on_server(settings: Settings) -> bool:
    """Whether processes on other machines may be at work on the same ledger."""
    return not settings.ledger.url.startswith(SQLITE)


def queue_name(settings: Settings) -> str:
    """Return what the ledger calls the queue file: on each machine another may stand under the same path."""
    path = str(settings.queue.path)
    return f"{platform.node()}:{path}" if on_server(settings) else path


def owners_folder(ledger_url: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the processes of this machine that share the ledger keep their locks."""
    if not ledger_url.startswith(SQLITE):
        return data_folder(environ) / "owners"
    database = Path(ledger_url.removeprefix(SQLITE))
    return database.with_name(database.name + ".owners")


def own_lock(settings: Settings) -> OwnerLock:
    """Return this process's proof of life; raise LedgerFault where it cannot be written down."""
    folder = owners_folder(settings.ledger.url)
    try:
        return OwnerLock(folder, shared=on_server(settings))
    except OSError as error:
        hint = "the service needs room for, and the right to write, a small file in that folder"
        raise LedgerFault(f"the ledger's folder of locks {folder} cannot be used: {error.strerror}", hint) from error


@contextmanager
def extra(setting: str, extra: str) -> Iterator[None]:
    """Turn a failing import of what is installed only on demand into a SettingsFault that says how."""
    try:
        yield
    except ImportError as missing:
        raise SettingsFault(
            f"{setting} needs {missing.name}; install it with: pip install 'stem-archiver[{extra}]'"
        ) from missing
