"""The pace of reading again: what can be in time is, and what cannot is said."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from archiver.core.fixity import Fixity
from archiver.core.fixity_pace import (
    HEADROOM,
    DueSlice,
    due_slices,
    fixity_late,
    is_any_due,
    late_by,
    needed_rate,
    pace_of,
    readers,
    total_of,
    unhurried,
)
from archiver.core.slices import SLICES, Checked, Standing
from tests.fixtures.ledgers import DAY, NOW

WITHIN = 90 * DAY
SECOND = timedelta(seconds=1)

sizes = st.integers(1, 10**12)
dues_ = st.lists(st.tuples(st.integers(-5, 100 * 86400), sizes), min_size=1, max_size=12).map(
    lambda drawn: sorted((DueSlice(NOW + seconds * SECOND, size) for seconds, size in drawn), key=lambda due: due.at)
)
bandwidths = st.floats(1, 10**12)


@given(dues_, bandwidths)
def test_slices_are_read_in_time_by_the_pace_unless_it_is_said_that_they_cannot(
    dues: list[DueSlice], bandwidth: float
) -> None:
    assume(not fixity_late(dues, NOW, bandwidth))
    now, left = NOW, dues
    while left:
        pace = pace_of(left, now, bandwidth)
        assert 0 < pace <= bandwidth
        first, left = left[0], left[1:]
        now += timedelta(seconds=first.bytes / pace)
        assert now <= first.at + SECOND / 1000


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=8), st.floats(1, 4))
def test_a_rolling_read_that_the_bandwidth_suffices_for_never_comes_late(slices: list[int], more: float) -> None:
    bandwidth = more * sum(slices) / WITHIN.total_seconds()
    now, left = NOW, [DueSlice(NOW + WITHIN, size) for size in slices]
    for _ in range(4 * len(slices)):
        assert late_by(left, now, bandwidth) < SECOND
        pace = pace_of(left, now, bandwidth)
        first, left = left[0], left[1:]
        now += timedelta(seconds=first.bytes / pace)
        assert now <= first.at + SECOND
        left = [*left, DueSlice(now + WITHIN, first.bytes)]


@given(dues_, bandwidths)
def test_it_is_said_when_even_the_whole_bandwidth_does_not_suffice(dues: list[DueSlice], bandwidth: float) -> None:
    seconds, late = 0.0, 0.0
    for due in dues:
        seconds += due.bytes / bandwidth
        late = max(late, seconds - (due.at - NOW).total_seconds())
    told = late_by(dues, NOW, bandwidth)
    assert abs(told.total_seconds() - min(late, 36500 * 86400)) <= 1e-3 + 1e-9 * late
    assert fixity_late(dues, NOW, bandwidth) == (told > timedelta())


def test_without_a_byte_or_without_bandwidth_there_is_nothing_or_no_hope() -> None:
    nothing = [DueSlice(NOW - DAY, 0)]
    assert (needed_rate([], NOW), needed_rate(nothing, NOW)) == (0.0, 0.0)
    assert late_by([], NOW, 0.0) == late_by(nothing, NOW, 0.0) == timedelta()
    assert fixity_late([DueSlice(NOW + DAY, 1)], NOW, 0.0)
    assert pace_of([DueSlice(NOW - DAY, 1)], NOW, 5.0) == 5.0


def test_sixty_terabytes_in_ninety_days_are_ten_megabytes_a_second_with_headroom() -> None:
    standings = [Standing(number, 0, None, is_under_way=False, checked=Checked()) for number in range(SLICES)]
    dues = due_slices(standings, total=60 * 10**12, since=NOW, within=WITHIN, now=NOW)
    assert round(pace_of(dues, NOW, 1e9) / 1e6, 1) == round(HEADROOM * 7.7, 1)


def test_what_was_checked_before_the_promise_or_in_a_future_counts_from_the_promise_or_from_now() -> None:
    def standing(ended: timedelta | None, *, read: int = 0, under_way: bool = False) -> Standing:
        checked = Checked(1, read, {Fixity.OK: 1})
        return Standing(0, 1, None if ended is None else NOW + ended, is_under_way=under_way, checked=checked)

    found = [
        due_slices([each], total=SLICES * 100, since=NOW - 10 * DAY, within=WITHIN, now=NOW)[0]
        for each in (
            standing(None),
            standing(-400 * DAY),
            standing(-3 * DAY),
            standing(999 * DAY),
            standing(-3 * DAY, read=40, under_way=True),
            standing(-3 * DAY, read=900, under_way=True),
        )
    ]
    assert [(due.at - NOW - WITHIN, due.bytes) for due in found] == [
        (-10 * DAY, 100),
        (-10 * DAY, 100),
        (-3 * DAY, 100),
        (timedelta(), 100),
        (-3 * DAY, 60),
        (-3 * DAY, 1),
    ]


def test_a_fifth_of_the_connections_reads_while_tasks_have_deadlines() -> None:
    assert [readers(many) for many in (1, 4, 5, 16, 64)] == [1, 1, 1, 3, 12]


def test_bytes_of_all_slices_are_reckoned_by_those_that_were_read_once_they_are_enough() -> None:
    def read(many: int) -> list[Standing]:
        ended = [Standing(each, 1, NOW, is_under_way=False, checked=Checked(1, 1000)) for each in range(many)]
        others = [Standing(each, 0, None, is_under_way=False, checked=Checked()) for each in range(many, SLICES)]
        return [*ended, *others]

    assert [total_of(read(many)) for many in (0, 63, 64, SLICES)] == [SLICES, SLICES, SLICES * 1000, SLICES * 1000]


def test_no_slice_is_read_twice_in_half_the_span() -> None:
    def due(ended: timedelta | None, *, under_way: bool = False) -> bool:
        at = None if ended is None else NOW - ended
        return is_any_due([Standing(0, 1, at, is_under_way=under_way, checked=Checked())], WITHIN, NOW)

    assert [due(None), due(DAY), due(DAY, under_way=True), due(45 * DAY)] == [True, False, True, True]


@given(dues_)
def test_what_is_overdue_makes_no_haste_and_what_is_not_keeps_its_time(dues: list[DueSlice]) -> None:
    found = unhurried(dues, WITHIN, NOW)
    assert needed_rate(found, NOW) < float("inf")
    assert sum(due.bytes for due in found) == sum(due.bytes for due in dues)
    assert [due for due in dues if due.at > NOW] == [due for due in found if due in dues and due.at > NOW]
    assert list(found) == sorted(found, key=lambda due: due.at)
