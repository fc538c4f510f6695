"""Leases over a suspend and over steps of the clock: nobody's task is done twice, nor waits for the wrong time."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from archiver.core.intake import Intake
from archiver.core.model import Claim, Later, Outcome, TaskId
from tests.fakes.events import Events
from tests.fakes.time import NOW
from tests.fixtures.ledgers import accept
from tests.house import LEASE, Ledger, LocalDispatcher, breakers_on, context_on, dispatcher_on, ready_ledger_at

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
STEPS = [-70 * DAY, -HOUR, HOUR, 70 * DAY]


class Machine:
    """A machine that may sleep, and whose wall clock may be set, with several processes on it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.wall = NOW
        self.awake = 1000.0
        self.begun: list[tuple[str, TaskId]] = []
        self.during: Callable[[], None] = lambda: None

    def clock(self) -> datetime:
        return self.wall

    def passes(self, span: timedelta) -> None:
        self.wall += span
        self.awake += span.total_seconds()

    def sleeps(self, span: timedelta) -> None:
        self.wall += span

    def process(self, owner: str) -> LocalDispatcher:
        """Start a process that claims as `owner`."""

        def archive(claim: Claim) -> Outcome:
            self.begun.append((owner, claim.task_id))
            during, self.during = self.during, lambda: None
            during()
            return Later(self.wall, "")

        events = Events()
        breakers = breakers_on(self.ledger, self.clock, events)
        dispatcher = dispatcher_on(
            context_on(self.ledger, breakers, self.clock, events, owner=owner, workers=4, monotonic=lambda: self.awake),
            archive,
        )
        dispatcher.renew()
        dispatcher.step()
        return dispatcher


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Iterator[Machine]:
    ledger = ready_ledger_at(f"sqlite:///{tmp_path}/ledger.db")
    yield Machine(ledger)
    ledger.close()


def queue(machine: Machine, *names: str) -> None:
    accept(machine.ledger, Intake(ids=tuple(map(TaskId, names))), now=machine.wall)


@pytest.mark.parametrize("slept", [11 * MINUTE, 8 * HOUR])
def test_process_that_slept_with_a_task_in_hand_does_not_claim_it_again(machine: Machine, slept: timedelta) -> None:
    mine = machine.process("me")
    queue(machine, "in-hand-0001")

    def sleep() -> None:
        machine.sleeps(slept)
        assert not mine.step()
        machine.passes(2 * MINUTE)
        assert not mine.step()

    machine.during = sleep
    assert mine.step()
    assert machine.begun == [("me", "in-hand-0001")]


@pytest.mark.parametrize("slept", [11 * MINUTE, 8 * HOUR])
def test_process_that_slept_leaves_others_the_time_to_renew_their_leases(machine: Machine, slept: timedelta) -> None:
    mine, other = machine.process("me"), machine.process("other")
    queue(machine, "in-hand-0001")

    def sleep() -> None:
        machine.sleeps(slept)
        assert not other.step(), "it woke first"
        machine.passes(30 * timedelta(seconds=1))
        mine.renew()
        machine.passes(2 * MINUTE)
        assert not other.step()

    machine.during = sleep
    assert mine.step()
    assert machine.begun == [("me", "in-hand-0001")]


def test_process_that_slept_claims_what_nobody_renewed_once_others_had_the_time(machine: Machine) -> None:
    other = machine.process("other")
    queue(machine, "in-hand-0001")
    assert machine.ledger.claims.claim(owner="dead", now=machine.wall, lease=LEASE) is not None
    machine.sleeps(8 * HOUR)
    assert not other.step()
    machine.passes(MINUTE)
    assert other.step()


@pytest.mark.parametrize("step", STEPS)
def test_clock_that_is_set_with_a_task_in_hand_makes_nobody_do_it_twice(machine: Machine, step: timedelta) -> None:
    mine, other = machine.process("me"), machine.process("other")
    queue(machine, "in-hand-0001")

    def set_clock() -> None:
        machine.wall += step
        for _ in range(10):
            assert not mine.step()
            assert not other.step()
            machine.passes(20 * timedelta(seconds=1))
            assert mine.renew()
            assert other.renew()

    machine.during = set_clock
    assert mine.step()
    assert machine.begun == [("me", "in-hand-0001")]
