"""The dispatcher's parts that need no ledger: the stem pool's order."""

from __future__ import annotations

import threading
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
