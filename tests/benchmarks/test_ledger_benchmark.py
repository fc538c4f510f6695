"""The ledger with a million finished tasks: what `status`, a claim and a start cost then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from archiver.core.intake import Intake
from archiver.core.states import StemState, TaskState
from tests.fixtures.ledgers import DAY, NOW, archive_all, claim, open_ledger, take_in, tid
from tests.house import Ledger

pytestmark = pytest.mark.benchmark

MILLION = 1_000_000
T = TypeVar("T")


def _timed(what: str, act: Callable[[], T]) -> tuple[float, T]:
    begun = time.perf_counter()
    result = act()
    seconds = time.perf_counter() - begun
    print(f"{what:<44} {seconds * 1000:12.2f} ms")
    return seconds, result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("million")
    ledger = open_ledger(folder)
    ids = tuple(tid(number) for number in range(MILLION))
    _timed("take in a million new ids", lambda: ledger.intakes.take_in(Intake(ids=ids), source="queue", now=NOW))
    _timed("take in a million known ids", lambda: ledger.intakes.take_in(Intake(ids=ids), source="queue", now=NOW))
    _timed("enlist a million ids", lambda: ledger.intakes.enlist("us", ids))
    _timed("a claim among a million waiting", lambda: claim(ledger))
    ledger.claims.release("us")
    archive_all(ledger)
    ledger.close()
    return folder


@pytest.fixture
def ledger(folder: Path) -> Iterator[Ledger]:
    seconds, ledger = _timed("start on a million finished", lambda: open_ledger(folder))
    yield ledger
    ledger.close()
    assert seconds < 1


def test_overview_of_a_million_finished_tasks_takes_less_than_a_second(ledger: Ledger) -> None:
    seconds, seen = _timed("overview of a million finished", lambda: ledger.reports.overview(now=NOW, at_risk=DAY))
    assert seen.tasks[TaskState.ARCHIVED] >= MILLION
    assert seen.stems[StemState.STORED] >= 2 * MILLION
    assert seconds < 1


def test_a_claim_beside_a_million_finished_tasks_takes_milliseconds(ledger: Ledger) -> None:
    take_in(ledger, *range(MILLION, MILLION + 100))
    _timed("50 claims beside a million finished", lambda: [claim(ledger) for _ in range(50)])
    begun = time.thread_time()  # of our own work: a busy disk or machine is not what is measured
    for _ in range(50):
        claim(ledger)
    assert (time.thread_time() - begun) / 50 < 0.005


def test_retry_of_all_beside_a_million_finished_finds_none_at_once(ledger: Ledger) -> None:
    seconds, retried = _timed("retry of all beside a million finished", lambda: ledger.intakes.retry(None, now=NOW))
    assert retried == []
    assert seconds < 0.5
