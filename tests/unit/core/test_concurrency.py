"""A host's limit against hosts whose every reaction is a formula: it settles near the knee, and follows it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from archiver.core.concurrency import Change, Limit

MB = 1_000_000
HOUR = 3600.0
Event = tuple[float, Callable[["Host"], None]]


@dataclass
class Host:
    """Gives each transfer `each` bytes a second, and all together those of `knee` transfers."""

    knee: float
    each: float = MB
    busy_over: int | None = None
    """More at one time are answered `too busy`."""
    noise: float = 0.0
    """By how much of it the rate is off at any moment, either way."""


@dataclass
class World:
    """As many transfers as the limit lets, of stems of all sizes, always; time is a number."""

    host: Host
    seed: int = 1
    most: int = 64
    now: float = 0.0
    levels: list[tuple[float, int]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    refused: int = 0
    moved: int = 0

    def __post_init__(self) -> None:
        self.limit = Limit(self.most, self.now)
        self.chance = random.Random(self.seed)
        self.active: list[list[float]] = []

    def run(self, seconds: float, events: Sequence[Event] = ()) -> World:
        for at, happens in [*events, (seconds, lambda _: None)]:
            while self.now < at:
                self.step()
            happens(self.host)
        return self

    def step(self) -> None:
        while len(self.active) < self.limit.level:
            self.begin()
        host = self.host
        rate = min(host.each, host.knee * host.each / len(self.active))
        rate *= 1 + self.chance.uniform(-host.noise, host.noise)
        first = min(range(len(self.active)), key=lambda number: self.active[number][0])
        left = self.active[first][0]
        self.now += left / rate
        for transfer in self.active:
            transfer[0] -= left
        size = int(self.active.pop(first)[1])
        if size:
            self.moved += size
            self.note(self.limit.moved(size, self.now))

    def begin(self) -> None:
        if self.host.busy_over is not None and len(self.active) >= self.host.busy_over:
            self.refused += 1
            self.active.append([0.25 * self.host.each, 0])  # it waits a little, and brings nothing
            self.note(self.limit.refused(len(self.active), self.now))
            return
        size = min(self.chance.lognormvariate(15.4, 0.6), 60 * MB)
        self.active.append([size, size])

    def note(self, change: Change | None) -> None:
        self.levels.append((self.now, self.limit.level))
        if change is not None:
            self.changes.append(change)

    def mean(self, since: float, until: float) -> float:
        """Return the level over that time, on average."""
        spans = list(zip(self.levels, self.levels[1:], strict=False))
        parts = [(after[0] - at, level) for (at, level), after in spans if since <= at < until]
        return sum(seconds * level for seconds, level in parts) / sum(seconds for seconds, _ in parts)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("knee", [2, 5, 10, 20, 40])
def test_limit_settles_near_the_knee_of_a_host_that_saturates(knee: int, seed: int) -> None:
    world = World(Host(knee), seed).run(HOUR)
    assert 0.75 * knee <= world.mean(HOUR / 6, HOUR) <= max(1.5 * knee, knee + 2)
    assert world.moved / HOUR >= 0.85 * knee * MB, "near the knee next to nothing is lost"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("knee", [5, 20, 40])
def test_limit_settles_near_the_knee_though_the_rate_is_off_by_two_fifths_at_any_moment(knee: int, seed: int) -> None:
    world = World(Host(knee, noise=0.4), seed).run(2 * HOUR)
    assert 0.6 * knee <= world.mean(HOUR / 2, 2 * HOUR) <= max(1.6 * knee, knee + 4)


def test_limit_of_a_host_without_a_knee_goes_to_the_most_and_stays_there() -> None:
    world = World(Host(1000)).run(HOUR)
    assert max(level for _, level in world.levels) == 64
    assert world.mean(HOUR / 6, HOUR) >= 58
    assert next(at for at, level in world.levels if level == 64) < 300


def test_limit_starts_low_and_no_higher_than_the_most() -> None:
    assert Limit(64, 0.0).level == 4
    assert Limit(2, 0.0).level == 2


@pytest.mark.parametrize("over", [3, 6, 10, 25])
def test_limit_of_a_host_that_refuses_beyond_a_number_stays_close_below_it(over: int) -> None:
    world = World(Host(1000, busy_over=over)).run(HOUR)
    assert 0.75 * over <= world.mean(HOUR / 6, HOUR) <= over
    assert world.refused < 100, "over an hour"
    assert "busy" in {change.why for change in world.changes}


def test_limit_follows_a_host_that_becomes_less_and_recovers() -> None:
    def knee(value: float) -> Callable[[Host], None]:
        return lambda host: setattr(host, "knee", value)

    world = World(Host(20)).run(3 * HOUR, [(HOUR, knee(5)), (2 * HOUR, knee(20))])
    assert world.mean(HOUR / 2, HOUR) == pytest.approx(20, rel=0.3)
    assert world.mean(1.5 * HOUR, 2 * HOUR) <= 10
    assert world.mean(2.5 * HOUR, 3 * HOUR) == pytest.approx(20, rel=0.3)


def test_limit_of_a_host_that_takes_much_longer_for_each_is_halved_at_once() -> None:
    world = World(Host(20)).run(HOUR)
    world.host.knee = 8
    world.changes.clear()
    world.run(HOUR + 300)
    [halved] = [change for change in world.changes[:3] if change.why == "slower"]
    assert halved.after == halved.before // 2


def test_limit_that_is_refused_outside_a_trial_is_halved_once_until_that_has_taken_effect() -> None:
    limit = Limit(64, 0.0)
    assert limit.refused(4, 0.0) == Change(4, 2, "busy")
    assert limit.refused(4, 0.1) is None, "four are still under way"
    assert limit.refused(2, 0.2) == Change(2, 1, "busy")
    assert limit.refused(1, 0.3) is None, "one there must be"
    assert limit.level == 1


def test_limit_that_is_refused_in_a_trial_goes_back_to_what_was_well() -> None:
    limit = Limit(64, 0.0)
    at = 0.0
    while limit.level == 4:
        at += 0.25
        limit.moved(MB, at)
    assert limit.level == 8, "a trial"
    refusals = [limit.refused(8, at) for _ in range(2)]
    assert refusals == [None, Change(8, 4, "busy")], "one of eight may grumble"


def test_grumbles_now_and_then_change_nothing() -> None:
    limit = Limit(64, 0.0, first=16)
    assert [limit.refused(16, 20.0 * n) for n in range(50)] == [None] * 50
    assert [limit.refused(16, 2000.0 + n) for n in range(3)] == [None, None, Change(16, 8, "busy")]


def test_limit_learns_nothing_while_there_is_slack() -> None:
    limit = Limit(64, 0.0)
    for n in range(1000):
        limit.moved(MB, float(n))
        if n % 10 == 0:
            limit.slack(float(n))
    assert limit.level == 4


def test_limit_that_is_bound_lower_obeys_at_once_and_may_grow_again_when_it_is_bound_higher() -> None:
    limit = Limit(64, 0.0, first=32)
    limit.bound(8, 1.0)
    assert limit.level == 8
    limit.bound(64, 2.0)
    assert limit.level == 8
    now = 2.0
    for _ in range(400):
        now += 1 / limit.level
        limit.moved(MB, now)
    assert limit.level > 8
