"""The deadline, simulated beside `verify`: the archive is read again meanwhile, and that costs no stem.

What is read takes its time from the same line as the transfers, as if nothing could be done beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from archiver.core.levels import Level
from archiver.core.model import Dependency
from archiver.core.slices import LISTING, Course, SliceLease, slice_of
from archiver.preservation.fault_book import FaultBook
from archiver.preservation.rolling import Limits, RollingRead
from archiver.preservation.slice_reading import SliceReading
from archiver.service.deadlines import Pressing
from tests.fakes.archive import MemoryObject
from tests.faults.test_deadline_simulation import (
    FAILURE,
    OUTAGES,
    RETENTION,
    STEMS,
    WORST,
    Outage,
    Scenario,
    Simulation,
    hours,
    simulation,
)
from tests.fixtures.ledgers import tid
from tests.unit.preservation.held import Held

pytestmark = pytest.mark.timeout(300)

ARCHIVED, SIZE = 40, 40
"""Tasks that were archived before, of as many stems; bytes of each."""
SHARE = 5
"""Of what the line carries, verify may take one part in so many while there is work."""


class BesideVerify(Simulation):
    """The same world, with an archive that is always behind in being read, so that it is read as quickly as it may."""

    def __init__(self, *world: Any, scenario: Scenario, gives_way: bool = True) -> None:  # noqa: ANN401 - what `simulated` gives
        super().__init__(*world, scenario=scenario)
        self.read = 0
        held = Held(self.ledger, self.store, alter=self.opened).archive(ARCHIVED, STEMS, SIZE)
        ledger, clock = self.ledger, self.clock
        pressing = Pressing(ledger.claims, "me", clock)
        numbers = ", ".join(str(slice_of(tid(task))) for task in range(ARCHIVED))
        ledger.rounds.standings(Course.READ, now=clock())
        with ledger.db.write() as db:
            db.exec_driver_sql(f"DELETE FROM slices WHERE course = 'read' AND number NOT IN ({LISTING}, {numbers})")

        def book(_: SliceLease) -> FaultBook:
            return FaultBook(ledger.faults, Level.READ, clock, self.events, lambda _: False)

        with held.verification(Level.READ) as work:
            reading = SliceReading(work, ledger.rounds, book, ledger.checks, clock)
        rate = SIZE / scenario.transfer.total_seconds() / SHARE
        limits = Limits(timedelta(minutes=30), lambda: rate, lambda: ARCHIVED * STEMS * SIZE)

        def may() -> bool:
            return not (gives_way and pressing())

        self.rolling = RollingRead(ledger.rounds, "verify", limits, reading.steps, may, clock, self.events)

    def opened(self, key: str, body: MemoryObject) -> MemoryObject:
        if key.endswith(".mp3"):
            self.read += 1
            down = self.scenario.down(Dependency.STORE, self.clock())
            self.forward(FAILURE if down else self.scenario.transfer)
        return body

    def beside(self) -> None:
        self.rolling()


TIGHT = Scenario(60, (), timedelta(seconds=30), youngest=RETENTION - hours(3.2), oldest=RETENTION - hours(2.6))
"""Three hours of work for 3.2: whoever takes a fifth of the line loses some."""
OUTAGE = replace(TIGHT, outages=OUTAGES["store, 2 hours"], youngest=RETENTION - hours(6))


def saved(scenario: Scenario, world: Callable[..., Simulation]) -> tuple[int, int]:
    """How many stems are saved, and how many of the archive read meanwhile."""
    with simulation(scenario, as_=world) as run:
        return run.stored, getattr(run, "read", 0)


UNFORESEEN = Scenario(
    12,
    (Outage(Dependency.ORIGIN, hours(3), hours(25)),),
    timedelta(minutes=5),
    youngest=RETENTION - hours(28),
    oldest=RETENTION - hours(27.1),
)
"""No deadline is near when it begins, and all can be kept: what is put off before the outage expires in it."""


@pytest.mark.parametrize("scenario", [TIGHT, OUTAGE, UNFORESEEN], ids=["tight", "store, 2 hours", "origin, unforeseen"])
def test_small_backlog_beside_verify_loses_nothing_that_is_saved_without(scenario: Scenario) -> None:
    alone, _ = saved(scenario, Simulation)
    beside, read = saved(scenario, BesideVerify)
    assert beside >= alone
    assert read, "nothing was read"


def test_small_backlog_beside_verify_that_leaves_the_line_to_nobody_loses_some() -> None:
    beside, _ = saved(TIGHT, partial(BesideVerify, gives_way=False))
    assert beside < 60 * STEMS


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [WORST, "store, 2 hours"])
def test_some_hundred_tasks_through_days_of_outages_beside_verify_lose_nothing_that_is_saved_without(name: str) -> None:
    scenario = Scenario(tasks=300, outages=OUTAGES[name], transfer=timedelta(seconds=330))
    alone, _ = saved(scenario, Simulation)
    beside, read = saved(scenario, BesideVerify)
    print(f"\n{name}: {alone} stems alone, {beside} beside verify, which read {read}")
    assert beside >= alone - scenario.probing
    assert read, "nothing was read"
