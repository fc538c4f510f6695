"""Fair shares of the pool and of the workers: a pool without threads, in fake time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from archiver.core.transfer import Transfer
from archiver.pipeline.lanes import Lanes
from archiver.pipeline.preemption import Preemption
from tests.fakes.time import NOW

pytestmark = pytest.mark.long

DAY = timedelta(days=1)


@dataclass
class Yard:
    """Transfers at so many bytes a second each, second by second, as the pool's threads would move them."""

    threads: int = 16
    adapts: bool = False
    now: float = 0.0
    rates: dict[Transfer, float] = field(default_factory=dict)
    done: list[Transfer] = field(default_factory=list)
    restarts: Counter[Transfer] = field(default_factory=Counter)
    gave_way: set[str] = field(default_factory=set)
    """Tasks that were given up for others."""

    def __post_init__(self) -> None:
        self.lanes = Lanes[int](self.threads, adapts=self.adapts, clock=lambda: self.now)
        self.preemption = Preemption(self.lanes, clock=lambda: self.now, wall=self.wall)

    def wall(self) -> datetime:
        return NOW + timedelta(seconds=self.now)

    def puts(self, transfer: Transfer, length: int, rate: float) -> Transfer:
        self.lanes.put(transfer, length)
        self.rates[transfer] = rate
        return transfer

    def puts_many(self, number: int, host: str, task: str, length: int, rate: float, days: float = 9) -> list[Transfer]:
        return [self.puts(Transfer(NOW + days * DAY, host, "", task), length, rate) for _ in range(number)]

    def passes(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.take()
            self.now += 1.0
            for transfer in list(self.lanes.running):
                self.moves(transfer)
            self.preemption.look()
        self.take()

    def take(self) -> None:
        while len(self.lanes.running) < self.lanes.level and (taken := self.lanes.take()):
            taken[0].announce(taken[1], self.now)

    def moves(self, transfer: Transfer) -> None:
        if transfer.broken_off:
            self.lanes.end(transfer)
            if transfer.dropped:
                self.gave_way.add(transfer.task)
            else:
                self.restarts[transfer] += 1
                self.lanes.put(transfer, transfer.length or 0)
            return
        left = (transfer.length or 0) - transfer.size
        transfer.count(min(int(self.rates[transfer]), left), self.now)
        if transfer.size >= (transfer.length or 0):
            self.done.append(transfer)
            if self.lanes.end(transfer):
                self.preemption.came_quickly()

    def held(self, kind: str) -> Counter[str]:
        return Counter(getattr(transfer, kind) for transfer in self.lanes.running)


CRAWL, QUICK = 1_400.0, 1_000_000.0
HUGE, SONG = 2_000_000_000, 5_000_000


@pytest.mark.parametrize("adapts", [False, True])
@pytest.mark.parametrize("kind", ["host", "account", "task"])
def test_surplus_of_a_slow_party_is_broken_off_for_those_who_wait(kind: str, adapts: bool) -> None:
    yard = Yard(adapts=adapts)
    for n in range(16):
        transfer = Transfer(NOW + DAY, "h", "a", f"t{n}")
        setattr(transfer, kind, "slow")
        yard.puts(transfer, HUGE, CRAWL)
    yard.passes(30)
    assert len(yard.lanes.running) == yard.lanes.level, "alone it may use all"
    for n in range(16):
        transfer = Transfer(NOW + 9 * DAY, "h", "a", f"u{n}")
        setattr(transfer, kind, "other")
        yard.puts(transfer, HUGE, CRAWL)
    yard.passes(10)
    assert yard.held(kind) == {"slow": yard.lanes.level // 2, "other": yard.lanes.level // 2}
    before = Counter(yard.restarts)
    yard.passes(600)
    assert yard.restarts == before, "what is within its share is left alone"


def test_surplus_that_ends_soon_is_let_end_and_not_renewed() -> None:
    yard = Yard()
    yard.puts_many(40, "a", "t1", 30_000_000, QUICK)
    yard.passes(5)
    yard.puts_many(40, "b", "t2", 30_000_000, QUICK)
    yard.passes(10)
    assert yard.held("host") == {"a": 16}
    yard.passes(20)
    assert yard.held("host") == {"a": 8, "b": 8}
    assert not yard.restarts


def test_of_crawling_hosts_with_a_task_each_at_most_half_is_kept_while_something_quick_waits() -> None:
    yard = Yard()
    for n in range(16):
        yard.puts_many(1, f"slow{n}", f"t{n}", HUGE, CRAWL, days=1)
    yard.passes(30)
    honest = [yard.puts_many(1, "cdn", f"good{n}", SONG, QUICK)[0] for n in range(8)]
    yard.passes(30)
    assert set(honest) <= set(yard.done)
    assert len(yard.restarts) == 8


def test_when_all_is_slow_what_was_begun_is_exchanged_seldom() -> None:
    yard = Yard()
    for n in range(16):
        yard.puts_many(1, "cdn", f"t{n}", SONG, 8_000, days=n + 2)
    yard.passes(30)
    later = [yard.puts_many(1, "cdn", f"u{n}", SONG, 8_000)[0] for n in range(100)]
    yard.passes(3000)
    assert sum(yard.restarts.values()) <= 72
    assert len(yard.done) >= 45, "of 76 that there was time for"
    assert len({*later} & {*yard.done}) >= 30


def test_quick_ones_of_a_host_go_past_its_slow_ones_with_one_thread() -> None:
    yard = Yard(threads=1)
    [slow] = yard.puts_many(1, "cdn", "t1", HUGE, CRAWL, days=1)
    yard.passes(20)
    honest = [yard.puts_many(1, "cdn", f"u{n}", SONG, QUICK)[0] for n in range(20)]
    yard.passes(200)
    assert set(honest) <= set(yard.done)
    assert slow in yard.lanes.running


def test_transfer_that_would_not_end_before_a_nearer_deadline_gives_way() -> None:
    yard = Yard(threads=2)
    slow = yard.puts_many(2, "a", "t1", HUGE, 10_000, days=9)
    yard.passes(20)
    [urgent] = yard.puts_many(1, "a", "t2", SONG, 10_000, days=1)
    yard.passes(600)
    assert urgent in yard.done
    assert sum(yard.restarts.values()) == 1
    assert {each for each in slow if each in yard.lanes.running} == set(slow)


def test_single_thread_is_not_held_by_what_crawls() -> None:
    yard = Yard(threads=1)
    [slow] = yard.puts_many(1, "slow", "t1", HUGE, CRAWL, days=1)
    yard.passes(20)
    honest = yard.puts_many(5, "cdn", "t2", SONG, QUICK)
    yard.passes(60)
    assert set(honest) <= set(yard.done)
    assert slow in yard.lanes.running


def test_crawling_tasks_keep_half_of_the_workers_while_tasks_wait_for_one() -> None:
    yard = Yard()
    for n in range(8):
        yard.puts_many(2, "slow", f"t{n}", HUGE, CRAWL, days=n + 1)
    yard.passes(20)
    assert yard.preemption.put_off(["slow"], dropped=False) is None, "nobody waits"
    dropped = yard.preemption.crowd(8)
    assert {each.task for each in dropped} == {"t4", "t5", "t6", "t7"}, "the least urgent"
    yard.passes(3)
    assert yard.gave_way == {"t4", "t5", "t6", "t7"}
    assert yard.preemption.put_off(["slow", "cdn"], dropped=False) is None
    waits = [yard.preemption.put_off(["slow"], dropped=False) for _ in range(3)]
    assert waits == [timedelta(seconds=seconds) for seconds in (30, 30.1, 30.2)]
    yard.preemption.crowd(0)
    assert yard.preemption.put_off(["slow"], dropped=False) is None


def test_tasks_at_slow_hosts_are_at_most_as_many_as_there_are_workers() -> None:
    yard = Yard()
    for n in range(8):
        yard.puts_many(1, "slow", f"t{n}", HUGE, CRAWL)
    yard.passes(20)
    assert yard.preemption.slow_tasks(9) == 8
    assert yard.preemption.put_off(["slow"], dropped=False) is None
    assert yard.preemption.slow_tasks(8) == 8
    assert yard.preemption.put_off(["slow"], dropped=False) == timedelta(seconds=30)
    assert yard.preemption.put_off(["cdn"], dropped=False) is None
    assert yard.preemption.put_off(["slow", "cdn"], dropped=False) is None


@dataclass
class AtStore:
    """The work at a transfer of which all has come, and about which the store keeps silent."""

    silent: float
    given_up: bool = False

    def silence(self) -> float:
        return self.silent

    def give_up(self) -> None:
        self.given_up = True


def silent_at_store(yard: Yard, silences: list[float], *, tried: bool = False) -> list[AtStore]:
    yard.puts_many(len(silences), "cdn", "t", 0, 1)
    yard.take()
    works = [AtStore(silent) for silent in silences]
    for transfer, work in zip(yard.lanes.running, works, strict=True):
        transfer.activity, transfer.tried = work, tried
    return works


def given_up(works: list[AtStore]) -> list[float]:
    return [work.silent for work in works if work.given_up]


def test_of_what_the_store_keeps_silent_about_half_of_the_threads_are_freed_for_what_waits() -> None:
    yard = Yard(threads=8)
    works = silent_at_store(yard, [59, *range(61, 68)])
    yard.preemption.slow_tasks(8)
    assert yard.lanes.beside == 8, "others have as many beside"
    assert given_up(works) == [], "nothing waits"
    yard.puts_many(1, "cdn", "other", SONG, SONG)
    yard.preemption.slow_tasks(8)
    assert given_up(works) == [64, 65, 66, 67], "the longest"


@pytest.mark.parametrize("silences", [[59] * 8, [61] * 4], ids=["not for long", "half of the threads"])
def test_what_the_store_keeps_silent_about_may_go_on(silences: list[float]) -> None:
    yard = Yard(threads=8)
    works = silent_at_store(yard, silences)
    yard.puts_many(1, "cdn", "other", SONG, SONG)
    yard.preemption.slow_tasks(8)
    assert given_up(works) == []


def test_what_is_tried_again_is_waited_for_though_the_store_keeps_silent() -> None:
    yard = Yard(threads=8)
    works = silent_at_store(yard, [600] * 8, tried=True)
    yard.puts_many(1, "cdn", "other", SONG, SONG)
    yard.preemption.slow_tasks(8)
    assert given_up(works) == []


def test_body_that_stopped_on_its_way_is_left_to_its_own_limit() -> None:
    yard = Yard(threads=8)
    works = silent_at_store(yard, [600] * 8)
    for transfer in yard.lanes.running:
        transfer.length = SONG
    yard.puts_many(1, "cdn", "other", SONG, SONG)
    yard.preemption.slow_tasks(8)
    assert given_up(works) == []


@pytest.mark.parametrize(("seconds", "slow"), [(9, 0), (40, 8), (70, 8)])
def test_host_is_slow_by_what_the_quickest_takes(seconds: int, slow: int) -> None:
    yard = Yard()
    for n in range(8):
        yard.puts_many(1, "other", f"t{n}", SONG, SONG / seconds)
        yard.puts_many(1, "cdn", f"u{n}", SONG, SONG)
    yard.passes(11)
    yard.puts_many(1, "cdn", "u9", SONG, SONG)
    yard.passes(9)
    assert yard.preemption.slow_tasks(8) == slow


def test_host_that_is_as_quick_as_any_is_not_slow() -> None:
    yard = Yard()
    for n in range(12):
        yard.puts_many(1, "cdn", f"t{n}", SONG, SONG / (40 if n % 2 else 30))
    yard.passes(25)
    assert yard.preemption.slow_tasks(8) == 0


def test_when_all_crawls_tasks_are_exchanged_more_and_more_seldom_until_something_comes_quickly() -> None:
    yard, exchanges, number = Yard(), [], 0
    for _ in range(2000):
        while len({each.task for each in yard.lanes.running}) < 8:
            yard.puts_many(2, "slow", f"t{number}", HUGE, CRAWL)
            yard.take()
            number += 1
        yard.passes(1)
        if yard.preemption.crowd(8):
            exchanges.append(yard.now)
    assert len(exchanges) <= 10
    yard.puts_many(1, "cdn", "good", SONG, QUICK)
    for transfer in list(yard.lanes.running)[:2]:
        transfer.broken_off = transfer.dropped = True
    yard.passes(10)
    assert yard.preemption.crowd(6), "at once"
