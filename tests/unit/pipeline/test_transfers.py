"""The transfer threads: their order, their number, and a limit for each host."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import pytest

from archiver.core.model import Dependency
from archiver.core.transfer import Transfer
from archiver.pipeline.lanes import Lanes
from archiver.pipeline.transfers import TransferThreads
from tests.fakes.events import Events
from tests.fakes.threads import no_threads
from tests.fakes.time import NOW


def test_pool_when_full_runs_the_earliest_deadline_first() -> None:
    pool = TransferThreads(1)
    gate, order = threading.Event(), []
    pool.submit(Transfer(NOW), gate.wait)  # type: ignore[arg-type]  # the result of wait is of no interest
    days = [9, 3, 7, 1, 5]
    futures = [pool.submit(Transfer(NOW + timedelta(days=day)), lambda day=day: order.append(day)) for day in days]  # type: ignore[misc]
    gate.set()
    for future in futures:
        future.result(5)
    pool.close()
    assert order == sorted(days)


def test_pool_with_equal_deadlines_keeps_the_order_of_submission() -> None:
    pool = TransferThreads(1)
    gate, order = threading.Event(), []
    pool.submit(Transfer(NOW), gate.wait)  # type: ignore[arg-type]  # see above
    futures = [pool.submit(Transfer(NOW), lambda n=n: order.append(n)) for n in range(20)]  # type: ignore[misc]
    gate.set()
    for future in futures:
        future.result(5)
    pool.close()
    assert order == list(range(20))


def test_pool_when_work_raises_hands_the_error_to_the_waiter_and_lives_on() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    pool = TransferThreads(1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(Transfer(NOW), fail).result(5)
    assert pool.submit(Transfer(NOW), lambda: None).result(5) is None
    pool.close()


def test_pool_that_got_no_threads_has_them_once_they_can_be_had() -> None:
    events = Events()
    with no_threads():
        pool = TransferThreads(2, log=events)
        future = pool.submit(Transfer(NOW), lambda: None)
        pool.crowd(1, wait=False)
    assert len(events.of("thread.refused")) == 2
    pool.crowd(1, wait=False)
    assert future.result(5) is None
    pool.close()


def test_pool_after_close_takes_nothing_more_and_ends_its_threads() -> None:
    pool = TransferThreads(3)
    pool.close()
    with pytest.raises(RuntimeError):
        pool.submit(Transfer(NOW), lambda: None)
    for thread in pool._threads:  # white box: that they end is the promise
        thread.join(5)
        assert not thread.is_alive()


def test_pool_when_made_larger_takes_more_at_once() -> None:
    pool = TransferThreads(1)
    both = threading.Barrier(2)
    futures = [pool.submit(Transfer(NOW), lambda: both.wait(30)) for _ in range(2)]  # type: ignore[arg-type]  # see above
    assert not any(future.done() for future in futures)
    pool.resize(2)
    for future in futures:
        future.result(30)
    pool.close()


def test_pool_when_made_smaller_finishes_what_it_is_at_and_keeps_to_the_new_size() -> None:
    pool = TransferThreads(3)
    gate, at_work, most = threading.Event(), threading.Semaphore(0), Most()

    def begun() -> None:
        at_work.release()
        gate.wait(30)

    early = [pool.submit(Transfer(NOW), begun) for _ in range(3)]
    for _ in early:
        assert at_work.acquire(timeout=30)
    pool.resize(1)
    late = [pool.submit(Transfer(NOW), most) for _ in range(6)]
    gate.set()
    for future in early + late:
        future.result(30)
    assert most.seen == 1
    pool.close()


class Most:
    """Work that notes how much of it ran at one time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.seen = 0

    def __call__(self) -> None:
        with self.lock:
            self.now += 1
            self.seen = max(self.seen, self.now)
        time.sleep(0.02)  # gives others the chance to overlap
        with self.lock:
            self.now -= 1


class Gated:
    """Work that waits to be let go, and is counted while it runs."""

    def __init__(self) -> None:
        self.gate, self.begun = threading.Event(), threading.Semaphore(0)
        self.names: list[str] = []

    def of(self, name: str) -> Callable[[], None]:
        def work() -> None:
            self.names.append(name)
            self.begun.release()
            self.gate.wait(30)

        return work

    def wait_for(self, number: int) -> list[str]:
        for _ in range(number):
            assert self.begun.acquire(timeout=30)
        return sorted(self.names)


# --- those that hang


@pytest.mark.parametrize("adapts", [False, True])
def test_transfers_that_get_no_answer_leave_threads_to_others_and_not_to_their_own_tasks(*, adapts: bool) -> None:
    now = [0.0]
    pool = TransferThreads(4, adapts=adapts, clock=lambda: now[0])
    level, work = pool._lanes.level, Gated()  # white box: how many there are at first is of no interest
    silent = [Transfer(NOW, "cdn.example", task="bad", stem=str(n)) for n in range(3 * level)]
    futures = [pool.submit(each, work.of("bad")) for each in silent]
    work.wait_for(level)
    futures.append(pool.submit(Transfer(NOW + timedelta(days=1), "cdn.example", task="good"), work.of("good")))
    assert pool.crowd(8, wait=False) == 0, "they may have an answer soon"
    now[0] += 3
    assert pool.crowd(8, wait=False) == 1, "one task is held up"
    assert work.wait_for(1) == ["bad"] * level + ["good"]
    pool.announced(silent[0], 10)
    assert pool.crowd(2, wait=False) == 0, "it has an answer"
    work.gate.set()
    for future in futures:
        future.result(30)
    pool.close()


def test_pool_tells_for_a_while_that_half_of_the_workers_were_held_up() -> None:
    now = [0.0]
    pool = TransferThreads(2, clock=lambda: now[0])
    work = Gated()
    future = pool.submit(Transfer(NOW, "dead.example", task="bad"), work.of("bad"))
    work.wait_for(1)
    now[0] += 3
    assert (pool.crowd(3, wait=False), pool.held_up()) == (1, False)
    assert (pool.crowd(2, wait=False), pool.held_up()) == (1, True)
    work.gate.set()
    future.result(30)
    now[0] += 50
    assert (pool.crowd(2, wait=False), pool.held_up()) == (0, True)
    now[0] += 20
    assert not pool.held_up()
    pool.close()


# --- a limit for each host


def refused_to_one(pool: TransferThreads, host: str) -> None:
    while pool._lanes._lanes[host].limit.level > 1:  # type: ignore[union-attr]  # white box: what is refused is let less
        pool.refused(host)


def test_pool_that_adapts_starts_with_few_of_its_threads() -> None:
    work = Gated()
    with closing(TransferThreads(64, adapts=True)) as pool:
        futures = [pool.submit(Transfer(NOW, "a"), work.of(f"a{n}")) for n in range(9)]
        assert work.wait_for(4) == ["a0", "a1", "a2", "a3"]
        assert pool.limits() == {Dependency.ORIGIN: 4, Dependency.STORE: 4}
        assert not work.begun.acquire(timeout=0.05)
        work.gate.set()
        for future in futures:
            future.result(30)


def test_host_that_is_full_keeps_no_thread_from_the_stems_of_another() -> None:
    work, later = Gated(), NOW + timedelta(days=1)
    with closing(TransferThreads(64, adapts=True)) as pool:
        pool.submit(Transfer(NOW, "a"), lambda: None).result(30)
        refused_to_one(pool, "a")
        futures = [pool.submit(Transfer(NOW, "a"), work.of(f"a{n}")) for n in range(3)]
        futures += [pool.submit(Transfer(later, "b"), work.of(f"b{n}")) for n in range(3)]
        assert work.wait_for(4) == ["a0", "b0", "b1", "b2"], "the one that is full has the nearer deadline"
        work.gate.set()
        for future in futures:
            future.result(30)
        assert len(work.names) == 6


def test_host_that_has_room_again_is_served_by_threads_that_wait() -> None:
    work, log = Gated(), Events()
    with closing(TransferThreads(64, adapts=True, clock=Ticks(), log=log)) as pool:
        pool.submit(Transfer(NOW, "a"), lambda: None).result(30)
        refused_to_one(pool, "a")
        futures = [pool.submit(Transfer(NOW, "a"), work.of(f"a{n}")) for n in range(9)]
        work.wait_for(1)
        while pool.limits()[Dependency.ORIGIN] == 1:
            pool.moved("a", 1_000_000)
        work.wait_for(1)
        work.gate.set()
        for future in futures:
            future.result(30)
    changes = log.of("concurrency.changed")
    assert changes[0] == {"host": "a", "before": 4, "now": 2, "reason": "busy"}
    assert {"host": "a", "before": 1, "now": 2, "reason": "trial"} in changes


def test_store_that_is_busy_lets_threads_end() -> None:
    work = Gated()
    with closing(TransferThreads(64, adapts=True)) as pool:
        futures = [pool.submit(Transfer(NOW, "a"), work.of(f"a{n}")) for n in range(8)]
        work.wait_for(4)
        pool.store_refused()
        assert pool.limits()[Dependency.STORE] == 2
        work.gate.set()
        for future in futures:
            future.result(30)
        alive = [thread for thread in list(pool._threads) if thread.is_alive()]
        assert len(alive) == 2


def test_pool_that_is_resized_from_adapting_to_a_number_has_all_its_threads_for_one_host() -> None:
    work = Gated()
    with closing(TransferThreads(64, adapts=True)) as pool:
        pool.submit(Transfer(NOW, "a"), lambda: None).result(30)
        refused_to_one(pool, "a")
        futures = [pool.submit(Transfer(NOW, "a"), work.of(f"a{n}")) for n in range(6)]
        work.wait_for(1)
        pool.resize(6)
        work.wait_for(5)
        pool.resize(2, adapts=True)
        assert pool.limits() == {Dependency.ORIGIN: 2, Dependency.STORE: 2}
        work.gate.set()
        for future in futures:
            future.result(30)


def test_pool_closed_while_a_host_is_full_still_runs_all_that_was_submitted() -> None:
    work = Gated()
    pool = TransferThreads(64, adapts=True)
    pool.submit(Transfer(NOW, "a"), lambda: None).result(30)
    refused_to_one(pool, "a")
    futures = [pool.submit(Transfer(NOW, "a"), work.of(f"a{n}")) for n in range(5)]
    work.wait_for(1)
    pool.close()
    work.gate.set()
    for future in futures:
        future.result(30)
    for thread in list(pool._threads):
        thread.join(30)
        assert not thread.is_alive()


def test_lanes_of_hosts_that_are_gone_are_forgotten_and_none_with_work_in_it() -> None:
    lanes = Lanes[str](2, adapts=True, clock=Ticks())
    lanes.put(Transfer(NOW + timedelta(days=1), "kept"), "waits")
    for n in range(192):
        lanes.put(Transfer(NOW, f"host-{n}"), "passes")
        taken = lanes.take()
        assert taken is not None
        assert taken[1] == "passes"
        lanes.end(taken[0])
    assert len(lanes._lanes) <= 64  # white box: it bounds memory
    last = lanes.take()
    assert last is not None
    assert last[1] == "waits"
    assert not lanes.waiting


class Ticks:
    """A clock that goes on by a quarter of a second each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now
