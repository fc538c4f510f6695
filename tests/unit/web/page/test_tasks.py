"""The tasks view without a browser: addresses, files, and titles that are hostile."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from archiver.core.intake import Intake
from archiver.core.listing import Span, TaskFilter, TaskOrder, TaskPlace
from archiver.core.model import AccountName
from archiver.core.said import Said
from archiver.core.states import TaskState
from archiver.web.page.asking import asked_in, due_by
from archiver.web.page.exports import AT_ONCE, in_parts
from tests.fixtures.ledgers import accept, take_in, tid
from tests.fixtures.page_site import PageSite, Visitor, page_site

HOSTILE = "=HYPERLINK(\"https://x\",'y')<script>alert(1)</script>"
DAY = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageSite]:
    with page_site(tmp_path_factory.mktemp("page")) as site:
        accept(site.ledger, Intake(said={tid(3): Said(title=HOSTILE), tid(4): Said(title="Open Sea")}))
        take_in(site.ledger, *range(1000, 1600))
        yield site


@pytest.fixture(scope="module")
def visitor(site: PageSite) -> Visitor:
    return Visitor(site)


def test_address_says_all_that_is_asked_for_and_is_written_as_it_was_read() -> None:
    pairs = [
        ("state", "lost"),
        ("state", "queued"),
        ("needs", "1"),
        ("title", " Open  sea* "),
        ("id", "3e63"),
        ("account", "two"),
        ("source", "queue"),
        ("stem", "vocal"),
        ("ended_from", "2026-11-28"),
        ("ended_to", "2026-11-28"),
        ("after", "17.3e63b4cc"),
    ]
    asked = asked_in(pairs)
    assert asked.wanted == TaskFilter(
        states=(TaskState.QUEUED, TaskState.LOST),
        needs_person=True,
        words=("Open", "sea*"),
        prefix="3e63",
        account=AccountName("two"),
        source="queue",
        stem="vocal",
        ended=Span(DAY, DAY + timedelta(days=1)),
    )
    assert (asked.order, asked.start, asked.back) == (TaskOrder.ENDED, TaskPlace(17, "3e63b4cc"), False)
    assert asked.faults == []
    assert asked.path(TaskPlace(5, "a&b"), back=True).endswith("&ended_to=2026-11-28&before=5.a%26b")


def test_address_of_a_moment_asks_for_open_tasks_that_are_due_by_then() -> None:
    moment = datetime(2026, 12, 3, 4, 15, 59, tzinfo=UTC)
    asked = asked_in(parse_qsl(urlsplit(due_by(moment)).query))
    assert asked.wanted == TaskFilter(deadline=Span(until=datetime(2026, 12, 3, 4, 16, tzinfo=UTC)))
    assert (asked.order, asked.faults) == (TaskOrder.DEADLINE, [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "gone"),
        ("id", "3e6"),
        ("id", "ü" * 9),
        ("order", "length"),
        ("ended_from", "yesterday"),
        ("created_to", "9999-12-31"),
        ("created_to", "2026-11-28T25:00"),
        ("after", "x"),
        ("before", "9" * 30 + ".a"),
    ],
)
def test_what_cannot_be_asked_for_is_left_out_and_said(name: str, value: str) -> None:
    asked = asked_in([(name, value)])
    assert (asked.wanted, asked.order, asked.start) == (TaskFilter(), TaskOrder.NEWEST, None)
    assert len(asked.faults) == 1


def test_any_other_field_is_ignored() -> None:
    assert asked_in([("x", "y"), ("state", ""), ("title", "  ")]).path() == "/tasks"


def test_view_has_fifty_rows_its_count_and_the_next_page(visitor: Visitor) -> None:
    answer = visitor.look("/tasks?state=queued")
    assert answer.status == 200
    assert answer.text.count('<th scope="row">') == 50
    assert "606 tasks" in answer.text
    assert 'rel="next"' in answer.text
    assert 'rel="prev"' not in answer.text


def test_title_is_escaped_and_found_by_its_word(visitor: Visitor) -> None:
    answer = visitor.look("/tasks?title=hyperlink")
    assert "&lt;script&gt;alert" in answer.text
    assert "<script>alert" not in answer.text
    assert answer.text.count('<th scope="row">') == 1


def test_files_have_every_task_of_the_view_however_many(site: PageSite, visitor: Visitor) -> None:
    answer = visitor.look("/tasks.json?state=queued&state=archived")
    tasks = json.loads(answer.text)["tasks"]
    states = site.ledger.reports.overview(now=DAY, at_risk=timedelta(days=1)).tasks
    assert len(tasks) == states[TaskState.QUEUED] + states[TaskState.ARCHIVED]
    assert len({each["task_id"] for each in tasks}) == len(tasks)
    assert answer.fields["content-disposition"] == 'attachment; filename="tasks.json"'
    lines = list(csv.DictReader(io.StringIO(visitor.look("/tasks.csv?state=queued&state=archived").text, newline="")))
    assert [line["task_id"] for line in lines] == [each["task_id"] for each in tasks]
    [stored] = [each for each in tasks if each["task_id"] == tid(3)]
    assert (stored["title"], stored["stems"], stored["stems_stored"]) == (HOSTILE, "bass drums vocal", 3)
    assert json.loads(visitor.look("/tasks.json?id=none").text) == {"tasks": []}


@pytest.mark.parametrize("count", [0, 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE])
def test_lines_of_a_file_are_written_many_at_a_time_and_none_is_left_out(count: int) -> None:
    lines = [f"{number}\n" for number in range(count)]
    parts = list(in_parts(iter(lines)))
    assert ("".join(parts), len(parts)) == ("".join(lines), -(-count // AT_ONCE))


def test_no_cell_of_csv_begins_a_formula(visitor: Visitor) -> None:
    [line] = csv.DictReader(io.StringIO(visitor.look("/tasks.csv?title=hyperlink").text, newline=""))
    assert line["title"] == f"'{HOSTILE}"
    assert all(not value.startswith(tuple("=+-@\t\r\n")) for value in line.values())


def test_value_of_a_field_is_taken_up_to_200_characters() -> None:
    assert asked_in([("title", "x" * 201)]).of("title") == "x" * 200
