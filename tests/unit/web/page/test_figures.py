"""What the overview keeps of its figures, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Event, Thread

import pytest

from archiver.core.outlook import outlook
from archiver.web.page.figures import Kept
from archiver.web.page.plot import deadline_plot

NOW = datetime(2026, 11, 28, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_kept_is_made_anew_at_another_mark_only() -> None:
    kept, made = Kept[int](), count().__next__
    assert [kept.of(mark, NOW, made) for mark in ("a", "a", "b", "a")] == [0, 0, 1, 2]


class Slow:
    """Makes what it is told to, once it is let."""

    def __init__(self) -> None:
        self.begun, self.let = Event(), Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.let.wait(30)
        return "new"


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow.let.set()


def _kept() -> Kept[str]:
    kept = Kept[str](10 * SECOND)
    assert kept.of("a", NOW, lambda: "old", since=1) == "old"
    return kept


def test_last_figures_are_given_while_new_ones_are_made_and_the_new_ones_then(slow: Slow) -> None:
    kept = _kept()
    assert kept.of("b", NOW + 9 * SECOND, slow, since=1, patience=0) == "old"
    assert kept.of("c", NOW + 9 * SECOND, slow, since=1, patience=0) == "old", "nothing else is begun meanwhile"
    slow.let.set()
    assert kept.of("b", NOW + 99 * SECOND, lambda: "another", since=1) == "new"


@pytest.mark.parametrize(("later", "since"), [(10 * SECOND, 1), (-SECOND, 1), (SECOND, 2)])
def test_last_figures_are_not_given_once_old_nor_after_something_was_done(
    slow: Slow, later: timedelta, since: int
) -> None:
    kept, found = _kept(), list[str]()
    asker = Thread(target=lambda: found.append(kept.of("b", NOW + later, slow, since=since, patience=0)), daemon=True)
    asker.start()
    assert slow.begun.wait(30)
    asker.join(0.1)
    assert found == []
    slow.let.set()
    asker.join(30)
    assert found == ["new"]


def test_fault_of_making_is_raised_and_the_next_tries_anew() -> None:
    kept = Kept[int]()
    with pytest.raises(ZeroDivisionError):
        kept.of("a", NOW, lambda: 1 // 0)
    assert kept.of("a", NOW, lambda: 1) == 1


@pytest.mark.parametrize(("stems", "an_hour"), [(3_000_000, 0.04), (80_000_000, 1.0), (10**12, 1e-9)])
def test_pace_at_which_the_rest_takes_longer_than_there_is_time_is_drawn(stems: int, an_hour: float) -> None:
    found = outlook([(NOW + timedelta(days=3), stems)], an_hour, NOW)
    drawn = deadline_plot(found, NOW, timedelta(days=1), 800, 300)
    assert drawn is not None
    assert drawn.pace == f"M56.0 {drawn.bottom}.0L788.0 {drawn.bottom}.0H788"
