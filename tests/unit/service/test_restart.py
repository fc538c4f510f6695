"""A clock that was set back while no process ran: the next start notices, and nothing waits for longer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from archiver.core.model import Later
from archiver.service.restart import notice_set_back
from tests.fakes.events import Events
from tests.fakes.time import NOW, Clock
from tests.fixtures.ledgers import LEASE, claim, finish, take_in
from tests.house import Ledger

HOUR = timedelta(hours=1)


def works(ledger: Ledger, *, now: Clock, ends: bool = True) -> None:
    """Let a process leave a task that is to wait for an hour."""
    ledger.claims.renew("before", now=now(), lease=LEASE)
    ledger.processes.begin("before", role="run", place="here", pid=7, now=now())
    take_in(ledger, 1, now=now())
    finish(ledger, claim(ledger, owner="before", now=now()), Later(now() + HOUR, "busy", fault=True), now=now())
    ledger.processes.note("before", doing="", looked_at=None, fault="", now=now())
    if ends:
        ledger.processes.end("before", now=now())
        ledger.claims.release("before")


def starts(ledger: Ledger, clock: Clock) -> list[object]:
    """Return by how many seconds the clock is said to be set back."""
    events = Events()
    notice_set_back(ledger.processes, ledger.claims, clock, events)
    return [each["seconds"] for each in events.of("clock.set_back")]


def is_due(ledger: Ledger, clock: Clock) -> bool:
    return ledger.claims.claim(owner="after", now=clock(), lease=LEASE) is not None


@pytest.mark.parametrize("back", [timedelta(minutes=1), 7 * HOUR, timedelta(days=400)])
@pytest.mark.parametrize("killed", [False, True])
def test_wait_is_no_longer_after_a_restart_with_the_clock_set_back(
    ledger: Ledger, back: timedelta, killed: bool
) -> None:
    clock = Clock(NOW + back)
    works(ledger, now=clock, ends=not killed)
    clock.now -= back
    if killed:
        ledger.claims.release_dead(lambda _: False, now=clock())
    assert starts(ledger, clock) == [back.total_seconds()]
    clock.forward(minutes=59)
    assert not is_due(ledger, clock)
    clock.forward(minutes=2)
    assert is_due(ledger, clock)


def test_step_is_noticed_once(ledger: Ledger) -> None:
    clock = Clock(NOW + HOUR)
    works(ledger, now=clock)
    clock.now -= HOUR
    assert starts(ledger, clock) == [3600.0]
    assert starts(ledger, clock) == []


@pytest.mark.parametrize("later", [timedelta(), 7 * HOUR, timedelta(seconds=-20)])
def test_restart_with_a_clock_that_went_on_changes_nothing(ledger: Ledger, later: timedelta) -> None:
    clock = Clock(NOW)
    works(ledger, now=clock)
    clock.now += later
    assert starts(ledger, clock) == []


def test_process_that_works_elsewhere_with_its_clock_ahead_is_no_evidence(ledger: Ledger) -> None:
    works(ledger, now=Clock(NOW + HOUR), ends=False)
    assert starts(ledger, Clock(NOW)) == []
