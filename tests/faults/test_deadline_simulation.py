"""The deadline, simulated: thousands of tasks and days of outages through the real path and ledger.

Time is ours: a transfer, a call and a failure each cost their span of it, one after the other. What a
scheduler could have saved under the same costs and outages is counted beside it, and so is what the
same path saves when it goes first in, first out.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import update

from archiver.adapters.ledger.claims import SqlClaims
from archiver.adapters.ledger.progress import SqlProgress
from archiver.adapters.ledger.schema.tables import tasks
from archiver.core.errors import ApiBusy, LinkSpent, OriginBusy, StoreBusy
from archiver.core.model import (
    Claim,
    Dependency,
    RecordInfo,
    StemName,
    StemSource,
    TaskId,
)
from archiver.core.states import StemState
from tests.fakes.calls import Calls
from tests.fakes.downloader import Answer, Audio
from tests.fakes.time import NOW as START
from tests.fixtures.ledgers import open_work, pauses
from tests.house import Ledger, middle
from tests.worlds.path import CDN
from tests.worlds.simulated import SimulatedPath, simulated

pytestmark = pytest.mark.timeout(300)

RETENTION = timedelta(days=14)
STEMS = 6
ASK = timedelta(seconds=0.5)
"""A call of record-info: the documented rate is about two a second."""
FAILURE = timedelta(seconds=0.2)
PROBE = timedelta(seconds=30)
"""A paused dependency is probed at least so often."""


@dataclass(frozen=True, slots=True)
class Outage:
    """One dependency is down for a while."""

    dependency: Dependency
    begins: timedelta
    lasts: timedelta

    def covers(self, now: datetime) -> bool:
        return START + self.begins <= now < START + self.begins + self.lasts


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens, to how many tasks, at what cost."""

    tasks: int
    outages: tuple[Outage, ...]
    transfer: timedelta
    """Of one stem, with all threads together."""
    youngest: timedelta = timedelta()
    oldest: timedelta = timedelta(days=13)
    """Tasks are between this old and `youngest` when they are handed in, in no order."""

    def created(self) -> dict[TaskId, datetime]:
        dice = random.Random(7)
        ages = (self.youngest + (self.oldest - self.youngest) * dice.random() for _ in range(self.tasks))
        return {TaskId(f"song-{n:06}"): START - age for n, age in enumerate(ages)}

    def down(self, dependency: Dependency, now: datetime) -> bool:
        return any(each.dependency is dependency and each.covers(now) for each in self.outages)

    @property
    def probing(self) -> int:
        """The stems that go before the most urgent, since theirs were the files that showed an outage to be over."""
        return STEMS * sum(each.dependency is not Dependency.PROVIDER for each in self.outages)


class Simulation(SimulatedPath):
    """The world of one run: every call and transfer costs its span of time, or meets an outage."""

    def __init__(self, *world: Any, scenario: Scenario) -> None:  # noqa: ANN401 - what `simulated` gives
        super().__init__(*world, lease=timedelta(days=1), jitter=middle)
        self.scenario = scenario
        self.created = scenario.created()
        for task, created in self.created.items():
            stems = (StemName(f"stem{n}") for n in range(STEMS))
            sources = [StemSource(stem, f"https://{CDN}/{task}/{stem}", f"{stem}Url") for stem in stems]
            self.lists(*sources, task=task, created=created)
            self.origin |= {each.url: [partial(self.audio, each.url, created)] for each in sources}
        self.api.permit = lambda _: None
        self.api.before = self.costs(Dependency.PROVIDER, ApiBusy("down"), {"fetch": ASK, "fresh_link": ASK})
        self.downloader.before = self.costs(Dependency.ORIGIN, OriginBusy("down"), {"open": timedelta()})
        writing = {"put": scenario.transfer, "put_document": timedelta(), "try_write": timedelta()}
        self.store.before = self.costs(Dependency.STORE, StoreBusy("down"), writing)

    def costs(self, dependency: Dependency, error: Exception, spans: Mapping[str, timedelta]) -> Calls:
        def before(method: str, about: str) -> None:
            del about
            if method not in spans:
                return
            if self.scenario.down(dependency, self.clock()):
                self.forward(FAILURE)
                raise error
            self.forward(spans[method])

        return before

    def audio(self, url: str, created: datetime) -> Answer:
        if self.clock() < created + RETENTION:
            return Audio(url.encode())
        self.forward(FAILURE)
        return LinkSpent(status=404)

    @property
    def stored(self) -> int:
        return len(self.watcher.stored)

    def beside(self) -> None:
        """What else is done, after each task and each wait."""

    def run(self, until: datetime) -> None:
        """Work until then, or until nothing is left, and leap over what is but waiting."""
        self.accept(*self.created)
        while (now := self.clock()) < until:
            started = 0
            while self.dispatcher.step():
                started += 1
                self.beside()
            self.beside()
            assert self.dispatcher.fault is None
            moments = [pause.next_probe for pause in pauses(self.ledger)]
            # A probe that failed is followed by the next; counting what is left would cost more than the probe.
            if not (started and moments):
                work = open_work(self.ledger)
                if not work.tasks:
                    return
                moments += [moment for moment in (work.next_retry, work.next_ask) if moment is not None]
            now = self.clock()
            waiting = [moment for moment in moments if moment > now]
            self.forward(min(waiting, default=now + timedelta(seconds=30)) - now)


class ByAge(SqlProgress):
    """The real path, blind to deadlines: tasks go by their age in the queue."""

    def listed(self, claim: Claim, record: RecordInfo, deadline: datetime, *, settled: bool, now: datetime) -> Claim:
        fresh = super().listed(claim, record, deadline, settled=settled, now=now)
        with self._db.write() as db:
            db.execute(update(tasks).where(tasks.c.task_id == claim.task_id).values(urgency=tasks.c.accepted_at))
        return fresh


class FarAhead(SqlClaims):
    """Asks as far ahead as the other: what is compared is the order of storing."""

    def next_deadline(self, owner: str, *, now: datetime, enlisted_only: bool = False) -> datetime | None:
        return now + RETENTION


Kind = Callable[[Ledger], Ledger]


def earliest_deadline_first(ledger: Ledger) -> Ledger:
    return ledger


def first_in_first_out(ledger: Ledger) -> Ledger:
    return replace(ledger, claims=FarAhead(ledger.db), progress=ByAge(ledger.db))


@contextmanager
def simulation(
    scenario: Scenario,
    kind: Kind = earliest_deadline_first,
    *,
    afterwards: timedelta = timedelta(),
    as_: Callable[..., Simulation] = Simulation,
) -> Iterator[Any]:
    """Run the scenario to the time when nothing can be saved any more, and so long afterwards."""
    with simulated(partial(as_, scenario=scenario), ledger_as=kind, threads=0) as world:
        world.run(until=max(world.created.values()) + RETENTION + afterwards)
        yield world


def could_be_saved(scenario: Scenario, *, asks: bool = True, probe: timedelta = PROBE) -> int:
    """How many stems are saved by a scheduler that first asks about all, and then knows every deadline.

    It knows of an outage when it begins, and that it is over from a probe: `probe` later at the latest, as nobody
    can without asking. With `asks=False` and no wait for a probe it was born with all that knowledge: more than that
    no schedule saves, though the ids' deadlines and the outages to come are for none to know.
    """
    now = START
    for _ in range(scenario.tasks if asks else 0):
        now = _after(scenario, now, probe, Dependency.PROVIDER) + ASK
    saved = 0
    for created in sorted(scenario.created().values()):
        for _ in range(STEMS):
            begins = _after(scenario, now, probe, Dependency.ORIGIN, Dependency.STORE)
            if begins < created + RETENTION:
                now = begins + scenario.transfer
                saved += 1
    return saved


def _after(scenario: Scenario, now: datetime, probe: timedelta, *needs: Dependency) -> datetime:
    """The first moment from `now` on at which all that is needed is up, and known to be."""
    while over := [each for each in scenario.outages if each.dependency in needs and each.covers(now)]:
        now = max(START + each.begins + each.lasts for each in over) + probe
    return now


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


WORST = "provider 1 day, then origin 2 days, then store 1 day"
OUTAGES = {
    "none": (),
    "provider, 1 hour": (Outage(Dependency.PROVIDER, hours(0.1), hours(1)),),
    "store, 2 hours": (Outage(Dependency.STORE, hours(0.5), hours(2)),),
    "origin, 1 day": (Outage(Dependency.ORIGIN, hours(1), hours(24)),),
    "store, 4 days": (Outage(Dependency.STORE, hours(0), hours(96)),),
    WORST: (
        Outage(Dependency.PROVIDER, hours(2), hours(24)),
        Outage(Dependency.ORIGIN, hours(30), hours(48)),
        Outage(Dependency.STORE, hours(80), hours(24)),
    ),
    "store, 13 days": (Outage(Dependency.STORE, hours(0), hours(312)),),
}


def check(name: str, scenario: Scenario, capsys: pytest.CaptureFixture[str], *, against_fifo: bool = True) -> None:
    """Nothing is lost that a schedule could have saved that asks about all first; first in first out loses more.

    After each outage but a task's stems: a file of whichever task's turn it is shows that it is over, and here, where
    one moves after the other, the rest of that task goes before the most urgent.
    """
    possible = could_be_saved(scenario)
    foreseen = could_be_saved(scenario, asks=False, probe=timedelta())
    ours, seconds = timed(scenario, earliest_deadline_first)
    said = (
        f"{name}: of {scenario.tasks * STEMS} stems {possible} can be saved ({foreseen} if all were foreseen);"
        f" earliest deadline first saves {ours} ({seconds:.0f} CPU-s)"
    )
    fifo = 0
    if against_fifo:
        fifo, seconds = timed(scenario, first_in_first_out)
        said += f", first in first out {fifo} ({seconds:.0f} CPU-s)"
    with capsys.disabled():
        print(f"\n  {said}")
    assert ours >= possible - scenario.probing, "lost what could have been saved"
    assert ours > fifo or fifo >= possible


def timed(scenario: Scenario, kind: Kind) -> tuple[int, float]:
    """How many stems are saved, and what that took of the processor, in seconds."""
    began = time.process_time()
    with simulation(scenario, kind) as world:
        return world.stored, time.process_time() - began


@pytest.mark.parametrize("name", ["provider, 1 hour", "store, 2 hours"])
def test_small_backlog_through_an_outage_loses_nothing_that_could_be_saved(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    oldest, youngest = RETENTION - hours(2.6), RETENTION - hours(6)
    scenario = Scenario(60, OUTAGES[name], timedelta(seconds=30), youngest=youngest, oldest=oldest)
    check(name, scenario, capsys)


def test_small_backlog_that_can_just_be_asked_about_before_the_provider_goes_down_loses_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    down = Outage(Dependency.PROVIDER, hours(40 / 3600), hours(8))
    oldest, youngest = RETENTION - hours(2.6), RETENTION - hours(6)
    check("provider, from 40 s on", Scenario(60, (down,), timedelta(seconds=30), youngest, oldest), capsys)


@pytest.mark.parametrize("outages", [(), (Outage(Dependency.ORIGIN, hours(0.3), hours(0.3)),)], ids=["none", "origin"])
def test_more_tasks_than_can_be_saved_take_no_time_from_each_other_once_their_deadline_has_passed(
    outages: tuple[Outage, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    oldest, youngest = RETENTION - hours(0.1), RETENTION - hours(1.5)
    check("too many", Scenario(100, outages, timedelta(seconds=10), youngest, oldest), capsys, against_fifo=False)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", list(OUTAGES))
def test_ten_thousand_tasks_through_outages_lose_nothing_that_could_be_saved(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = Scenario(tasks=10_000, outages=OUTAGES[name], transfer=timedelta(seconds=10))
    check(name, scenario, capsys, against_fifo=name == WORST)


def test_every_task_of_a_simulation_ends_archived_or_lost_with_a_reason() -> None:
    oldest, youngest = RETENTION - hours(1), RETENTION - hours(8)
    scenario = Scenario(20, OUTAGES["store, 2 hours"], timedelta(minutes=8), youngest=youngest, oldest=oldest)
    with simulation(scenario, afterwards=timedelta(days=4)) as world:
        rows = [world.row(task) for task in world.created]
    assert {row.state for row in rows} == {"archived", "lost"}
    for row in rows:
        assert row.state == "archived" or all(stem.reason for stem in row.stems if stem.state is StemState.LOST)
