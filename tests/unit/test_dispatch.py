"""The dispatcher's parts that need no ledger: the stem pool's order."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from archiver.dispatch import StemPool

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_stem_pool_when_full_runs_the_earliest_deadline_first() -> None:
    pool = StemPool(1)
    gate, order = threading.Event(), []
    pool.submit(NOW, gate.wait)  # type: ignore[arg-type]  # the result of wait is of no interest
    days = [9, 3, 7, 1, 5]
    futures = [pool.submit(NOW + timedelta(days=day), lambda day=day: order.append(day)) for day in days]  # type: ignore[misc]
    gate.set()
    for future in futures:
        future.result(5)
    pool.close()
    assert order == sorted(days)


def test_stem_pool_with_equal_deadlines_keeps_the_order_of_submission() -> None:
    pool = StemPool(1)
    gate, order = threading.Event(), []
    pool.submit(NOW, gate.wait)  # type: ignore[arg-type]  # see above
    futures = [pool.submit(NOW, lambda n=n: order.append(n)) for n in range(20)]  # type: ignore[misc]
    gate.set()
    for future in futures:
        future.result(5)
    pool.close()
    assert order == list(range(20))


def test_stem_pool_when_work_raises_hands_the_error_to_the_waiter_and_lives_on() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    pool = StemPool(1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(NOW, fail).result(5)
    assert pool.submit(NOW, lambda: None).result(5) is None
    pool.close()


def test_stem_pool_after_close_takes_nothing_more_and_ends_its_threads() -> None:
    pool = StemPool(3)
    pool.close()
    with pytest.raises(RuntimeError):
        pool.submit(NOW, lambda: None)
    for thread in pool._threads:  # white box: that they end is the promise
        thread.join(5)
        assert not thread.is_alive()


def test_stem_pool_when_made_larger_takes_more_at_once() -> None:
    pool = StemPool(1)
    both = threading.Barrier(2)
    futures = [pool.submit(NOW, lambda: both.wait(30)) for _ in range(2)]  # type: ignore[arg-type]  # see above
    assert not any(future.done() for future in futures)
    pool.resize(2)
    for future in futures:
        future.result(30)
    pool.close()


def test_stem_pool_when_made_smaller_finishes_what_it_is_at_and_keeps_to_the_new_size() -> None:
    pool = StemPool(3)
    gate, at_work, most = threading.Event(), threading.Semaphore(0), Most()

    def begun() -> None:
        at_work.release()
        gate.wait(30)

    early = [pool.submit(NOW, begun) for _ in range(3)]
    for _ in early:
        assert at_work.acquire(timeout=30)
    pool.resize(1)
    late = [pool.submit(NOW, most) for _ in range(6)]
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
