"""What the overview keeps of its figures, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

from archiver.web.page.figures import Kept, Paced

NOW = datetime(2026, 11, 28, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_kept_is_made_anew_at_another_mark_only() -> None:
    kept, made = Kept[int](), count().__next__
    assert [kept.of(mark, made) for mark in ("a", "a", "b", "a")] == [0, 0, 1, 2]


def test_paced_is_made_anew_at_another_mark_once_its_time_is_over() -> None:
    paced = Paced(count().__next__, 10 * SECOND)
    assert paced.of("a", NOW) == ("a", 0)
    assert paced.of("b", NOW + 9 * SECOND) == ("a", 0)
    assert paced.of("b", NOW + 10 * SECOND) == ("b", 1)
    assert paced.of("b", NOW + 60 * SECOND) == ("b", 1), "nothing changed"
    assert paced.of("c", NOW) == ("c", 2), "the clock was set back"
