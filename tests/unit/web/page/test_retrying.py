"""Retry of all tasks of a view: asked once more, some at a time, stopped, and never while another is at work."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from archiver.core.errors import LedgerFault
from archiver.core.listing import TaskOnPage, TaskPage, TaskPlace
from archiver.core.model import DEFAULT_ACCOUNT, Failed, Stage, TaskId
from archiver.core.reports import ListedTask
from archiver.core.states import TaskState
from archiver.web.page.batches import Batches
from archiver.web.page.doings import Doings
from tests.fakes.events import Events
from tests.fakes.waiting import until
from tests.fixtures.ledgers import LEASE, finish, take_in, tid
from tests.fixtures.page_site import PageSite, Visitor, page_site

NOW = datetime(2026, 11, 28, tzinfo=UTC)
FAILED = range(2000, 2210)


def _page(number: int, pages: int) -> TaskPage:
    task = ListedTask(tid(number), TaskState.FAILED, DEFAULT_ACCOUNT, NOW, "queue", None, None, NOW, "", None, None, "")
    older = TaskPlace(number + 1, "") if number + 1 < pages else None
    return TaskPage((TaskOnPage(task, None, (), None),), older, None)


def _look(start: TaskPlace | None) -> TaskPage:
    return _page(0 if start is None else start.key, 5)


@pytest.fixture
def batches() -> Batches:
    return Batches(Doings(lambda: NOW, Events()))


def test_batch_retries_page_by_page_to_the_end(batches: Batches) -> None:
    given: list[TaskId] = []

    def retry(ids: Sequence[TaskId]) -> Sequence[TaskId]:
        given.extend(ids)
        return ids if len(given) % 2 else ()

    assert batches.begin("all", _look, retry)
    until(lambda: batches.last is not None and batches.last.is_over)
    assert given == [tid(number) for number in range(5)]
    assert batches.last is not None
    assert batches.last.came_to == "3 of 5 tasks tried again; done"


def test_batch_that_is_stopped_ends_with_what_it_is_at_and_no_second_begins_before(batches: Batches) -> None:
    at_it, may = threading.Event(), threading.Event()

    def retry(ids: Sequence[TaskId]) -> Sequence[TaskId]:
        at_it.set()
        assert may.wait(60)
        return ids

    assert batches.begin("first", _look, retry)
    assert at_it.wait(60)
    assert not batches.begin("second", _look, retry)
    batches.stop()
    may.set()
    until(lambda: batches.last is not None and batches.last.is_over)
    assert batches.last is not None
    assert batches.last.came_to == "1 of 1 tasks tried again; stopped"
    assert batches.begin("third", _look, lambda ids: ids)


def test_batch_that_fails_says_so(batches: Batches) -> None:
    def retry(ids: Sequence[TaskId]) -> Sequence[TaskId]:
        raise LedgerFault("the disk is full", "make room")

    batches.begin("all", _look, retry)
    until(lambda: batches.last is not None and batches.last.is_over)
    assert batches.last is not None
    assert batches.last.came_to == "0 of 0 tasks tried again; the disk is full"


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageSite]:
    with page_site(tmp_path_factory.mktemp("page"), fills=False) as site:
        now = datetime.now(UTC)
        take_in(site.ledger, *FAILED, now=now)
        for number in FAILED:
            mine = site.ledger.claims.claim_task(tid(number), owner="us", now=now, lease=LEASE, stages=[Stage.LIST])
            assert mine is not None
            finish(site.ledger, mine, Failed("no audio"), now=now)
        yield site


def test_all_that_a_view_shows_are_retried_once_that_is_confirmed(site: PageSite) -> None:
    visitor = Visitor(site)
    assert "210 tasks" in visitor.look("/tasks?state=failed").text
    sure = visitor.change("/tasks/retry", view="state=failed")
    assert "Put 210 tasks back to work" in sure.text
    assert visitor.change("/tasks/retry", view="state=failed", sure="yes").status == 303
    until(lambda: "210 of 210 tasks tried again; done" in visitor.look("/tasks/retry").text)
    states = site.ledger.reports.overview(now=datetime.now(UTC), at_risk=timedelta(days=1)).tasks
    assert (states[TaskState.QUEUED], states[TaskState.FAILED]) == (210, 0)
    assert "210 of 210" in visitor.look("/events").text
