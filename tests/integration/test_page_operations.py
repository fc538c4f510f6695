"""Operations on the page: asked once more, done as by the command, told under Events; without actions there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from archiver.core.model import Dependency
from archiver.core.states import TaskState
from tests.fixtures.ledgers import rows, tid
from tests.fixtures.page_site import Answer, PageSite, Visitor, page_site

LIMIT = 60.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[PageSite]:
    with page_site(tmp_path, safe=1) as site:
        yield site


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageSite]:
    """A site for tests that change nothing."""
    with page_site(tmp_path_factory.mktemp("quiet"), safe=1) as site:
        yield site


@pytest.fixture
def visitor(site: PageSite) -> Visitor:
    visitor = Visitor(site)
    visitor.look("/")
    return visitor


@pytest.fixture(scope="module")
def quiet_visitor(quiet: PageSite) -> Visitor:
    visitor = Visitor(quiet)
    visitor.look("/")
    return visitor


def sure(visitor: Visitor, path: str, **form: str) -> Answer:
    """Ask for it, and say yes."""
    asked = visitor.change(path, **form)
    assert asked.status == 200
    assert 'name="sure" value="yes"' in asked.text
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', asked.text))
    assert form.items() <= hidden.items()
    done = visitor.change(path, **hidden)
    assert done.status == 303
    return done


def state_of(site: PageSite, number: int) -> TaskState:
    row = site.ledger.reports.show(tid(number))
    assert row is not None
    return row.state


def test_retry_is_done_once_it_was_said_yes_to_and_is_seen_under_events(site: PageSite, visitor: Visitor) -> None:
    asked = visitor.change("/operations/retry", ids=tid(202), back="/events?x=1")
    assert "Put task task-000202 back to work?" in asked.text
    assert state_of(site, 202) is TaskState.FAILED
    done = sure(visitor, "/operations/retry", ids=tid(202), back="/events?x=1")
    assert done.fields["location"] == "/events?x=1"
    assert state_of(site, 202) is TaskState.QUEUED
    events = visitor.look("/events").text
    assert "retry task task-000202" in events
    assert "by page" in events
    assert "1 task tried again" in events


def test_several_are_retried_and_what_cannot_be_is_told(site: PageSite, visitor: Visitor) -> None:
    sure(visitor, "/operations/retry", ids=f"{tid(202)} {tid(0)}")
    assert "1 task tried again; 1 left alone" in visitor.look("/events").text
    sure(visitor, "/operations/retry", all="failed")
    assert state_of(site, 201) is TaskState.QUEUED


def test_what_is_acknowledged_needs_nobody_any_more(site: PageSite, visitor: Visitor) -> None:
    sure(visitor, "/operations/ack", ids=tid(201))
    assert "2 tasks need you" in re.sub(r"<[^>]+>", "", visitor.look("/").text)
    sure(visitor, "/operations/ack", rejected="all")
    assert "is no task id" not in visitor.look("/").text


def test_dependencies_are_paused_for_a_span_and_resumed(site: PageSite, visitor: Visitor) -> None:
    sure(visitor, "/operations/pause", which="store", **{"for": "1h"})
    [pause] = [each for each in site.ledger.pauses.all() if each.dependency is Dependency.STORE]
    assert (pause.held, pause.lasting) == (True, False)
    assert "paused for 1 hour" in visitor.look("/events").text
    sure(visitor, "/operations/resume", which="both")
    assert not site.ledger.pauses.all()


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/operations/retry", {}),
        ("/operations/retry", {"ids": "no id at all"}),
        ("/operations/ack", {"ids": "x"}),
        ("/operations/title", {"ids": "task-000201", "title": "\u202e \x07"}),
        ("/operations/title", {"ids": "x", "title": "A song"}),
        ("/operations/pause", {"which": "moon", "for": "1h"}),
        ("/operations/pause", {"which": "store", "for": "9y"}),
        ("/operations/drop", {"ids": "task-000202"}),
    ],
)
def test_form_that_is_none_of_ours_does_nothing(
    quiet: PageSite, quiet_visitor: Visitor, path: str, form: dict[str, str]
) -> None:
    assert quiet_visitor.change(path, sure="yes", **form).status == 404
    assert state_of(quiet, 202) is TaskState.FAILED


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example/", "/\\evil.example", "", "\r\nX: y"])
def test_way_back_is_a_path_of_ours(quiet_visitor: Visitor, back: str) -> None:
    done = quiet_visitor.change("/operations/resume", which="store", sure="yes", back=back)
    assert (done.status, done.fields["location"]) == (303, "/")


def test_ids_are_looked_at_before_they_are_appended_to_the_queue_file(site: PageSite, visitor: Visitor) -> None:
    text = f'{tid(500)}\n{tid(0)}\n{{"taskId": "task-000501", "title": "A song"}}\nhello there\n{tid(500)}'
    seen = visitor.change("/add", ids=text).text
    assert "2 new · 1 known · 1 rejected" in seen
    assert "A song" in seen
    assert not site.settings.queue.path.exists()
    done = visitor.change("/add", ids=text, sure="yes", account="second")
    assert done.fields["location"] == "/events"
    lines = site.settings.queue.path.read_text().splitlines()
    assert [line.split()[0] for line in lines] == [tid(500), tid(501)]
    assert all("second" in line for line in lines)
    assert "2 ids appended to the queue file" in visitor.look("/events").text
    assert "0 new · 3 known · 1 rejected" in visitor.change("/add", ids=text).text


def test_queue_file_that_cannot_be_written_is_told(site: PageSite, visitor: Visitor) -> None:
    site.settings.queue.path.mkdir()
    done = visitor.change("/add", ids=tid(500), sure="yes")
    assert done.status == 303
    assert re.search(r'bad">[^<]*is no regular file', visitor.look("/events").text)


def test_verify_is_begun_as_a_process_of_its_own_and_told_when_it_ends(site: PageSite, visitor: Visitor) -> None:
    sure(visitor, "/operations/verify", ids=tid(0))
    end = monotonic() + LIMIT
    while (events := visitor.look("/events").text).count("verify task task-000000") < 2:
        assert monotonic() < end, events
        sleep(0.2)
    assert "begun: every byte is read again" in events
    assert 'class="reason bad"' in events  # there is no bucket here


def test_page_without_actions_has_neither_buttons_nor_routes(tmp_path: Path) -> None:
    with page_site(tmp_path, safe=1, actions="none") as site:
        visitor = Visitor(site)
        for path in ("/", "/events"):
            assert "<form" not in visitor.look(path).text
            assert 'href="/add"' not in visitor.look(path).text
        visitor.form_token = "f" * 64
        assert visitor.look("/add").status == 404
        for name in ("retry", "ack", "pause", "resume", "verify"):
            assert visitor.change(f"/operations/{name}", ids=tid(202), sure="yes").status in {403, 404}
        assert state_of(site, 202) is TaskState.FAILED


def test_title_is_given_seen_at_once_and_found_by_its_words(site: PageSite, visitor: Visitor) -> None:
    asked = visitor.change("/operations/title", ids=tid(201), title=" Harbour\x00  Lights ")
    assert "Call task task-000201 “Harbour Lights”?" in asked.text
    sure(visitor, "/operations/title", ids=tid(201), title="Harbour Lights")
    row = site.ledger.reports.show(tid(201))
    assert row is not None
    assert (row.title, row.state) == ("Harbour Lights", TaskState.LOST)
    assert f'href="/task/{tid(201)}"' in visitor.look("/tasks?title=lights").text
    assert "call task task-000201 “Harbour Lights”" in visitor.look("/events").text
    sure(visitor, "/operations/title", ids=tid(999), title="Nobody")
    assert "left alone: no such task is known" in visitor.look("/events").text
    assert site.ledger.reports.show(tid(999)) is None


def test_title_and_ids_of_a_megabyte_are_cut_or_refused_and_never_shown_whole(
    quiet: PageSite, quiet_visitor: Visitor
) -> None:
    asked = quiet_visitor.change("/operations/title", ids=tid(201), title="<b>" + "W" * 900_000)
    assert f"Call task task-000201 “&lt;b&gt;{'W' * 197}”?" in asked.text
    rejected = quiet_visitor.change("/add", ids="W" * 900_000)
    assert "0 new · 0 known · 1 rejected" in rejected.text
    assert rejected.text.count("W") < 901_000, "once, where it was pasted"
    rows(quiet.settings.ledger.url, "UPDATE tasks SET reason = printf('%.*c', 1000000, 'W') WHERE state = 'failed'")
    for path in ("/", "/tasks", f"/task/{tid(202)}"):
        assert len(quiet_visitor.look(path).text) < 300_000, path


def test_form_names_20_000_ids_at_most(quiet_visitor: Visitor) -> None:
    ids = " ".join(map(tid, range(20_001)))
    assert quiet_visitor.change("/operations/retry", ids=ids).status == 404
    assert "20,000 tasks" in quiet_visitor.change("/operations/retry", ids=ids.rpartition(" ")[0]).text
