"""The only file of tests that composes the package: builders with defaults, so that a part that moves is met here.

`tests/unit/test_imports.py` holds every other test file to it.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from typer.testing import CliRunner, Result

from archiver.adapters.downloader import BodyLimits, ConnectionOptions, HttpDownloader, Network, Reach
from archiver.adapters.downloader.address import SockAddr
from archiver.adapters.downloader.stored_file import judge
from archiver.adapters.http1 import tcp_connect
from archiver.adapters.jobs import counts
from archiver.adapters.ledger import SqlLedger
from archiver.adapters.ledger.database.faults import LedgerAway
from archiver.adapters.ledger.listings import SqlListings
from archiver.adapters.ledger.permits import SharedPermits
from archiver.adapters.ledger.schema.migrate import HEAD
from archiver.adapters.ledger.schema.tables import metadata
from archiver.adapters.object_store import ObjectOptions, PutSizes, S3Store
from archiver.adapters.object_store import s3_client as _s3_client
from archiver.adapters.object_store.archive import S3Archive
from archiver.adapters.object_store.buffers import BufferBudget
from archiver.adapters.object_store.client import Tries
from archiver.adapters.provider.client import KieApi
from archiver.adapters.provider.file_permits import FilePermits
from archiver.adapters.provider.limiter import LocalPermits, RateLimiter, Spread, Wait
from archiver.adapters.provider.wire import Endpoint
from archiver.adapters.queue_file import QueueFile
from archiver.app.assembly import Role, assembled
from archiver.app.backfill import backfill
from archiver.app.daemon import DaemonProcess, daemon
from archiver.app.machine import Machine
from archiver.app.places import store_name
from archiver.app.tunables import tunables
from archiver.commands.app import app
from archiver.commands.format import jsonable
from archiver.core.capabilities import Capabilities, CreateOnly, Proof
from archiver.core.exclusion import Exclusion
from archiver.core.keys import Names
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Claim, Outcome, Policy
from archiver.logs import configure
from archiver.pipeline.breakers import Breakers
from archiver.pipeline.context import Bucket, Outside, TaskContext
from archiver.pipeline.crowd import Crowd, EnoughWait, WholeCrowd, no_crowd, none_wait
from archiver.pipeline.dispatch import DispatchContext, DispatchOptions, LocalDispatcher
from archiver.pipeline.second_look import SecondLook
from archiver.pipeline.task import Archiver
from archiver.pipeline.transfers import TransferThreads
from archiver.ports.archive import Archive, BrowsedArchive
from archiver.ports.listing import Listings
from archiver.ports.provider import Accounts, Permits
from archiver.ports.runtime import UNWATCHED, Checkpoint, Clock, EventLog, Jitter, Observer, Watch, unobserved
from archiver.ports.store import ObjectStore
from archiver.ports.transfer import Downloader, TransferPool
from archiver.preservation.adoption import Adoption
from archiver.preservation.comparison import Comparison
from archiver.preservation.looks import Looks
from archiver.preservation.rebuild import Rebuild
from archiver.preservation.task_folders import TaskFolders
from archiver.preservation.trimming import Renewing, Trim
from archiver.service.daemon import Job
from archiver.service.liveness import TaskWatch
from archiver.service.supervision import Hangup
from archiver.settings import Settings
from tests.fakes.events import Events
from tests.fakes.object_store import FakeStore
from tests.fakes.observer import Watcher
from tests.fakes.time import Seconds
from tests.fakes.transfers import Inline

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from archiver.app.page import Served

__all__ = [
    "HEAD",
    "Archiver",
    "Breakers",
    "BufferBudget",
    "Crowd",
    "DaemonProcess",
    "DispatchContext",
    "EnoughWait",
    "Hangup",
    "Job",
    "LocalDispatcher",
    "Machine",
    "QueueFile",
    "Role",
    "SockAddr",
    "TaskWatch",
    "TransferThreads",
    "WholeCrowd",
    "assembled",
    "backfill",
    "configure",
    "counts",
    "daemon",
    "jsonable",
    "metadata",
    "no_crowd",
    "none_wait",
    "tcp_connect",
    "tunables",
]

T = TypeVar("T")

AGENT = "stem-archiver-test/1"
API_KEY = "sk-PLANTED-api-key-0123456789"
LEASE = timedelta(minutes=10)
MIB = 1 << 20

Ledger: TypeAlias = SqlLedger
"""All that a test may ask of a ledger."""


def middle() -> float:
    """Stand for jitter: always its mean."""
    return 0.5


# ---------------------------------------------------------------- the ledger


def ledger_at(
    url: str,
    *,
    checkpoint: Checkpoint = unobserved,
    patience: timedelta = timedelta(seconds=30),
    outage: timedelta = timedelta(minutes=1),
    notify: Callable[[LedgerAway], None] = lambda _: None,
) -> Ledger:
    """Open the ledger at `url`, or make it; raise LedgerFault."""
    return SqlLedger.open(url, checkpoint=checkpoint, patience=patience, outage=outage, notify=notify)


def ledger_for_reading(url: str, patience: timedelta) -> Ledger:
    """Open the ledger at `url` as the page does; raise LedgerFault."""
    return SqlLedger.open_for_reading(url, patience=patience, connections=2)


@cache
def _empty_ledger() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        ledger_at(f"sqlite:///{file}").close()
        return file.read_bytes()


def lay_ledger(file: Path) -> None:
    """Put an empty ledger there: a copy, as to make one takes longer than most tests do with it."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(mode=0o600, exist_ok=False)
    file.write_bytes(_empty_ledger())


def ready_ledger_at(url: str, **more: Any) -> Ledger:  # noqa: ANN401 - what `ledger_at` takes
    """Open the ledger at `url`; lay an empty one first where its file is missing."""
    file = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not file.exists():
        lay_ledger(file)
    return ledger_at(url, **more)


def listings_of(ledger: Ledger, *, looked_at: int, narrow: int) -> Listings:
    """Return the listings of a ledger that look at so few tasks."""
    return SqlListings(ledger.db, looked_at=looked_at, narrow=narrow)


def note_proof(settings: Settings, *, now: datetime) -> None:
    """Write into the ledger that the store of these settings was proven: it then is not before the first write."""
    with closing(ready_ledger_at(settings.ledger.url)) as ledger:
        ledger.proofs.note(store_name(settings), Proof(Capabilities(), now))


# ---------------------------------------------------------------- the path


def breakers_on(
    ledger: Ledger, clock: Clock, log: EventLog, accounts: Collection[AccountName] = (DEFAULT_ACCOUNT,)
) -> Breakers:
    return Breakers(ledger.pauses, clock, log, accounts)


def folders_of(archive: Archive, clock: Clock, prefix: str = "p/", policy: Policy = Policy()) -> TaskFolders:  # noqa: B008 - frozen
    return TaskFolders(Adoption(archive, prefix, judge, clock, policy.max_stem_bytes))


def rebuild_on(ledger: Ledger, archive: Archive, clock: Clock, prefix: str = "p/", **more: Any) -> Rebuild:  # noqa: ANN401 - any further field of it
    seconds = Seconds()
    looks = Looks(folders_of(archive, clock, prefix), lambda task: next(iter(ledger.rebuilds.whole([task])), None))
    return Rebuild(looks, ledger.rebuilds, clock, seconds.clock, **more)


def comparison_on(ledger: Ledger, archive: Archive, clock: Clock, prefix: str = "p/", **more: Any) -> Comparison:  # noqa: ANN401 - any further field of it
    return Comparison(Looks(folders_of(archive, clock, prefix)), ledger.rebuilds, **({"sleep": Seconds().sleep} | more))


def trim_on(ledger: Ledger, store: FakeStore, clock: Clock, prefix: str = "p/", **more: Any) -> Trim:  # noqa: ANN401 - any further field of it
    def unneeded() -> None:
        pass

    renewing = Renewing(store, unneeded, unneeded, prefix, "test", clock)
    return Trim(ledger.trimming, store.archive, renewing, prefix, Seconds().clock, **more)


SETTLES_AT_ONCE = Policy(settled_after=timedelta(0))
"""For tasks of one file: it is not waited for another."""


def archiver_on(
    ledger: Ledger,
    breakers: Breakers,
    clock: Clock,
    log: EventLog,
    *,
    api: Accounts,
    downloader: Downloader,
    store: ObjectStore,
    pool: TransferPool | None = None,
    owner: str = "me",
    prefix: str = "p/",
    jitter: Jitter = middle,
    observer: Observer | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    checkpoint: Checkpoint = unobserved,
    steady: Callable[[], float] | None = None,
    exclusion: Exclusion | None = None,
    policy: Policy = SETTLES_AT_ONCE,
    archive: Archive | None = None,
    names: Names = Names.ID,
    watch: Watch = UNWATCHED,
) -> Archiver:
    """Build the path of one task; without a pool its stems are moved in the calling thread."""
    return Archiver(
        TaskContext(
            outside=Outside(
                api,
                downloader,
                store,
                ledger.progress,
                ledger.uploads,
                breakers,
                Inline() if pool is None else pool,
                None if archive is None else Bucket(folders_of(archive, clock, prefix, policy), ledger.adoptions),
            ),
            owner=owner,
            prefix=prefix,
            policy=policy,
            version="test",
            clock=clock,
            jitter=jitter,
            log=log,
            observer=Watcher() if observer is None else observer,
            look=SecondLook(clock, steady or (lambda: clock().timestamp()), Policy().missing_after),
            cancelled=cancelled,
            checkpoint=checkpoint,
            exclusion=Exclusion() if exclusion is None else exclusion,
            names=names,
            watch=watch,
        )
    )


def context_on(
    ledger: Ledger,
    breakers: Breakers,
    clock: Clock,
    log: EventLog,
    *,
    owner: str = "me",
    workers: int = 1,
    lease: timedelta = LEASE,
    **more: Any,  # noqa: ANN401 - any further field of the context
) -> DispatchContext:
    """Build what the dispatchers of one process share."""
    return DispatchContext(ledger.claims, breakers, DispatchOptions(owner, workers, lease), clock, log, **more)


def dispatcher_on(context: DispatchContext, archive: Callable[[Claim], Outcome]) -> LocalDispatcher:
    return LocalDispatcher(context, archive)


# ---------------------------------------------------------------- what is outside


def _taken(kind: type[T], changes: dict[str, Any]) -> T:
    """Make a dataclass of those changes that are its fields."""
    return kind(**{field.name: changes.pop(field.name) for field in fields(kind) if field.name in changes})  # type: ignore[arg-type]  # it is one


def s3_client(**changes: Any) -> S3Client:  # noqa: ANN401 - any argument of the real one
    """Build the client that production has."""
    arguments: dict[str, Any] = {"addressing_style": "path", "max_connections": 4, "user_agent_extra": AGENT}
    arguments["tries"] = _taken(Tries, changes)
    return _s3_client(**(arguments | changes))


def s3_store(client: S3Client, bucket: str, **changes: Any) -> S3Store:  # noqa: ANN401 - any argument of the store
    """Build a store with buffers of 32 MiB, that never sleeps and relies on all that S3 can.

    `changes` are those of its options and sizes too, and what is `known` of it, with the `demand`.
    """
    arguments: dict[str, Any] = {
        "jitter": middle,
        "clock": lambda: datetime.now(UTC),
        "sleep": lambda _: None,
        "options": _taken(ObjectOptions, changes),
        "sizes": _taken(PutSizes, changes),
    }
    if "buffers" not in changes:
        arguments["buffers"] = BufferBudget(32 * MIB)
    known, demand = changes.pop("known", Capabilities()), changes.pop("demand", CreateOnly.REQUIRED)
    store = S3Store(client, bucket=bucket, **(arguments | changes))
    store.rely_on(known, demand)
    return store


def paged_by(archive: Archive, entries: int) -> Archive:
    """Let a real archive ask for so few entries of a listing at a time."""
    return replace(archive, page=entries) if isinstance(archive, S3Archive) else archive


@contextmanager
def downloader(**changes: Any) -> Iterator[HttpDownloader]:  # noqa: ANN401 - any argument of the constructor
    """Build one for plain http on loopback, that trusts no certificate, and never sleeps.

    `changes` are those of the constructor, and of what it is given.
    """
    given: dict[str, Any] = {
        "max_bytes": 10_000_000,
        "min_rate": 0,
        "allow_http": True,
        "allow_private_addresses": True,
        "read_timeout": 5.0,
        "ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        "user_agent": AGENT,
        "sleep": Seconds().sleep,
        "jitter": middle,
        **changes,
    }
    client = HttpDownloader(
        limits=_taken(BodyLimits, given),
        reach=_taken(Reach, given),
        connections=_taken(ConnectionOptions, given),
        network=_taken(Network, given),
        **given,
    )
    try:
        yield client
    finally:
        client.close()


def local_permits(limit: int, window: float, *, clock: Callable[[], float]) -> Permits:
    return LocalPermits(limit, window, clock=clock)


def file_permits(
    file: Path, limit: int, *, window: float, longest: float, clock: Callable[[], float] = time.monotonic
) -> Permits:
    return FilePermits(file, limit, window=window, longest=longest, clock=clock)


def server_permits(ledger: SqlLedger, account: str, limit: int, *, window: float, longest: float) -> Permits:
    """Build those of an account as one of its processes has them."""
    return SharedPermits(
        ledger.db.run,
        account=account,
        limit=limit,
        window=window,
        longest=longest,
        jitter=middle,
        clock=time.monotonic,
    )


def rate_limiter(
    limit: int, window: float, *, clock: Callable[[], float], wait: Wait, spread: Spread | None = None
) -> RateLimiter:
    return RateLimiter(LocalPermits(limit, window, clock=clock), clock=clock, wait=wait, spread=spread)


def spread_limiter(limit: int, window: float, *, clock: Callable[[], float], wait: Wait) -> RateLimiter:
    """Build one as production has it."""
    return rate_limiter(limit, window, clock=clock, wait=wait, spread=Spread(limit, window))


def kie_api(base_url: str, **changes: Any) -> KieApi:  # noqa: ANN401 - any argument of those it builds
    """Build a client of the provider on fake time; `changes` are those of Endpoint, permits, limiter and KieApi."""
    seconds = Seconds(50_000.0)
    given: dict[str, Any] = {"clock": seconds.clock, "wait": seconds.wait, "limit": 1000, "window": 10, **changes}
    endpoint: dict[str, Any] = {"base_url": base_url, "user_agent": "stem-archiver/test", "allow_http": True}
    endpoint |= {name: given.pop(name) for name in ("user_agent", "proxy", "allow_http", "flavour") if name in given}
    limiter = rate_limiter(given.pop("limit"), given.pop("window"), clock=given["clock"], wait=given.pop("wait"))
    plain: dict[str, Any] = {"api_key": API_KEY, "timeout": 5.0, "jitter": middle, "log": Events()}
    return KieApi(Endpoint(**endpoint), limiter=limiter, **(plain | given))


# ---------------------------------------------------------------- the whole


def command(*words: str, env: Mapping[str, str | None] | None = None, stdin: str | None = None) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, words, env=env, input=stdin)


@contextmanager
def page_on(settings: Settings, log: EventLog | None = None, archive: BrowsedArchive | None = None) -> Iterator[Served]:
    """Serve the page of these settings in this process; with an `archive` in the place of their bucket."""
    from archiver.app.ledger import open_for_reading
    from archiver.app.page import serving

    opens = None if archive is None else lambda: archive
    with (
        closing(open_for_reading(settings)) as ledger,
        serving(settings, log or Events(), ledger=ledger, archive=opens) as served,
    ):
        yield served


def page_copy(settings: Settings, ledger: SqlLedger, into: Path) -> None:
    """Write a static copy of the page of these settings."""
    from archiver.app.page_copy import copy_page

    copy_page(settings, Events(), ledger, into)
