"""What a callback does to the ledger: a task that waits for the provider is due at once, and not too often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from archiver.core.model import Later, Phase, RecordInfo
from archiver.core.records.kinds.names import KindName
from archiver.service.wakeups import Wakeups
from tests.fakes.events import Events
from tests.fixtures.ledgers import (
    DAY,
    LEASE,
    NOW,
    SECOND,
    claim,
    finish,
    no_claim,
    ready_ledger,
    record,
    shown,
    take_in,
    tid,
)
from tests.house import Ledger

HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = ready_ledger(tmp_path)
    yield ledger
    ledger.close()


def pending(ledger: Ledger, number: int = 1, *, fault: bool = False) -> None:
    """Have a task that waits for an hour."""
    take_in(ledger, number)
    mine = claim(ledger)
    finish(ledger, mine, Later(NOW + HOUR, "wait", fault=fault), record=record())


@dataclass
class Woken:
    ledger: Ledger
    add_unknown: bool = False
    now = NOW + SECOND
    events: Events = field(default_factory=Events)

    def __post_init__(self) -> None:
        self.wakeups = Wakeups(self.ledger.intakes, lambda: self.now, self.events, add_unknown=self.add_unknown)

    def call(self, *numbers: int) -> None:
        for number in numbers:
            self.wakeups.request(tid(number))
        self.wakeups()


def test_task_that_waits_for_the_provider_is_due_at_once_when_it_calls(ledger: Ledger) -> None:
    pending(ledger)
    woken = Woken(ledger)
    assert no_claim(ledger, now=woken.now)
    woken.call(1)
    assert shown(ledger).not_before == woken.now
    assert woken.events.of("callback.heard") == [{"task_id": tid(1), "kind": None, "woken": True}]


def test_task_that_was_called_about_is_woken_again_in_case_the_record_came_late(ledger: Ledger) -> None:
    pending(ledger)
    woken = Woken(ledger)
    wakings = []
    for second in range(100):
        woken.now = NOW + second * SECOND
        woken.call(1)
        asked = ledger.claims.claim(owner="us", now=woken.now, lease=LEASE)
        if asked is not None:
            wakings.append(second)
            finish(ledger, asked, Later(NOW + HOUR, "wait"), record=record(), now=woken.now)
    assert wakings == [0, 10, 40], "however often the provider calls meanwhile"


def test_task_that_waits_after_a_failed_try_or_is_worked_on_or_has_ended_is_left_alone(ledger: Ledger) -> None:
    pending(ledger, 1, fault=True)
    before = shown(ledger).not_before
    woken = Woken(ledger)
    woken.call(1)
    assert shown(ledger).not_before == before
    assert woken.events.of("callback.heard") == [{"task_id": tid(1), "kind": None, "woken": False}]


def test_task_that_is_being_asked_about_is_woken_when_that_was_too_early(ledger: Ledger) -> None:
    take_in(ledger, 1)
    mine = claim(ledger)
    woken = Woken(ledger)
    woken.call(1)
    finish(ledger, mine, Later(NOW + HOUR, "wait"), record=record(), now=woken.now)
    woken.now += timedelta(seconds=10)
    woken.wakeups()
    assert shown(ledger).not_before == woken.now


def test_task_that_nobody_knows_is_named_in_the_log_or_taken_in_as_configured(ledger: Ledger) -> None:
    woken = Woken(ledger)
    woken.call(1)
    assert woken.events.of("callback.unknown") == [{"task_id": tid(1)}]
    assert ledger.reports.show(tid(1)) is None
    adding = Woken(ledger, add_unknown=True)
    adding.call(1, 2)
    assert [shown(ledger, number).source for number in (1, 2)] == ["callback", "callback"]
    assert ledger.claims.claim(owner="us", now=adding.now, lease=LEASE) is not None


def test_last_of_several_calls_is_heard_though_it_comes_when_those_before_were_served(ledger: Ledger) -> None:
    pending(ledger)
    woken, wakings = Woken(ledger), []
    for second in range(220):
        woken.now = NOW + second * SECOND
        woken.call(*([1] if second in (0, 55) else []))
        asked = ledger.claims.claim(owner="us", now=woken.now, lease=LEASE)
        if asked is not None:
            wakings.append(second)
            finish(ledger, asked, Later(NOW + HOUR, "first track only"), record=record(), now=woken.now)
    assert wakings == [0, 10, 40, 100, 110, 140]


def test_kind_that_a_callback_looks_like_is_asked_first_and_no_more_once_an_answer_told_it(ledger: Ledger) -> None:
    take_in(ledger, 1)
    woken = Woken(ledger, add_unknown=True)
    for number in (1, 2):
        woken.wakeups.request(tid(number), KindName.WAV)
    woken.wakeups()
    claims = [claim(ledger, now=woken.now) for _ in range(2)]
    assert [(mine.kind, mine.hint) for mine in claims] == [(None, KindName.WAV)] * 2
    heard = [(fields["task_id"], fields["kind"]) for fields in woken.events.of("callback.heard")]
    assert sorted(heard) == [(tid(1), "wav"), (tid(2), "wav")]
    answer = RecordInfo(Phase.PENDING, kind=KindName.MP4)
    finish(ledger, claims[0], Later(NOW + HOUR, "wait"), record=answer)
    woken.now += HOUR
    woken.wakeups.request(claims[0].task_id, KindName.JOBS)
    woken.wakeups()
    assert shown(ledger, int(claims[0].task_id[-6:])).kind is KindName.MP4


def test_calls_beyond_the_bound_are_dropped(ledger: Ledger) -> None:
    woken = Woken(ledger)
    for number in range(10_002):
        woken.wakeups.request(tid(number))
    woken.wakeups()
    assert len(woken.events.of("callback.unknown")) == 10_000


def test_call_that_was_noted_before_the_clock_was_set_back_does_not_wait_for_it(ledger: Ledger) -> None:
    pending(ledger)
    woken = Woken(ledger)
    woken.now += DAY
    woken.wakeups.request(tid(1))
    woken.now -= DAY
    woken.wakeups()
    assert shown(ledger).not_before == woken.now
