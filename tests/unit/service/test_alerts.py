"""Alerts: of which events, how often, and that whoever notes them never waits."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import timedelta

import pytest

from archiver.core.redaction import Cleaner
from archiver.logs import EVENTS
from archiver.service.alerts import ALERTS, AlertDelivery, Alerts, Courier, Heartbeat
from tests.fakes.events import Events
from tests.fakes.time import NOW

INTERVAL = timedelta(minutes=5)
LOST: Mapping[str, object] = {"task_id": "lost-0001", "reason": "vocal: https://cdn.example/v.mp3?token=planted-query"}


class Desk:
    """Alerts with their time in our hands, and the messages that were sent."""

    def __init__(self) -> None:
        self.now = NOW
        self.works = True
        self.open = threading.Event()
        self.open.set()
        self.sent: list[list[str]] = []
        self.events = Events()
        self.alerts = Alerts(Cleaner(["planted-secret"]), lambda: self.now)
        self.delivery = AlertDelivery(
            self.alerts, send=self.send, clock=lambda: self.now, min_interval=INTERVAL, log=self.events
        )

    def send(self, title: str, body: str) -> bool:
        assert title == "stem-archiver"
        assert self.open.wait(60)
        self.sent.append(body.splitlines())
        return self.works

    def flush(self) -> None:
        """Flush, and wait until what it began is done."""
        self.delivery.flush()
        self.delivery._courier.wait(60)  # the daemon never waits for it

    def lose(self, count: int) -> None:
        for _ in range(count):
            self.alerts.notify("task.lost", LOST)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_alerts_are_events_of_the_catalogue() -> None:
    assert set(ALERTS) <= set(EVENTS)


def test_first_alert_is_sent_at_once_and_those_that_follow_in_one_message_after_the_interval(desk: Desk) -> None:
    desk.flush()
    desk.lose(1)
    desk.flush()
    assert [len(lines) for lines in desk.sent] == [1]
    desk.lose(2)
    desk.now += INTERVAL - timedelta(seconds=1)
    desk.flush()
    assert len(desk.sent) == 1
    desk.now += timedelta(seconds=1)
    desk.flush()
    assert [len(lines) for lines in desk.sent] == [1, 2]
    desk.now += INTERVAL
    desk.flush()
    assert len(desk.sent) == 2, "nothing happened"


def test_message_says_what_happened_without_secrets(desk: Desk) -> None:
    desk.alerts.notify("task.lost", {**LOST, "owner": "planted-secret", "missing": None})
    desk.alerts.notify("stem.stored", LOST)
    desk.flush()
    said = "task_id=lost-0001, reason=vocal: https://cdn.example/v.mp3, owner=***"
    assert desk.sent == [[f"2026-11-01 00:00:00 UTC task.lost: audio is lost; {said}"]]


def test_dependency_that_stays_paused_is_one_alert_until_it_works_again(desk: Desk) -> None:
    for event in ("paused", "paused", "resumed", "paused", "paused"):
        desk.alerts.notify(f"dependency.{event}", {"dependency": "store"})
    desk.alerts.notify("dependency.paused", {"dependency": "provider"})
    desk.flush()
    [lines] = desk.sent
    assert [line.split()[3] for line in lines] == [
        *("dependency.paused:", "dependency.resumed:", "dependency.paused:", "dependency.paused:")
    ]


def test_more_than_a_message_holds_is_counted(desk: Desk) -> None:
    desk.lose(57)
    desk.flush()
    [lines] = desk.sent
    assert len(lines) == 51
    assert lines[-1] == "and 7 more: see the log"


def test_what_could_not_be_sent_is_sent_with_the_next_and_the_failure_logged_once(desk: Desk) -> None:
    desk.works = False
    desk.lose(1)
    for _ in range(3):
        desk.flush()
        desk.now += INTERVAL
    assert desk.events.of("notify.failed") == [{"events": 1}]
    desk.works = True
    desk.lose(1)
    desk.flush()
    assert [len(lines) for lines in desk.sent] == [1, 1, 1, 2]
    desk.works = False
    desk.lose(1)
    desk.now += INTERVAL
    desk.flush()
    assert len(desk.events.of("notify.failed")) == 2, "a new failure, since one got through"


def test_sender_that_hangs_holds_up_nobody_and_costs_no_memory(desk: Desk) -> None:
    desk.open.clear()
    desk.lose(1)
    desk.delivery.flush()
    for _ in range(10):
        desk.lose(1000)
        desk.now += INTERVAL
        desk.delivery.flush()
    assert desk.alerts.waiting == 50, "the bound is on what is kept"
    desk.open.set()
    desk.delivery.close(60)
    assert desk.sent[-1][-1] == "and 9950 more: see the log"


def test_last_words_are_sent_without_regard_to_the_interval(desk: Desk) -> None:
    desk.lose(1)
    desk.flush()
    desk.alerts.notify("ledger.fault", {"error": "disk full"})
    desk.delivery.close(60)
    assert "ledger.fault" in desk.sent[1][0]


# --- the heartbeat


def test_heartbeat_pings_only_while_no_loop_is_late() -> None:
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
