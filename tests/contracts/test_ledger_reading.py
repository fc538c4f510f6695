"""The ledger as the page has it, on either database: read alone, listed and drawn as by who writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from archiver.core.errors import LedgerFault
from archiver.core.listing import TaskFilter, TaskOrder
from archiver.core.model import Archived
from archiver.core.states import TaskState
from archiver.ports.listing import Moment
from tests.fixtures.ledgers import DAY, NOW, finish, listed, retry, stored, take_in, tid
from tests.fixtures.page_site import PageSite, Visitor, figures_in, fill, page_settings
from tests.house import Ledger, ledger_for_reading, page_on

HOUR = timedelta(hours=1)
MOMENT = Moment(NOW, 2 * DAY)


@pytest.fixture
def reader(ledger: Ledger, ledger_url: str) -> Iterator[Ledger]:
    with closing(ledger_for_reading(ledger_url, timedelta(seconds=10))) as reader:
        yield reader


def fill_some(ledger: Ledger) -> None:
    """Two tasks archived in one hour and one in the next, two in work of which one has a deadline, one queued."""
    for number, at in ((1, NOW), (2, NOW + HOUR / 60), (3, NOW + HOUR)):
        claim = listed(ledger, number, "vocal", now=at)
        stored(ledger, claim, "vocal")
        finish(ledger, claim, Archived(), now=at)
    listed(ledger, 4, "vocal", "bass", deadline=NOW + DAY, now=NOW)
    listed(ledger, 5, "vocal", deadline=NOW + DAY + HOUR / 30, now=NOW)
    take_in(ledger, 6, now=NOW)


def test_reader_lists_counts_and_shows_what_the_writer_wrote(ledger: Ledger, reader: Ledger) -> None:
    fill_some(ledger)
    for order in TaskOrder:
        for wanted in (TaskFilter(), TaskFilter(states=(TaskState.LISTED,)), TaskFilter(needs_person=True)):
            page = reader.listings.page(wanted, order, MOMENT, size=2)
            assert page == ledger.listings.page(wanted, order, MOMENT, size=2)
            assert reader.listings.count(wanted, MOMENT) == ledger.listings.count(wanted, MOMENT)
    assert reader.reports.show(tid(1)) == ledger.reports.show(tid(1))
    assert reader.reports.overview(now=NOW, at_risk=DAY).tasks == {
        **dict.fromkeys(TaskState, 0),
        TaskState.ARCHIVED: 3,
        TaskState.LISTED: 2,
        TaskState.QUEUED: 1,
    }


def test_reader_writes_nothing(ledger: Ledger, reader: Ledger) -> None:
    take_in(ledger, 1)
    with pytest.raises(LedgerFault):
        take_in(reader, 2)
    with pytest.raises(LedgerFault):
        retry(reader)
    assert reader.reports.show(tid(2)) is None


def test_backlog_is_drawn_by_deadline_to_a_quarter_of_an_hour_and_by_retention_without_one(
    ledger: Ledger, reader: Ledger
) -> None:
    asked: dict[str, Any] = {"now": NOW, "at_risk": DAY, "retention": 14 * DAY}
    assert reader.plots.overview(**asked) == (reader.reports.overview(**asked), [])
    fill_some(ledger)
    seen, ((first, both), (last, unknown)) = reader.plots.overview(**asked)
    assert seen == reader.reports.overview(**asked)
    assert (first, both) == (NOW + DAY, 3), "stems of both, that are due within a quarter of an hour"
    assert unknown == 1
    assert abs(last - (NOW + 14 * DAY)) < timedelta(minutes=1)


def test_archived_tasks_are_counted_by_their_hour(ledger: Ledger, reader: Ledger) -> None:
    fill_some(ledger)
    assert reader.plots.archived(since=NOW - HOUR) == [(NOW, 2), (NOW + HOUR, 1)]
    assert reader.plots.archived(since=NOW + HOUR / 2) == [(NOW + HOUR, 1)]


def test_last_moves_come_first_and_no_more_than_are_asked_for(ledger: Ledger, reader: Ledger) -> None:
    fill_some(ledger)
    moves = reader.plots.moves(most=3)
    assert [(task, move.after) for task, move in moves] == [
        (tid(5), "listed"),
        (tid(4), "listed"),
        (tid(3), "archived"),
    ]
    assert moves[0][1].at == NOW


def test_mark_of_changes_is_another_after_a_write(ledger: Ledger, reader: Ledger) -> None:
    before = reader.plots.changes()
    take_in(ledger, 7)
    assert reader.plots.changes() != before


def test_page_shows_the_same_figures_whatever_database_the_ledger_is_on(
    ledger: Ledger, ledger_url: str, tmp_path: Path
) -> None:
    fill(ledger, tmp_path, datetime.now(UTC), safe=1)
    settings = page_settings(tmp_path, ledger_url)
    with page_on(settings) as served:
        visitor = Visitor(PageSite(settings, ledger, served.url, served.link))
        assert figures_in(visitor.look("/").text)["tasks.archived"] == 1
        for path, words in (
            ("/tasks?order=deadline", "task-000200"),
            ("/events", tid(202)),
            (f"/task/{tid(0)}", "safe"),
        ):
            answer = visitor.look(path)
            assert (answer.status, words in answer.text) == (200, True), path
        visitor.change("/operations/title", ids=tid(202), title="Open Sea", sure="yes")
        assert tid(202) in visitor.look("/tasks?title=sea").text
