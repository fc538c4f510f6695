"""The bandwidth: which rate holds when, and that no window of ten seconds gets more, or less, under any clock."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.adapters.downloader.throttle import Throttle
from archiver.core.bandwidth import Allowance, Timetable, Window
from archiver.core.errors import Interrupted
from archiver.settings import parse_bandwidth, show_bandwidth
from tests.fakes.time import Seconds

KIB, MIB = 1 << 10, 1 << 20
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)


def at(text: str, local: datetime) -> int | None:
    return parse_bandwidth(text).rate_at(local)


# --- as written


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("off", "off"),
        ("OFF", "off"),
        ("10MiB", "10MiB/s"),
        ("10MiB/s", "10MiB/s"),
        ("10M", "10MiB/s"),
        ("512k", "512KiB/s"),
        ("1.5M", "1536KiB/s"),
        ("64KB", "64000B/s"),
        ("08:00,512KiB 19:00,10MiB 23:00,off", "08:00,512KiB/s 19:00,10MiB/s 23:00,off"),
        ("8:00,512k;19:30,off", "08:00,512KiB/s 19:30,off"),
        ("Mon-08:00,1M friday-18:00,off", "Mon-08:00,1MiB/s Fri-18:00,off"),
    ],
)
def test_bandwidth_is_read_in_every_notation_and_shown_as_it_is_read(text: str, shown: str) -> None:
    assert show_bandwidth(parse_bandwidth(text)) == shown
    assert parse_bandwidth(shown) == parse_bandwidth(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no bandwidth"),
        ("512", "with its unit"),
        (512, "with its unit"),
        (None, "with its unit"),
        ("fast", "with its unit"),
        ("10M:1M", "with its unit"),
        ("1023B", "must be 1KiB a second or more"),
        ("24:00,off", "is no timetable"),
        ("08:60,off", "is no timetable"),
        ("08:00,off 1M", "is no timetable"),
        ("08:00,fast 09:00,off", "with its unit"),
        ("Moon-08:00,off", "names no day"),
        ("08:00,off 8:00,1M", "names a time twice"),
        ("Mon-08:00,off Monday-08:00,1M", "names a time twice"),
    ],
)
def test_bandwidth_that_is_none_is_refused(text: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_bandwidth(text)


WINDOWS = st.builds(
    Window,
    st.integers(0, 24 * 60 - 1),
    st.none() | st.integers(KIB, 10**12),
    st.none() | st.integers(0, 6),
)


@pytest.mark.parametrize(
    ("text", "mean"),
    [
        ("off", float("inf")),
        ("2KiB", 2 * KIB),
        ("06:00,1KiB 18:00,3KiB", 2 * KIB),
        ("Mon-00:00,8KiB Tue-00:00,1KiB", 2 * KIB),
        ("06:00,1KiB 18:00,off", float("inf")),
    ],
)
def test_mean_rate_is_that_of_a_whole_week(text: str, mean: float) -> None:
    assert parse_bandwidth(text).mean_rate() == mean


@given(st.lists(WINDOWS, min_size=1, unique_by=lambda window: (window.day, window.minute)))
def test_bandwidth_shown_reads_back_the_same(windows: list[Window]) -> None:
    timetable = Timetable(tuple(windows))
    assert parse_bandwidth(show_bandwidth(timetable)) == timetable


# --- by the time of the week


@pytest.mark.parametrize(
    ("clock", "rate"),
    [("00:00", None), ("07:59", None), ("08:00", KIB), ("18:59", KIB), ("19:00", MIB), ("23:30", None)],
)
def test_rate_of_a_day_is_that_of_the_slot_that_began_last(clock: str, rate: int | None) -> None:
    hour, minute = map(int, clock.split(":"))
    for day in range(7):
        local = MONDAY + timedelta(days=day, hours=hour, minutes=minute)
        assert at("08:00,1KiB 19:00,1MiB 23:00,off", local) == rate


@pytest.mark.parametrize(
    ("hours", "rate"),
    [(0, 1 * KIB), (11, 1 * KIB), (12, 2 * KIB), (25, 2 * KIB), (6 * 24 + 19, 2 * KIB), (6 * 24 + 21, None)],
)
def test_rate_of_a_week_lets_windows_without_a_day_hold_on_each(hours: int, rate: int | None) -> None:
    assert at("Mon-00:00,1KiB 12:00,2KiB Sun-20:00,off", MONDAY + timedelta(hours=hours)) == rate


def test_rate_before_the_first_slot_of_a_week_is_that_of_the_last() -> None:
    assert at("Wed-12:00,1KiB Fri-12:00,2KiB", MONDAY) == 2 * KIB


def test_slot_of_one_day_comes_before_one_for_every_day_at_the_same_minute() -> None:
    for text in ("08:00,1KiB Mon-08:00,2KiB", "Mon-08:00,2KiB 08:00,1KiB"):
        assert at(text, MONDAY + timedelta(hours=8)) == 2 * KIB
        assert at(text, MONDAY + timedelta(days=1, hours=8)) == 1 * KIB


def test_slot_in_the_hour_that_summer_time_leaves_out_begins_when_that_hour_is_over() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    rates = [
        at("00:00,1KiB 02:30,2KiB", datetime(2026, 3, 29, 0, minute, tzinfo=UTC).astimezone(berlin)) for minute in (59,)
    ] + [at("00:00,1KiB 02:30,2KiB", datetime(2026, 3, 29, 1, 0, tzinfo=UTC).astimezone(berlin))]
    assert rates == [1 * KIB, 2 * KIB]


def test_slot_in_the_hour_that_comes_twice_holds_in_both() -> None:
    berlin, start = ZoneInfo("Europe/Berlin"), datetime(2026, 10, 25, tzinfo=UTC)
    half_hours = [(start + timedelta(minutes=30 * n)).astimezone(berlin) for n in range(5)]
    assert [at("00:00,1KiB 02:30,2KiB", local) for local in half_hours] == [KIB, 2 * KIB, KIB, 2 * KIB, 2 * KIB]


# --- exact over any window


@dataclass
class Taken:
    """Who takes what, when: threads of a world whose time is a number."""

    seconds: float
    takers: int
    late: Callable[[], float]
    """How much too late a taker wakes."""
    partly: Callable[[int], int] = int
    """How much of a share comes."""

    def by(self, allowance: Allowance, block: int) -> list[tuple[float, int]]:
        order, taken = itertools.count(), list[tuple[float, int]]()
        line: list[tuple[float, int, float | None]] = [(0.0, next(order), None) for _ in range(self.takers)]
        while line[0][0] < self.seconds:
            now, _, ticket = heapq.heappop(line)
            if ticket is not None and not allowance.wait_of(ticket, now):
                came = self.partly(block)
                allowance.give_back(block - came, now)
                taken.append((now, came))
                ticket = None
            if ticket is None:
                ticket = allowance.ask(block, now)
            left = allowance.wait_of(ticket, now)
            heapq.heappush(line, (now + left + (self.late() if left else 0.0), next(order), ticket))
        return taken


def in_windows(taken: list[tuple[float, int]], window: float = 10.0, until: float = 60.0) -> list[int]:
    """Return how much was taken in each window that begins a tenth of a second after the one before."""
    starts = [n / 10 for n in range(int((until - window) * 10))]
    return [sum(size for when, size in taken if start <= when < start + window) for start in starts]


@pytest.mark.parametrize("takers", [1, 16])
@pytest.mark.parametrize("rate", [16 * KIB, 512 * KIB, 10 * MIB, 100 * MIB])
def test_any_ten_seconds_bring_the_rate_to_five_percent_however_late_takers_wake(takers: int, rate: int) -> None:
    chance = random.Random(rate + takers)
    block = max(512, rate // 200)
    taken = Taken(60, takers, late=lambda: chance.uniform(0, 0.02)).by(Allowance(rate, 0.0), block)
    for size in in_windows(taken):
        assert size == pytest.approx(10 * rate, rel=0.05)


@pytest.mark.parametrize("takers", [1, 16])
def test_shares_of_which_only_a_part_comes_cost_no_bandwidth(takers: int) -> None:
    chance = random.Random(takers)
    world = Taken(60, takers, late=lambda: 0.001, partly=lambda share: chance.randint(1, share))
    for size in in_windows(world.by(Allowance(MIB, 0.0), 8 * KIB)):
        assert size == pytest.approx(10 * MIB, rel=0.05)


def test_silence_is_not_saved_up_for_later() -> None:
    allowance = Allowance(MIB, 0.0)
    ticket = allowance.ask(10 * MIB, 3600.0)
    assert allowance.wait_of(ticket, 3600.0) >= 9.5


def test_change_of_the_rate_holds_for_those_who_wait() -> None:
    allowance = Allowance(KIB, 0.0)
    ticket = allowance.ask(100 * KIB, 0.0)
    allowance.change(10 * KIB, 50.0)
    assert allowance.wait_of(ticket, 50.0) == pytest.approx(5.0)
    allowance.change(None, 51.0)
    assert allowance.wait_of(ticket, 51.0) == 0
    allowance.change(KIB, 60.0)
    assert allowance.wait_of(allowance.ask(KIB, 60.0), 60.0) == pytest.approx(1.0), "what was free is not paid later"


# --- the throttle


class Time(Seconds):
    """The time on the wall beside it."""

    def __init__(self, local: datetime = MONDAY) -> None:
        super().__init__()
        self.start = local

    def local(self) -> datetime:
        return self.start + timedelta(seconds=self.now - 1000.0)


def throttle(time: Time, text: str) -> Throttle:
    return Throttle(parse_bandwidth(text), clock=time.clock, local=time.local, wait=time.wait)


def took(time: Time, throttle: Throttle, seconds: float) -> int:
    """Return how much one thread takes in so many seconds."""
    until, size = time.now + seconds, 0
    while time.now < until:
        size += throttle.take(MIB)
    return size


@pytest.mark.parametrize("rate", [1 * KIB, 512 * KIB, 10 * MIB])
def test_throttle_gives_out_the_rate_in_small_shares_and_short_waits(rate: int) -> None:
    time = Time()
    limited = throttle(time, f"{rate}B")
    assert took(time, limited, 10) == pytest.approx(10 * rate, rel=0.05)
    assert max(time.waits) <= 1.0


def test_throttle_follows_its_timetable_within_a_second() -> None:
    time = Time(MONDAY + timedelta(hours=7, minutes=59, seconds=50))
    limited = throttle(time, "00:00,64KiB 08:00,1MiB")
    assert took(time, limited, 10) == pytest.approx(640 * KIB, rel=0.05)
    took(time, limited, 1)
    assert took(time, limited, 10) == pytest.approx(10 * MIB, rel=0.05)


def test_throttle_in_a_slot_that_is_off_gives_all_at_once_and_limits_again_when_it_ends() -> None:
    time = Time(MONDAY + timedelta(hours=7, minutes=59))
    limited = throttle(time, "00:00,off 08:00,1KiB")
    assert limited.take(MIB) == MIB
    assert time.waits == []
    time.now += 61
    assert limited.take(MIB) == 512
    assert time.waits


@pytest.mark.parametrize(
    ("text", "on"), [("off", False), ("00:00,off", False), ("1MiB", True), ("08:00,1M 9:00,off", True)]
)
def test_throttle_is_on_where_there_is_a_limit_at_any_time(text: str, on: bool) -> None:
    limited = throttle(Time(), text)
    assert limited.on is on
    limited.change(Timetable())
    assert not limited.on


@pytest.mark.parametrize(
    ("meanwhile", "goes_on"),
    [(Throttle.stop, False), (lambda each: each.change(Timetable()), True)],
    ids=["stop", "change"],
)
def test_throttle_that_is_stopped_or_changed_ends_waits_at_once(
    meanwhile: Callable[[Throttle], None], goes_on: bool
) -> None:
    waiting, ended = threading.Event(), list[bool]()

    def wait(condition: threading.Condition, seconds: float) -> None:
        waiting.set()
        condition.wait(30)  # far longer than asked for: only a notice ends it

    limited = Throttle(parse_bandwidth("1KiB"), wait=wait)

    def take() -> None:
        try:
            while True:
                limited.take(MIB)
                if not limited.on:
                    ended.append(True)
                    return
        except Interrupted:
            ended.append(False)

    thread = threading.Thread(target=take)
    thread.start()
    assert waiting.wait(30)
    meanwhile(limited)
    thread.join(20)
    assert ended == [goes_on]


def test_throttle_once_stopped_lets_nobody_wait_again() -> None:
    limited = throttle(Time(), "1KiB")
    limited.stop()
    with pytest.raises(Interrupted):
        limited.take(1)
