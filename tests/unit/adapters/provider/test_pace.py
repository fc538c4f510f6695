"""The pace of API requests: exact where the provider counts, fair, and easy to stop."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from archiver.adapters.provider.pace import LocalSlots, Pace
from archiver.core.errors import ApiBusy, ApiThrottled


def real_pace(limit: int, window: float) -> Pace:
    slots = LocalSlots(limit, window, clock=time.monotonic)
    return Pace(slots, clock=time.monotonic, wait=threading.Condition.wait)


class FakeTime:
    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def clock(self) -> float:
        return self.now

    def pace(self, limit: int, window: float) -> Pace:
        return Pace(LocalSlots(limit, window, clock=self.clock), clock=self.clock, wait=self.wait)

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        del condition
        self.waits.append(seconds)
        self.now += seconds


def most_in_a_window(times: list[float], window: float) -> int:
    times = sorted(times)
    return max(sum(1 for each in times if start <= each <= start + window) for start in times)


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_pace_when_threads_hammer_and_the_way_is_uneven_is_exact_at_the_far_end() -> None:
    limit, window = 5, 0.3
    pace = real_pace(limit, window)
    uneven = random.Random(7)
    arrivals: list[float] = []

    def request() -> None:
        with pace.slot(30):
            time.sleep(uneven.choice((0, 0, 0.01, 0.08)))
            arrivals.append(time.monotonic())
            time.sleep(uneven.choice((0, 0, 0.02)))

    with ThreadPoolExecutor(8) as pool:
        for _ in range(32):
            pool.submit(request)
    assert len(arrivals) == 32
    assert most_in_a_window(arrivals, window) <= limit


def test_pace_when_unhindered_uses_the_whole_budget_at_once_and_again_after_the_window() -> None:
    fake = FakeTime()
    pace = fake.pace(4, 10)
    sent = []
    for _ in range(12):
        with pace.slot(30):
            sent.append(fake.now - 1000)
    assert sent == [0.0] * 4 + [10.0] * 4 + [20.0] * 4


def test_slot_when_its_request_is_under_way_for_long_rests_from_the_answer_on() -> None:
    fake = FakeTime()
    pace = fake.pace(1, 10)
    with pace.slot(30):
        fake.now += 8
    with pace.slot(30):
        assert fake.now == 1018


def test_slot_when_its_request_fails_is_given_back() -> None:
    fake = FakeTime()
    pace = fake.pace(1, 10)
    with pytest.raises(RuntimeError), pace.slot(30):
        raise RuntimeError
    with pace.slot(30):
        assert fake.now == 1010


def test_slots_when_several_wait_are_had_in_the_order_of_asking() -> None:
    pace = real_pace(1, 0.02)
    order: list[int] = []
    asked = threading.Semaphore(0)

    def request(number: int) -> None:
        asked.release()
        with pace.slot(30):
            order.append(number)

    threads = [threading.Thread(target=request, args=(number,)) for number in range(6)]
    with pace.slot(30):
        for number, thread in enumerate(threads):
            thread.start()
            asked.acquire()
            eventually(lambda number=number: len(pace._line) == number + 1)  # type: ignore[misc]  # the line is not shown otherwise
    for thread in threads:
        thread.join(5)
    assert order == list(range(6))


def test_slot_when_cooling_down_waits_for_its_end() -> None:
    fake = FakeTime()
    pace = fake.pace(4, 10)
    pace.cool_down(12)
    pace.cool_down(3)
    with pace.slot(30):
        assert fake.now == 1012


def test_slot_when_the_cool_down_outlasts_patience_is_throttled_at_once() -> None:
    fake = FakeTime()
    pace = fake.pace(4, 10)
    pace.cool_down(31)
    with pytest.raises(ApiThrottled) as caught, pace.slot(30):
        pass
    assert caught.value.retry_after == 31
    assert fake.waits == []


def test_slot_when_all_wait_in_line_never_waits_over_30_seconds_without_looking() -> None:
    fake = FakeTime()
    pace = fake.pace(1, 100)
    for _ in range(2):
        with pace.slot(30):
            pass
    assert fake.waits == [30, 30, 30, 10]


def test_close_when_threads_wait_sends_them_away_at_once() -> None:
    pace = real_pace(1, 3600)
    with pace.slot(30):
        pass

    def wait_for_slot() -> None:
        with pytest.raises(ApiBusy, match="closed"), pace.slot(30):
            pass

    def pause() -> None:
        with pytest.raises(ApiBusy, match="closed"):
            pace.pause(25)

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(wait_for_slot), pool.submit(wait_for_slot), pool.submit(pause), pool.submit(pause)]
        time.sleep(0.1)
        began = time.monotonic()
        pace.close()
        for each in waiting:
            each.result(5)
    assert time.monotonic() - began < 2


def test_slot_when_closed_is_refused() -> None:
    pace = real_pace(1, 10)
    pace.close()
    with pytest.raises(ApiBusy), pace.slot(30):
        pass


def test_left_counts_the_slots_that_could_be_taken_at_once() -> None:
    fake = FakeTime()
    pace = fake.pace(3, 10)
    assert pace.left() == 3
    with pace.slot(30):
        assert pace.left() == 2
    assert pace.left() == 2, "it rests for a window"
    fake.now += 10
    assert pace.left() == 3
    pace.cool_down(5)
    assert pace.left() == 0
    fake.now += 5
    assert pace.left() == 3


def test_pace_when_raised_lets_those_go_who_wait() -> None:
    pace = real_pace(1, 60)
    with pace.slot(30):
        pass
    gone = threading.Event()

    def request() -> None:
        with pace.slot(30):
            gone.set()

    thread = threading.Thread(target=request)
    thread.start()
    assert not gone.wait(0.2)
    pace.resize(2)
    assert gone.wait(30)
    thread.join()


def test_pace_when_lowered_counts_what_is_out_already() -> None:
    time_ = FakeTime()
    pace = time_.pace(4, 10.0)
    for _ in range(3):
        with pace.slot(30):
            time_.now += 1
    pace.resize(2)
    sent = []
    for _ in range(4):
        with pace.slot(60):
            sent.append(time_.now)
    # The three before ended at 1001, 1002 and 1003: two of them must have aged before the next may go.
    assert sent == [1012.0, 1013.0, 1022.0, 1023.0]


def test_pace_is_waited_for_while_a_thread_waits_and_no_longer() -> None:
    pace = real_pace(1, 3600)
    with pace.slot(30):
        assert not pace.waited_for()

    def request() -> None:
        with pytest.raises(ApiBusy), pace.slot(30):
            pass

    thread = threading.Thread(target=request)
    thread.start()
    eventually(pace.waited_for)
    pace.close()
    thread.join(5)
    assert not pace.waited_for()
