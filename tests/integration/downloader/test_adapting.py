"""Concurrency that finds itself, on real sockets: pool, downloader and an origin that takes only so many at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from archiver.adapters.downloader import HttpDownloader
from archiver.core.errors import ArchiverError, OriginBusy
from archiver.core.model import Dependency
from archiver.core.text import host_of
from archiver.core.transfer import Transfer
from tests.fakes.audio import mp3
from tests.fakes.origin import Origin
from tests.fakes.scripted import Reply, Request
from tests.fakes.time import NOW
from tests.fixtures.fetching import fetch
from tests.house import TransferThreads, downloader

SONG = mp3(20_000)
SECONDS = 0.02
"""What the origin needs for a stem."""
FASTER = 8
"""How much faster the pool's clock goes, so that its windows fit into a test."""


@dataclass
class Counter:
    """Serves so many at a time; the others wait, or are sent away."""

    at_once: int
    refuses: bool
    lock: threading.Lock = field(default_factory=threading.Lock)
    active: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        self.places = threading.Semaphore(self.at_once)

    def __call__(self, request: Request) -> Reply:
        if not self.places.acquire(blocking=not self.refuses):
            with self.lock:
                self.refused += 1
            return Reply(status=503)
        try:
            time.sleep(SECONDS)
            return Reply(SONG)
        finally:
            self.places.release()


@dataclass
class Transfers:
    """Keeps twenty stems waiting for a pool that moves them."""

    client: HttpDownloader
    pool: TransferThreads
    url: str
    fetched: int = 0
    failed: list[ArchiverError] = field(default_factory=list)
    going: bool = True

    def one(self) -> None:
        try:
            fetch(self.client, self.url)
        except ArchiverError as error:
            self.failed.append(error)
        else:
            self.fetched += 1
            self.pool.moved(host_of(self.url), len(SONG))
        if self.going:
            self.more()

    def more(self) -> None:
        self.pool.submit(Transfer(NOW, host_of(self.url)), self.one)


@contextmanager
def transfers(cdn: Origin, counter: Counter) -> Iterator[Transfers]:
    pool = TransferThreads(20, adapts=True, clock=lambda: FASTER * time.monotonic())
    with downloader(most_idle=20, on_failure=pool.refused) as client:
        underway = Transfers(client, pool, cdn.script(counter))
        with closing(pool):
            for _ in range(40):
                underway.more()
            yield underway
            underway.going = False
        # White box: no thread may outlive the client and the origin, nor one that the last transfers have let begin.
        until = time.monotonic() + 30
        while pool._threads and time.monotonic() < until:
            time.sleep(0.01)


def levels(pool: TransferThreads, seconds: float) -> list[int]:
    """Return the limit of the origin's host a hundred times over that while."""
    seen = []
    for _ in range(100):
        time.sleep(seconds / 100)
        seen.append(min(pool.limits()[name] for name in (Dependency.ORIGIN, Dependency.STORE)))
    return seen


def test_concurrency_grows_to_what_the_origin_takes_and_stays_near_it() -> None:
    counter = Counter(8, refuses=False)
    with Origin() as cdn, transfers(cdn, counter) as underway:
        levels(underway.pool, 3)
        steady = levels(underway.pool, 2)
        assert 5 <= sum(steady) / len(steady) <= 14, steady
    assert not underway.failed


def test_concurrency_backs_off_where_the_origin_refuses_more_and_nearly_all_is_fetched() -> None:
    counter = Counter(6, refuses=True)
    with Origin() as cdn, transfers(cdn, counter) as underway:
        levels(underway.pool, 2)
        before = counter.refused
        steady = levels(underway.pool, 2.5)
        assert 2 <= sum(steady) / len(steady) <= 7, steady
        assert counter.refused - before < 200, "with twenty at a time it would be thousands"
    assert all(isinstance(error, OriginBusy) for error in underway.failed)
    assert underway.fetched > 20 * len(underway.failed)
