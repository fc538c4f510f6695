"""The ledger with a million finished tasks: what `status`, a claim and a start cost then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from archiver.core.intake import Intake
from archiver.core.states import StemState, TaskState
from tests.fixtures.ledgers import DAY, NOW, claim, open_ledger, take_in, tid
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


def finish_all(db: Connection) -> None:
    """What a million archived tasks of two stems leave behind, without the hours of archiving them."""
    db.exec_driver_sql("UPDATE tasks SET state = 'archived', ended_at = accepted_at, not_before = NULL")
    for name in ("bass", "vocal"):
        db.exec_driver_sql(
            "INSERT INTO stems (task_id, name, state, shown_url, url_cut, field, attempts, gone, reason,"
            " key, size, sha256, etag, content_type, stored_at)"
            f" SELECT task_id, '{name}', 'stored', 'https://cdn.example/{name}.mp3', 0, 'f', 0, 0, '',"
            f" task_id || '/{name}.mp3', 5000000, '{'ab' * 32}', 'e', 'audio/mpeg', accepted_at FROM tasks"
        )
    db.exec_driver_sql(f"UPDATE tallies SET stems = {2 * MILLION}, bytes = 1 WHERE state = 'stored'")


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
    with ledger.db.write() as db:
        finish_all(db)
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
