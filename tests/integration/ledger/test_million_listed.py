"""Any page of a million tasks, at any depth, within its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from itertools import product
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import pytest

from archiver.core.listing import Span, TaskFilter, TaskOrder, TaskPlace
from archiver.core.model import AccountName
from archiver.core.states import TaskState
from archiver.ports.ledger import RETENTION
from archiver.ports.listing import Moment
from tests.fixtures.ledgers import DAY, NOW, open_ledger
from tests.fixtures.page_site import PageSite, Visitor, page_settings
from tests.house import Ledger, page_on

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TASKS = 1_000_000
GOAL = 0.05
"""CPU seconds of a page, on an idle machine."""
OVERVIEW = 0.1
"""CPU seconds of the overview, 160,000 of the tasks open."""
TOLERANCE = 10
"""Times that; a look at every task would take a hundred times as long."""

AT = NOW.timestamp() * 1_000_000
MIDDLE = {TaskOrder.NEWEST: 1e9, TaskOrder.DEADLINE: 1e12, TaskOrder.ENDED: 1e9, TaskOrder.SIZE: 25e6 - AT}
"""The key of the task that is amid all in an order, from AT on."""
FILL = f"""
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {TASKS - 1})
INSERT INTO tasks (task_id, state, source, accepted_at, created_at, deadline, urgency, stage, not_before, awaited, asks,
                   attempts, settled, flag, reason, document, ended_at, account, title, slice, deaths, bytes_stored)
SELECT printf('%08x%08x', (i * 2654435761) % 4294967296, i),
       CASE WHEN i % 100 < 80 THEN 'archived' WHEN i % 100 < 90 THEN 'queued' WHEN i % 100 < 96 THEN 'listed'
            WHEN i % 100 < 98 THEN 'failed' WHEN i % 1000 = 98 THEN 'lost' ELSE 'missing' END,
       CASE WHEN i % 50000 = 7 THEN 'backfill' ELSE 'queue' END,
       {AT:.0f} + i / 500 * 1000000, {AT:.0f} + i / 500 * 1000000,
       CASE WHEN i % 100 < 80 OR i % 100 BETWEEN 90 AND 95 OR i % 1000 = 98 THEN {AT:.0f} + i * 2000000 END,
       {AT:.0f}, 'list', CASE WHEN i % 100 BETWEEN 80 AND 95 THEN {AT:.0f} END, 0, 0, 0, 1, '',
       CASE WHEN i % 100 BETWEEN 80 AND 95 AND i % 3 > 0 THEN 'still pending' ELSE '' END, '',
       CASE WHEN i % 100 < 80 OR i % 100 >= 96 THEN {AT:.0f} + i * 2000 END,
       CASE WHEN i % 10 = 0 THEN 'two' END, CASE WHEN i % 2 = 0 THEN 'Harbour song ' || i % 1000 END, 0, 0,
       CASE WHEN i % 100 < 80 OR i % 1000 = 98 THEN (i * 2654435761) % 50000000 END
FROM n
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("million")


@pytest.fixture(scope="module")
def million(folder: Path) -> Iterator[Ledger]:
    with closing(open_ledger(folder)) as ledger:
        with ledger.db.write() as db:
            db.exec_driver_sql(FILL)
            db.exec_driver_sql(
                "UPDATE task_counts SET tasks = (SELECT count(*) FROM tasks WHERE tasks.state = task_counts.state)"
            )
        yield ledger


def _seconds(work: Callable[[], object], clock: Callable[[], float] = time.thread_time) -> float:
    best = float("inf")
    for _ in range(3):
        began = clock()
        work()
        best = min(best, clock() - began)
    return best


def test_every_page_at_any_depth_and_every_count_takes_its_time_at_most(million: Ledger) -> None:
    moment = Moment(NOW + 3 * DAY, DAY)
    filters = [
        TaskFilter(),
        TaskFilter(states=(TaskState.FAILED, TaskState.LOST)),
        TaskFilter(account=AccountName("two")),
        TaskFilter(source="backfill"),
        TaskFilter(stem="vocal"),
        TaskFilter(prefix="abcd"),
        TaskFilter(needs_person=True),
        TaskFilter(words=("harbour", "song")),
        TaskFilter(words=("song", "7"), states=(TaskState.LOST,)),
        TaskFilter(ended=Span(NOW, NOW + timedelta(seconds=9))),
    ]
    took: dict[tuple[TaskFilter, TaskOrder | None, bool, bool], float] = {}
    for wanted in filters:
        for order in TaskOrder:
            key = 500_000 if wanted.words else int(AT + MIDDLE[order])
            for start in (None, TaskPlace(key, "8")):
                for back in (False, True):
                    seconds = _seconds(
                        lambda: million.listings.page(wanted, order, moment, start=start, back=back)  # noqa: B023 - at once
                    )
                    took[wanted, order, start is None, back] = seconds
        took[wanted, None, True, False] = _seconds(lambda: million.listings.count(wanted, moment))  # noqa: B023 - at once
    slow = {asked: seconds for asked, seconds in took.items() if seconds > GOAL * TOLERANCE}
    assert slow == {}
    print(f"the slowest: {max(took.values()) * 1000:.0f} ms")


@pytest.mark.parametrize("later", [3 * DAY, 300 * DAY], ids=["a tenth near", "all past their deadline"])
def test_overview_of_a_million_tasks_takes_its_time_at_most(million: Ledger, later: timedelta) -> None:
    seconds = _seconds(lambda: million.plots.overview(now=NOW + later, at_risk=DAY, retention=RETENTION))
    print(f"{seconds * 1000:.0f} ms")
    assert seconds < OVERVIEW * 2, "it took five times as long while it looked at each open task"


def test_every_page_at_any_depth_is_asked_of_the_page_itself_within_its_time(million: Ledger, folder: Path) -> None:
    filters: tuple[dict[str, str], ...] = (
        {}, {"state": "failed"}, {"account": "two"}, {"source": "backfill"}, {"stem": "vocal"}, {"id": "abcd"},
        {"needs": "1"}, {"title": "harbour song"}, {"title": "song 7", "state": "lost"}, {"ended_to": "2026-08-06"},
    )  # fmt: skip
    took: dict[str, float] = {}
    settings = page_settings(folder)
    with page_on(settings) as served:
        visitor = Visitor(PageSite(settings, million, served.url, served.link))
        assert visitor.look("/tasks").status == 200, "templates and statements are made at the first"
        for wanted, order in product(filters, TaskOrder):
            middle = 500_000 if "title" in wanted else int(AT + MIDDLE[order])
            deepest = {TaskOrder.NEWEST: AT, TaskOrder.DEADLINE: AT + 2e12, TaskOrder.ENDED: AT, TaskOrder.SIZE: 0}
            last = 999_000 if "title" in wanted else int(deepest[order])
            for place in ({}, {"after": f"{middle}.8"}, {"after": f"{last}.8"}, {"before": f"{last}.8"}):
                path = f"/tasks?{urlencode({**wanted, 'order': order.value, **place})}"
                assert visitor.look(path).status == 200, path
                took[path] = _seconds(lambda: visitor.look(path), time.process_time)  # noqa: B023 - at once
    worst = max(took, key=lambda path: took[path])
    print(f"{len(took)} pages: {median(took.values()) * 1e3:.0f} ms, worst {took[worst] * 1e3:.0f} ms: {worst}")
    assert took[worst] < GOAL * 2, "a walk from the begin of a span to the place took almost three times it"
