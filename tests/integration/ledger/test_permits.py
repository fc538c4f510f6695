"""The permits of requests that processes share on a server: exact, by its clock, whoever dies."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from multiprocessing.queues import Queue
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from archiver.adapters.ledger.permits import SharedPermits, Transact
from archiver.adapters.provider.limiter import RateLimiter
from archiver.app.adapters import open_accounts
from archiver.app.ledger import open_ledger
from archiver.core.errors import ApiThrottled, LedgerFault
from archiver.core.model import AccountName, TaskId
from archiver.demo.emulator import API_KEY, Emulator
from archiver.ports.provider import NoPermit
from archiver.settings import load
from tests.fakes.events import Events
from tests.fixtures.ledgers import rows
from tests.fixtures.permits import hammer, most_in, taken, times_of_three, wait_of
from tests.fixtures.postgres import PostgresServer
from tests.house import ledger_at

T = TypeVar("T")

WINDOW = 0.6
LONGEST = 1.0
Make = Callable[..., SharedPermits]


@pytest.fixture
def url(postgres: PostgresServer, postgres_ledger: str) -> str:
    return postgres.url(postgres_ledger)


def shared(transact: Transact, limit: int, account: str = "default", window: float = WINDOW) -> SharedPermits:
    return SharedPermits(
        transact,
        account=account,
        limit=limit,
        window=window,
        longest=LONGEST,
        jitter=random.random,
        clock=time.monotonic,
    )


@pytest.fixture
def make(url: str) -> Iterator[Make]:
    """Each as a process of its own would have it: with connections of its own."""
    with ExitStack() as stack:

        def make(limit: int = 2, account: str = "default", window: float = WINDOW) -> SharedPermits:
            ledger = stack.enter_context(closing(ledger_at(url)))
            return shared(ledger.db.run, limit, account, window)

        yield make


def test_permit_that_came_too_late_to_be_used_is_given_back(url: str) -> None:
    with closing(ledger_at(url)) as ledger:
        late = iter([0.0, 5.1, 5.1, 10.0])
        permits = SharedPermits(
            ledger.db.run,
            account="default",
            limit=1,
            window=WINDOW,
            longest=LONGEST,
            jitter=random.random,
            clock=lambda: next(late),
        )
        assert permits.take() == NoPermit(0.0)
        assert rows(url, "SELECT holder FROM pace_slots") == [(None,)]
        rows(url, "UPDATE pace_slots SET free_at = 1 RETURNING 1")
        taken(permits)


def test_cool_down_holds_for_all_who_share_the_account(make: Make) -> None:
    one, other, another_account = make(), make(), make(account="second")
    one.cool_down(20)
    one.cool_down(5)
    found = wait_of(other)
    assert 19 < found.cooling <= 20
    assert other.left() == 0
    taken(another_account)
    limiter = RateLimiter(other, clock=time.monotonic, wait=threading.Condition.wait)
    with pytest.raises(ApiThrottled) as caught, limiter.permit(10):
        pass
    assert caught.value.retry_after is not None
    assert 18 < caught.value.retry_after <= 20


def test_limit_that_is_lowered_counts_what_is_out_or_at_rest(make: Make, url: str) -> None:
    one, other = make(4, window=30), make(4, window=30)
    for _ in range(3):
        one.give_back(taken(one))
    other.resize(2)
    assert (other.left(), one.left()) == (0, 0)
    assert wait_of(one).seconds > 25
    rows(url, "UPDATE pace_slots SET free_at = 1 WHERE number <= 2 RETURNING 1")
    assert one.left() == 1, "one above the limit is still at rest"
    taken(one)
    wait_of(one)


def test_times_that_were_written_before_the_clock_was_set_back_count_for_a_window_at_most(make: Make, url: str) -> None:
    permits = make(1)
    assert permits.left() == 1
    later = "CAST(1000000 * extract(epoch FROM clock_timestamp() + interval '%d s') AS bigint)"
    rows(url, f"UPDATE pace_slots SET free_at = {later % 3600} RETURNING 1")
    rows(url, f"UPDATE paces SET cool_until = {later % 599} RETURNING 1")
    assert 590 < wait_of(permits).cooling <= 599
    rows(url, f"UPDATE paces SET cool_until = {later % 603} RETURNING 1")
    found = wait_of(permits)
    assert found.cooling == 0
    assert found.seconds <= WINDOW + 0.1
    time.sleep(WINDOW + 0.05)
    taken(permits)


def test_permit_that_cannot_be_given_back_is_left_to_its_lease(url: str) -> None:
    with closing(ledger_at(url)) as ledger:
        line = Line(ledger.db.run)
        permits = shared(line, 2)
        mine = taken(permits)
        line.cut = True
        permits.give_back(mine)
        assert permits.left() == 0
        with pytest.raises(LedgerFault):
            permits.take()
    assert rows(url, "SELECT count(*) FROM pace_slots WHERE holder IS NOT NULL") == [(1,)]


class Line:
    """The way to the server, which may be cut."""

    def __init__(self, transact: Transact) -> None:
        self._transact = transact
        self.cut = False

    def __call__(self, work: Callable[[Connection], T], /) -> T:
        if self.cut:
            raise LedgerFault("away", "")
        return self._transact(work)


def _hammer(url: str, seed: int, requests: int, came: Queue[float]) -> None:
    with closing(ledger_at(url)) as ledger:
        limiter = RateLimiter(shared(ledger.db.run, 4), clock=time.monotonic, wait=threading.Condition.wait)
        hammer(limiter.permit, seed, requests, came)


def test_three_processes_together_keep_one_rate_exactly_and_none_starves(url: str) -> None:
    times = times_of_three(_hammer, url, 12)
    assert most_in(times, WINDOW) == 4
    assert max(times) - min(times) < 36 / 4 * WINDOW * 3, "no time is wasted"


def test_process_that_is_killed_with_every_permit_holds_up_the_others_for_a_lease_at_most(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    held: Queue[float] = context.Queue()
    worker = context.Process(target=_take_all, args=(url, held))
    worker.start()
    held.get(timeout=60)
    worker.kill()
    worker.join(30)
    began = time.monotonic()
    with closing(ledger_at(url)) as ledger:
        limiter = RateLimiter(shared(ledger.db.run, 2), clock=time.monotonic, wait=threading.Condition.wait)
        with limiter.permit(60):
            assert time.monotonic() - began < 5 + LONGEST + WINDOW + 3


def _take_all(url: str, held: Queue[float]) -> None:
    with closing(ledger_at(url)) as ledger:
        permits = shared(ledger.db.run, 2)
        for _ in range(2):
            taken(permits)
        held.put(0)
        time.sleep(60)


# --- the whole, counted where the provider counts

WORKERS = 3
REQUESTS = 41
"""For each account: two full windows, and one more."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_three_workers_with_two_accounts_send_each_accounts_limit_and_no_more(url: str, tmp_path: Path) -> None:
    config = tmp_path / "archiver.toml"
    config.touch(mode=0o600)
    with Emulator(further_keys=["key-of-the-second"], enforce_rate_limit=True) as emulator:
        config.write_text(
            f'[provider]\nbase_url = "{emulator.base_url}"\napi_key = "{API_KEY}"\n'
            '[[provider.accounts]]\nname = "second"\napi_key = "key-of-the-second"\n'
            f'[download]\nallow_http = true\n[ledger]\nurl = "{url}"\n'
        )
        context = multiprocessing.get_context("spawn")
        jobs: Queue[str | None] = context.Queue()
        workers = [context.Process(target=_work, args=(config, jobs)) for _ in range(WORKERS)]
        for account in ("default", "second") * REQUESTS:
            jobs.put(account)
        for _ in range(WORKERS * THREADS):
            jobs.put(None)
        began = time.monotonic()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
            assert worker.exitcode == 0
        seen = emulator.requests
    assert {each.status for each in seen} == {200}
    by_key = Counter(each.headers["authorization"] for each in seen)
    assert by_key == {f"Bearer {API_KEY}": REQUESTS, "Bearer key-of-the-second": REQUESTS}
    for key in by_key:
        times = [each.at for each in seen if each.headers["authorization"] == key]
        assert most_in(times, 10.0) == 20
        assert max(times) - began < 45


THREADS = 8


def _work(config: Path, jobs: Queue[str | None]) -> None:
    """A worker: the clients as the service makes them, many threads that each ask for whatever comes next."""
    settings = load(config, {"HOME": str(config.parent)}, search=()).settings
    log = Events()
    with (
        closing(open_ledger(settings)) as ledger,
        closing(open_accounts(settings, log, ledger=ledger)) as accounts,
        ThreadPoolExecutor(THREADS) as pool,
    ):

        def ask() -> None:
            while (account := jobs.get()) is not None:
                accounts.of(AccountName(account)).fetch(TaskId("task-0001"))

        for each in [pool.submit(ask) for _ in range(THREADS)]:
            each.result()
    assert log.of("api.retry") == []
