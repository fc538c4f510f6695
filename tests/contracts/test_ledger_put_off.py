"""Tasks that are put off: why, how many for what reason, and which of them the longest."""

from __future__ import annotations

from archiver.core.model import Dependency, Later, Refused, Stage, Subject, Yielded
from archiver.core.put_off import UNKNOWN_YET, Why
from archiver.core.states import StemEvent
from tests.fixtures.ledgers import (
    DAY,
    DEADLINE,
    LEASE,
    NOW,
    SECOND,
    finish,
    listed,
    overview,
    pause,
    release,
    stem_failed,
    take_in,
    tid,
)
from tests.house import Ledger


def put_off(ledger: Ledger, number: int, reason: str, *, at: int, fault: bool = False) -> None:
    """Take the task in, and have it put off for that reason so many seconds later."""
    now = NOW + at * SECOND
    take_in(ledger, number, now=now)
    claim = ledger.claims.claim(owner="us", now=now, lease=LEASE, stage=Stage.LIST)
    assert claim is not None
    assert claim.task_id == tid(number)
    finish(ledger, claim, Later(now + DAY, reason, fault=fault), now=now)


def test_put_off_tasks_are_counted_by_why_and_the_oldest_of_each_is_named(ledger: Ledger) -> None:
    put_off(ledger, 3, "the provider is not ready", at=0)
    put_off(ledger, 1, "still pending, with an error", at=1)
    put_off(ledger, 2, "the provider is not ready", at=2)
    put_off(ledger, 5, f"{UNKNOWN_YET}, asked as jobs", at=3)
    put_off(ledger, 4, f"{UNKNOWN_YET}, asked as veo", at=4)
    put_off(ledger, 6, "api.busy: HTTP 500: one two", at=5, fault=True)
    found = overview(ledger, now=NOW + DAY / 2).put_off
    assert [(each.why, each.tasks, each.oldest, each.since, each.reason) for each in found] == [
        (Why.UNKNOWN, 2, tid(5), NOW + 3 * SECOND, f"{UNKNOWN_YET}, asked as jobs"),
        (Why.NOT_READY, 3, tid(3), NOW, "the provider is not ready"),
        (Why.FAILING, 1, tid(6), NOW + 5 * SECOND, "api.busy: HTTP 500: one two"),
    ]


def test_tasks_that_begin_wait_for_a_pause_or_are_refused_are_not_put_off(ledger: Ledger) -> None:
    take_in(ledger, 1)
    refused = listed(ledger, 2, deadline=DEADLINE)
    stem_failed(ledger, refused, "vocal", event=StemEvent.REFUSED, reason="cdn.not_audio: HTML")
    finish(ledger, refused, Refused("cdn.not_audio: HTML", NOW + DAY))
    waiting = listed(ledger, 3, deadline=DEADLINE)
    finish(ledger, waiting, Later(NOW, "cdn.busy: refused", fault=True))
    subject: Subject = pause(ledger, Dependency.STORE).subject
    claim = ledger.claims.claim(owner="us", now=NOW, lease=LEASE, stage=Stage.STORE)
    assert claim is not None
    finish(ledger, claim, Yielded(NOW + DAY, (subject,)))
    release(ledger)
    assert overview(ledger).put_off == ()
