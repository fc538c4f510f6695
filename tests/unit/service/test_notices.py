"""What people are told, how often, and that whoever tells them never waits."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from archiver.core.redaction import Cleaner
from archiver.logs import EVENTS
from archiver.service.alerts import LINES_MAX, TOLD, Courier, Heartbeat, Notices, ToldLog
from tests.fakes.events import Events

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PACE = timedelta(minutes=5)
LOST: Mapping[str, object] = {"task_id": "lost-0001", "reason": "vocal: https://cdn.example/v.mp3?token=planted-query"}


class Post:
    """Notices with their time in our hands, and what was sent."""

    def __init__(self) -> None:
        self.now = NOW
        self.works = True
        self.open = threading.Event()
        self.open.set()
        self.sent: list[list[str]] = []
        self.events = Events()
        self.notices = Notices(
            send=self.send,
            cleaner=Cleaner(["planted-secret"]),
            clock=lambda: self.now,
            min_interval=PACE,
            log=self.events,
        )

    def send(self, title: str, body: str) -> bool:
        assert title == "stem-archiver"
        assert self.open.wait(60)
        self.sent.append(body.splitlines())
        return self.works

    def flush(self) -> None:
        """Flush, and wait until what it began is done."""
        self.notices.flush()
        self.notices._courier.wait(60)  # the daemon never waits for it

    def lose(self, count: int) -> None:
        for _ in range(count):
            self.notices.tell("task.lost", LOST)


@pytest.fixture
def post() -> Post:
    return Post()


def test_what_people_are_told_of_are_events_of_the_catalogue() -> None:
    assert set(TOLD) <= set(EVENTS)


def test_told_log_logs_every_event_as_it_came_and_tells_it(post: Post) -> None:
    told: list[str] = []
    log = ToldLog(post.events, lambda event, fields: told.append(f"{event} {dict(fields)}"))
    for level in ("debug", "info", "warning", "error", "exception"):
        getattr(log, level)("task.lost", task_id=level)
    assert [(level, fields) for level, _, fields in post.events.seen] == [
        (level, {"task_id": level}) for level in ("debug", "info", "warning", "error", "exception")
    ]
    assert told[0] == "task.lost {'task_id': 'debug'}"
    assert len(told) == 5


def test_first_event_is_told_at_once_and_what_follows_in_one_message_at_the_pace(post: Post) -> None:
    post.flush()
    post.lose(1)
    post.flush()
    assert [len(lines) for lines in post.sent] == [1]
    post.lose(2)
    post.now += PACE - timedelta(seconds=1)
    post.flush()
    assert len(post.sent) == 1
    post.now += timedelta(seconds=1)
    post.flush()
    assert [len(lines) for lines in post.sent] == [1, 2]
    post.now += PACE
    post.flush()
    assert len(post.sent) == 2, "nothing happened"


def test_message_says_what_happened_without_secrets(post: Post) -> None:
    post.notices.tell("task.lost", {**LOST, "owner": "planted-secret", "missing": None})
    post.notices.tell("stem.stored", LOST)
    post.flush()
    said = "task_id=lost-0001, reason=vocal: https://cdn.example/v.mp3, owner=***"
    assert post.sent == [[f"2026-11-01 00:00:00 UTC task.lost: audio is lost; {said}"]]


def test_dependency_that_stays_paused_is_told_once_until_it_works_again(post: Post) -> None:
    for event in ("paused", "paused", "resumed", "paused", "paused"):
        post.notices.tell(f"dependency.{event}", {"dependency": "store"})
    post.notices.tell("dependency.paused", {"dependency": "provider"})
    post.flush()
    [lines] = post.sent
    assert [line.split()[3] for line in lines] == [
        *("dependency.paused:", "dependency.resumed:", "dependency.paused:", "dependency.paused:")
    ]


def test_more_than_a_message_holds_is_counted(post: Post) -> None:
    post.lose(LINES_MAX + 7)
    post.flush()
    [lines] = post.sent
    assert len(lines) == LINES_MAX + 1
    assert lines[-1] == "and 7 more: see the log"


def test_what_could_not_be_sent_is_sent_with_the_next_and_the_failure_logged_once(post: Post) -> None:
    post.works = False
    post.lose(1)
    for _ in range(3):
        post.flush()
        post.now += PACE
    assert post.events.of("notify.failed") == [{"events": 1}]
    post.works = True
    post.lose(1)
    post.flush()
    assert [len(lines) for lines in post.sent] == [1, 1, 1, 2]
    post.works = False
    post.lose(1)
    post.now += PACE
    post.flush()
    assert len(post.events.of("notify.failed")) == 2, "a new failure, since one got through"


def test_sender_that_hangs_holds_up_nobody_and_costs_no_memory(post: Post) -> None:
    post.open.clear()
    post.lose(1)
    post.notices.flush()
    for _ in range(10):
        post.lose(1000)
        post.now += PACE
        post.notices.flush()
    assert len(post.notices._lines) == LINES_MAX, "white box: the bound is on what is kept"
    post.open.set()
    post.notices.close(60)
    assert post.sent[-1][-1] == f"and {10_000 - LINES_MAX} more: see the log"


def test_last_words_are_sent_without_regard_to_the_pace(post: Post) -> None:
    post.lose(1)
    post.flush()
    post.notices.tell("ledger.fault", {"error": "disk full"})
    post.notices.close(60)
    assert "ledger.fault" in post.sent[1][0]


# --- the heartbeat


def test_heartbeat_beats_only_while_no_loop_is_late() -> None:
    late: dict[str, float] = {}
    pings: list[str] = []

    def ping() -> str:
        pings.append("ping")
        return ""

    heartbeat = Heartbeat(ping, lambda: late, Events())
    heartbeat()
    heartbeat._courier.wait(60)
    late["dispatch"] = 99.0
    heartbeat()
    heartbeat._courier.wait(60)
    assert pings == ["ping"]


def test_heartbeat_that_fails_is_logged_once_and_again_after_a_success() -> None:
    answers = iter(["HTTP 500", "HTTP 500", "", "ConnectError"])
    events = Events()
    heartbeat = Heartbeat(lambda: next(answers), dict, events)
    for _ in range(4):
        heartbeat()
        heartbeat._courier.wait(60)
    assert [fields["reason"] for fields in events.of("heartbeat.failed")] == ["HTTP 500", "ConnectError"]


def test_courier_takes_no_errand_while_one_is_under_way() -> None:
    courier, done, ran = Courier("test"), threading.Event(), []

    def slow() -> None:
        assert done.wait(60)
        ran.append("slow")

    assert courier.offer(slow)
    assert not courier.offer(lambda: ran.append("other"))
    done.set()
    courier.wait(60)
    assert courier.offer(lambda: ran.append("next"))
    courier.wait(60)
    assert ran == ["slow", "next"]
