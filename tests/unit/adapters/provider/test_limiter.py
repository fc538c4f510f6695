"""The limiter of API requests: exact where the provider counts, fair, and easy to stop."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.adapters.provider.limiter import HELD, LocalPermits, RateLimiter, Spread
from archiver.core.errors import ApiBusy, ApiThrottled
from tests.fakes.time import Seconds
from tests.fakes.waiting import until
from tests.fixtures.permits import most_in

pytestmark = pytest.mark.long


def real_limiter(limit: int, window: float) -> RateLimiter:
    permits = LocalPermits(limit, window, clock=time.monotonic)
    return RateLimiter(permits, clock=time.monotonic, wait=threading.Condition.wait)


class PacedTime(Seconds):
    def limiter(self, limit: int, window: float) -> RateLimiter:
        return RateLimiter(LocalPermits(limit, window, clock=self.clock), clock=self.clock, wait=self.wait)


def test_limiter_when_threads_hammer_and_the_way_is_uneven_is_exact_at_the_far_end() -> None:
    limit, window = 5, 0.3
    limiter = real_limiter(limit, window)
    uneven = random.Random(7)
    arrivals: list[float] = []

    def request() -> None:
        with limiter.permit(30):
            time.sleep(uneven.choice((0, 0, 0.01, 0.08)))
            arrivals.append(time.monotonic())
            time.sleep(uneven.choice((0, 0, 0.02)))

    with ThreadPoolExecutor(8) as pool:
        for _ in range(32):
            pool.submit(request)
    assert len(arrivals) == 32
    assert most_in(arrivals, window) <= limit


def test_limiter_when_unhindered_uses_the_whole_budget_at_once_and_again_after_the_window() -> None:
    fake = PacedTime()
    limiter = fake.limiter(4, 10)
    sent = []
    for _ in range(12):
        with limiter.permit(30):
            sent.append(fake.now - 1000)
    assert sent == [0.0] * 4 + [10.0] * 4 + [20.0] * 4


def test_permit_when_its_request_is_under_way_for_long_rests_from_the_answer_on() -> None:
    fake = PacedTime()
    limiter = fake.limiter(1, 10)
    with limiter.permit(30):
        fake.now += 8
    with limiter.permit(30):
        assert fake.now == 1018


def test_permit_when_its_request_fails_is_given_back() -> None:
    fake = PacedTime()
    limiter = fake.limiter(1, 10)
    with pytest.raises(RuntimeError), limiter.permit(30):
        raise RuntimeError
    with limiter.permit(30):
        assert fake.now == 1010


def test_permit_when_several_wait_are_had_in_the_order_of_asking() -> None:
    limiter = real_limiter(1, 0.02)
    order: list[int] = []
    asked = threading.Semaphore(0)

    def request(number: int) -> None:
        asked.release()
        with limiter.permit(30):
            order.append(number)

    threads = [threading.Thread(target=request, args=(number,)) for number in range(6)]
    with limiter.permit(30):
        for number, thread in enumerate(threads):
            thread.start()
            asked.acquire()
            until(lambda number=number: len(limiter._line._others) == number + 1)  # type: ignore[misc]  # the line is not shown otherwise
    for thread in threads:
        thread.join(5)
    assert order == list(range(6))


def test_permits_go_to_those_who_go_first_and_one_in_six_to_the_others() -> None:
    limiter = real_limiter(1, 0.02)
    order: list[bool] = []

    def request(first: bool) -> None:
        with limiter.permit(30, first=first):
            order.append(first)

    threads = [threading.Thread(target=request, args=(number >= 6,)) for number in range(18)]
    with limiter.permit(30):
        for thread in threads:
            thread.start()
        until(lambda: len(limiter._line._first) == 12 and len(limiter._line._others) == 6)
    for thread in threads:
        thread.join(5)
    assert len(order) == 18
    assert all(order[n : n + 6].count(False) == 1 for n in range(8))


def test_spread_lets_half_go_at_once_after_a_quiet_time_and_then_one_at_a_time() -> None:
    """Of those who do not go first; three quarters of those who do."""
    for first, at_once in ((False, 10), (True, 15)):
        spread, now = Spread(20, 10), 1000.0
        for _ in range(2):
            for _ in range(at_once):
                assert spread.wait(now, first=first) == 0
                spread.goes(now, first=first)
            for _ in range(30):
                assert spread.wait(now, first=first) == pytest.approx(0.5)
                now += 0.5
                spread.goes(now, first=first)
            now += 60


def test_spread_of_few_permits_lets_all_go_at_once() -> None:
    spread = Spread(7, 10)
    for first in (False, True):
        for _ in range(7):
            spread.goes(0, first=first)
            assert spread.wait(0, first=True) == spread.wait(0, first=False) == 0
    spread.resize(8)
    for _ in range(7):
        spread.goes(0)
    assert spread.wait(0) > 0


def test_others_leave_permits_to_those_who_go_first_and_have_one_in_six_whatever_comes() -> None:
    spread, now, sent = Spread(20, 10), 1000.0, Counter[int]()
    for step in range(400):
        now += 0.25
        if step % 40 == 0:
            spread.goes(now, first=True)
        if spread.wait(now, first=False, beside=step >= 200) == 0:
            spread.goes(now, first=False)
            sent[step // 40] += 1
    assert all(13 <= sent[window] <= 16 for window in range(1, 5))
    assert all(3 <= sent[window] <= 4 for window in range(6, 10))


def test_permits_are_held_for_nobody_where_none_went_first_of_late() -> None:
    spread, now, sent = Spread(20, 10), 1000.0, 0
    spread.goes(now, first=True)
    now += HELD + 1
    for _ in range(400):
        now += 0.25
        if spread.wait(now, first=False) == 0:
            spread.goes(now, first=False)
            sent += 1
    assert sent >= 200


@given(gaps=st.lists(st.floats(0.5, 30), min_size=5, max_size=60))
def test_whoever_goes_first_waits_for_no_flood_of_others(gaps: list[float]) -> None:
    """On fake time, beside others of whom one waits always: as long as by themselves, and a few requests more."""
    alone = _waits(gaps, others=False)
    beside = _waits(gaps, others=True)
    assert all(its <= by_itself + 5 * 0.5 for its, by_itself in zip(beside, alone, strict=True))


def _waits(gaps: list[float], *, others: bool) -> list[float]:
    """Return how long each waits who goes first, and comes so long after the one before."""
    spread, permits, now = Spread(20, 10), LocalPermits(20, 10, clock=lambda: now), 0.0
    coming, waiting, waits = list(itertools.accumulate(gaps, initial=20.0))[1:], deque[float](), list[float]()
    spread.goes(now, first=True)
    while len(waits) < len(gaps):
        while coming and coming[0] <= now:
            waiting.append(coming.pop(0))
        first = bool(waiting) and not (others and spread.other_is_due(now))
        paced = spread.wait(now, first=first, beside=bool(waiting)) if first or others else 0.05
        if paced <= 0 and isinstance(permit := permits.take(), str):
            permits.give_back(permit)
            spread.goes(now, first=first)
            waits += [now - waiting.popleft()] if first else []
        else:
            now += 0.05
    return waits


def test_permit_when_cooling_down_waits_for_its_end() -> None:
    fake = PacedTime()
    limiter = fake.limiter(4, 10)
    limiter.cool_down(12)
    limiter.cool_down(3)
    with limiter.permit(30):
        assert fake.now == 1012


def test_permit_when_the_cool_down_outlasts_patience_is_throttled_at_once() -> None:
    fake = PacedTime()
    limiter = fake.limiter(4, 10)
    limiter.cool_down(31)
    with pytest.raises(ApiThrottled) as caught, limiter.permit(30):
        pass
    assert caught.value.retry_after == 31
    assert fake.waits == []


def test_permit_when_all_wait_in_line_never_waits_over_30_seconds_without_looking() -> None:
    fake = PacedTime()
    limiter = fake.limiter(1, 100)
    for _ in range(2):
        with limiter.permit(30):
            pass
    assert fake.waits == [30, 30, 30, 10]


def test_close_when_threads_wait_sends_them_away_at_once() -> None:
    limiter = real_limiter(1, 3600)
    with limiter.permit(30):
        pass

    def wait_for_permit() -> None:
        with pytest.raises(ApiBusy, match="closed"), limiter.permit(30):
            pass

    def pause() -> None:
        with pytest.raises(ApiBusy, match="closed"):
            limiter.pause(25)

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(wait_for_permit), pool.submit(wait_for_permit), pool.submit(pause), pool.submit(pause)]
        time.sleep(0.1)
        began = time.monotonic()
        limiter.close()
        for each in waiting:
            each.result(5)
    assert time.monotonic() - began < 2


def test_permit_when_closed_is_refused() -> None:
    limiter = real_limiter(1, 10)
    limiter.close()
    with pytest.raises(ApiBusy), limiter.permit(30):
        pass


def test_left_counts_the_permits_that_could_be_taken_at_once() -> None:
    fake = PacedTime()
    limiter = fake.limiter(3, 10)
    assert limiter.left() == 3
    with limiter.permit(30):
        assert limiter.left() == 2
    assert limiter.left() == 2, "it rests for a window"
    fake.now += 10
    assert limiter.left() == 3
    limiter.cool_down(5)
    assert limiter.left() == 0
    fake.now += 5
    assert limiter.left() == 3


def test_limiter_when_raised_lets_those_go_who_wait() -> None:
    limiter = real_limiter(1, 60)
    with limiter.permit(30):
        pass
    gone = threading.Event()

    def request() -> None:
        with limiter.permit(30):
            gone.set()

    thread = threading.Thread(target=request)
    thread.start()
    assert not gone.wait(0.2)
    limiter.resize(2)
    assert gone.wait(30)
    thread.join()


def test_limiter_when_lowered_counts_what_is_out_already() -> None:
    time_ = PacedTime()
    limiter = time_.limiter(4, 10.0)
    for _ in range(3):
        with limiter.permit(30):
            time_.now += 1
    limiter.resize(2)
    sent = []
    for _ in range(4):
        with limiter.permit(60):
            sent.append(time_.now)
    # The three before ended at 1001, 1002 and 1003: two of them must have aged before the next may go.
    assert sent == [1012.0, 1013.0, 1022.0, 1023.0]


def test_limiter_is_waited_for_while_a_thread_waits_and_no_longer() -> None:
    limiter = real_limiter(1, 3600)
    with limiter.permit(30):
        assert not limiter.is_waited_for()

    def request() -> None:
        with pytest.raises(ApiBusy), limiter.permit(30):
            pass

    thread = threading.Thread(target=request)
    thread.start()
    until(limiter.is_waited_for)
    limiter.close()
    thread.join(5)
    assert not limiter.is_waited_for()
