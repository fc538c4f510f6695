"""How long a ledger's disk lasts, at the pace of the last week."""

from __future__ import annotations

from datetime import timedelta

import pytest

from archiver.core.room import BYTES_A_TASK, LedgerRoom


@pytest.mark.parametrize(
    ("free", "reusable", "tasks", "days"),
    [
        (100 * BYTES_A_TASK, 0, 100, 7),
        (50 * BYTES_A_TASK, 50 * BYTES_A_TASK, 700, 1),
        (0, 0, 1, 0),
    ],
)
def test_room_lasts_as_long_as_the_tasks_of_a_week_let_it(free: int, reusable: int, tasks: int, days: int) -> None:
    assert LedgerRoom(1, free, reusable).lasts(tasks) == timedelta(days=days)


@pytest.mark.parametrize("tasks", [0, 1])
def test_room_that_lasts_for_years_is_no_forecast(tasks: int) -> None:
    assert LedgerRoom(1, 10**12, 0).lasts(tasks) is None
