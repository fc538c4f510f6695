"""Rejects: how many are kept, which go first, and how the rest is counted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest

from archiver.core.intake import Intake, Reject
from tests.fixtures.ledgers import DAY, NOW, accept, overview
from tests.house import Ledger

KEPT_OF_A_FILE, KEPT = 1_000, 10_000


def _lines(numbers: Iterable[int], path: str = "q.txt") -> tuple[Reject, ...]:
    return tuple(Reject(path, number, "junk", "bad", line=number + 1) for number in numbers)


def _reject(ledger: Ledger, lines: tuple[Reject, ...], now: datetime = NOW) -> None:
    accept(ledger, Intake(rejects=lines), now=now)


def _kept(ledger: Ledger) -> list[tuple[str, int]]:
    with ledger.db.read() as db:
        rows = db.exec_driver_sql('SELECT path, "offset" FROM rejects ORDER BY id').all()
    return [(row[0], row[1]) for row in rows]


def test_rejects_of_one_file_are_bounded_and_all_are_counted(ledger: Ledger) -> None:
    for batch in range(3):
        _reject(ledger, _lines(range(batch * 700, batch * 700 + 700)))
    seen = overview(ledger)
    assert (seen.rejected_lines, seen.dropped_rejects) == (2100, 2100 - KEPT_OF_A_FILE)
    assert _kept(ledger) == [("q.txt", number) for number in range(2100 - KEPT_OF_A_FILE, 2100)]
    assert seen.rejects == _lines(range(2080, 2100))
    assert ledger.intakes.acknowledge_rejects(now=NOW) == 2100
    assert (overview(ledger).rejected_lines, overview(ledger).dropped_rejects) == (0, 0)


def test_acknowledged_rejects_go_first_and_count_as_none_dropped(ledger: Ledger) -> None:
    _reject(ledger, _lines(range(KEPT_OF_A_FILE)))
    ledger.intakes.acknowledge_rejects(now=NOW)
    _reject(ledger, _lines(range(5000, 5010)))
    assert (overview(ledger).rejected_lines, overview(ledger).dropped_rejects) == (10, 0)
    assert _kept(ledger)[0] == ("q.txt", 10)


def test_rejects_of_many_files_are_bounded_in_all(ledger: Ledger) -> None:
    files = KEPT // KEPT_OF_A_FILE + 2
    for number in range(files):
        _reject(ledger, _lines(range(KEPT_OF_A_FILE), f"file-{number}"))
    seen = overview(ledger)
    assert (seen.rejected_lines, seen.dropped_rejects) == (files * KEPT_OF_A_FILE, 2 * KEPT_OF_A_FILE)
    assert len(_kept(ledger)) == KEPT


@pytest.mark.parametrize(("after", "left"), [(DAY, 2), (3 * DAY, 1)])
def test_acknowledged_rejects_expire_and_others_never(ledger: Ledger, after: timedelta, left: int) -> None:
    _reject(ledger, _lines([0]))
    ledger.intakes.acknowledge_rejects(now=NOW + 2 * DAY)
    _reject(ledger, _lines([1]))
    assert ledger.intakes.expire_rejects(before=NOW + after) == 2 - left
    assert len(_kept(ledger)) == left
