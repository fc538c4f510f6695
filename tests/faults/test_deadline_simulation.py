"""The deadline, simulated: thousands of tasks and days of outages through the real path and ledger.

Time is ours: a transfer, a call and a failure each cost their span of it, one after the other. What a
clairvoyant scheduler could have saved under the same costs and outages is counted beside it, and so
is what the same path loses when it goes first in, first out.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import pytest

from archiver.core.errors import ApiBusy, LinkSpent, OriginBusy, StoreBusy
from archiver.core.model import (
    AccountName,
    Claim,
    Dependency,
    Intake,
    Phase,
    Policy,
    RecordInfo,
    StemName,
    StemSource,
    TaskId,
)
from archiver.core.states import StemState
from archiver.dispatch import Breakers, Dispatcher, Shift
from archiver.edge.ledger import SqlLedger
from archiver.pipeline import Archiver, Outside
from archiver.ports import Body, StoredObject, UploadJournal
from tests.fakes.downloader import Audio, FakeBody
from tests.fakes.events import Events
from tests.integration.test_pipeline import Watcher

START = datetime(2026, 11, 1, tzinfo=UTC)
RETENTION = timedelta(days=14)
STEMS = 6
ASK = timedelta(seconds=0.5)
"""A call of record-info: the documented pace is about two a second."""
FAILURE = timedelta(seconds=0.2)


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

    def ages(self) -> list[timedelta]:
        dice = random.Random(7)
        return [self.youngest + (self.oldest - self.youngest) * dice.random() for _ in range(self.tasks)]

    def down(self, dependency: Dependency, now: datetime) -> bool:
        return any(each.dependency is dependency and each.covers(now) for each in self.outages)


@dataclass
class Simulation:
    """The world of one run; stands for the clock, the API, the origin and the bucket."""

    scenario: Scenario
    now: datetime = START
    stored: set[str] = field(default_factory=set)
    tries: int = 0

    def __post_init__(self) -> None:
        ages = self.scenario.ages()
        self.created = {TaskId(f"task-{n:06}"): START - age for n, age in enumerate(ages)}

    def clock(self) -> datetime:
        return self.now

    def _meet(self, dependency: Dependency, error: Exception) -> None:
        self.tries += 1
        if self.scenario.down(dependency, self.now):
            self.now += FAILURE
            raise error

    # the API

    def of(self, account: AccountName) -> Self:
        del account
        return self

    def fetch(self, task_id: TaskId) -> RecordInfo:
        self._meet(Dependency.PROVIDER, ApiBusy("down"))
        self.now += ASK
        stems = tuple(
            StemSource(StemName(f"stem{n}"), f"https://cdn.example/{task_id}/{n}", f"stem{n}Url") for n in range(STEMS)
        )
        return RecordInfo(Phase.DONE, stems, created_at=self.created[task_id], document="{}")

    def fresh_link(self, url: str) -> str | None:
        self._meet(Dependency.PROVIDER, ApiBusy("down"))
        self.now += ASK
        return None

    def credit(self) -> float:
        return 1.0

    # the origin

    @contextmanager
    def open(self, url: str) -> Iterator[Body]:
        self._meet(Dependency.ORIGIN, OriginBusy("down"))
        task_id = TaskId(url.split("/")[-2])
        if self.now >= self.created[task_id] + RETENTION:
            self.now += FAILURE
            raise LinkSpent(status=404)
        yield FakeBody(Audio(url.encode()))

    # the bucket

    def put(self, key: str, body: Body, *, metadata: Mapping[str, str], journal: UploadJournal) -> StoredObject:
        self._meet(Dependency.STORE, StoreBusy("down"))
        body.readinto(memoryview(bytearray(1000)))
        self.now += self.scenario.transfer
        self.stored.add(key)
        return StoredObject(key, body.size, "etag")

    def find(self, key: str, *, size: int, sha256: str) -> StoredObject | None:
        return None

    def put_document(self, key: str, data: bytes, *, same: Callable[[bytes], bool]) -> StoredObject:
        self._meet(Dependency.STORE, StoreBusy("down"))
        return StoredObject(key, len(data), hashlib.md5(data).hexdigest())

    def abort(self, key: str, upload_id: str) -> None:
        pass


class AtOnce:
    """A TransferPool without threads."""

    def submit(self, deadline: datetime, work: Callable[[], None]) -> Future[None]:
        work()
        future: Future[None] = Future()
        future.set_result(None)
        return future


class FirstInFirstOut(SqlLedger):
    """The real ledger, blind to deadlines: it orders by age in the queue."""

    def listed(self, claim: Claim, record: RecordInfo, deadline: datetime, *, settled: bool, now: datetime) -> Claim:
        blind = claim.accepted_at + timedelta(days=3650)
        return super().listed(claim, record, blind, settled=settled, now=now)


def simulate(scenario: Scenario, kind: type[SqlLedger] = SqlLedger) -> Simulation:
    """Run the scenario to the time when nothing can be saved any more."""
    world = Simulation(scenario)
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    ledger = kind.open(f"sqlite:///{folder}/ledger.db")
    try:
        _run(world, ledger, until=max(world.created.values()) + RETENTION)
    finally:
        ledger.close()
        shutil.rmtree(folder)
    return world


def _run(world: Simulation, ledger: SqlLedger, until: datetime) -> None:
    for n, task_id in enumerate(world.created):
        ledger.take_in(Intake(ids=(task_id,)), source="test", now=START + timedelta(microseconds=n))
    breakers = Breakers(ledger, world.clock, Events())
    archiver = Archiver(
        outside=Outside(world, world, world, ledger, breakers, AtOnce()),
        owner="me",
        prefix="",
        policy=Policy(),
        version="test",
        clock=world.clock,
        jitter=lambda: 0.5,
        log=Events(),
        observer=Watcher(),
    )
    dispatcher = Dispatcher(
        ledger=ledger,
        archive=archiver.archive,
        breakers=breakers,
        shift=Shift("me", 1, lease=timedelta(days=1)),
        clock=world.clock,
        log=Events(),
    )
    while world.now < until:
        dispatcher.pump()
        assert dispatcher.wait_idle(3600)
        assert dispatcher.fault is None
        work = ledger.open_work(None)
        if not work.tasks:
            return
        moments = [moment for moment in (work.next_retry, work.next_ask) if moment is not None]
        moments += [pause.next_probe for pause in ledger.pauses()]
        waiting = [moment for moment in moments if moment > world.now]
        world.now = min(waiting, default=world.now + timedelta(seconds=30))


def could_be_saved(scenario: Scenario) -> int:
    """How many stems are saved by a scheduler that asks about all, and then knows every deadline and outage."""
    now = START
    for _ in range(scenario.tasks):
        now = _after(scenario, now, Dependency.PROVIDER) + ASK
    saved = 0
    for created in sorted(Simulation(scenario).created.values()):
        for _ in range(STEMS):
            begins = _after(scenario, now, Dependency.ORIGIN, Dependency.STORE)
            if begins < created + RETENTION:
                now = begins + scenario.transfer
                saved += 1
    return saved


def _after(scenario: Scenario, now: datetime, *needs: Dependency) -> datetime:
    """The first moment from `now` on at which all that is needed is up."""
    while over := [each for each in scenario.outages if each.dependency in needs and each.covers(now)]:
        now = max(START + each.begins + each.lasts for each in over)
    return now


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


OUTAGES = {
    "none": (),
    "provider, 1 hour": (Outage(Dependency.PROVIDER, hours(0.1), hours(1)),),
    "store, 2 hours": (Outage(Dependency.STORE, hours(0.5), hours(2)),),
    "origin, 1 day": (Outage(Dependency.ORIGIN, hours(1), hours(24)),),
    "store, 4 days": (Outage(Dependency.STORE, hours(0), hours(96)),),
    "provider 1 day, then origin 2 days, then store 1 day": (
        Outage(Dependency.PROVIDER, hours(2), hours(24)),
        Outage(Dependency.ORIGIN, hours(30), hours(48)),
        Outage(Dependency.STORE, hours(80), hours(24)),
    ),
    "store, 13 days": (Outage(Dependency.STORE, hours(0), hours(312)),),
}


def check(name: str, scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is lost that could have been saved, but for what asking in the wrong order costs."""
    possible = could_be_saved(scenario)
    ours = simulate(scenario)
    fifo = simulate(scenario, FirstInFirstOut)
    total = scenario.tasks * STEMS
    with capsys.disabled():
        print(
            f"\n  {name}: of {total} stems {possible} can be saved;"
            f" earliest deadline first saves {len(ours.stored)}, first in first out {len(fifo.stored)}"
        )
    assert len(ours.stored) >= possible, "lost what could have been saved"
    assert len(ours.stored) >= len(fifo.stored)
    if len(fifo.stored) < possible:
        assert len(ours.stored) > len(fifo.stored)


@pytest.mark.parametrize("name", ["provider, 1 hour", "store, 2 hours"])
def test_small_backlog_through_an_outage_loses_nothing_that_could_be_saved(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    oldest, youngest = RETENTION - hours(2.6), RETENTION - hours(6)
    scenario = Scenario(60, OUTAGES[name], timedelta(seconds=30), youngest=youngest, oldest=oldest)
    check(name, scenario, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(OUTAGES))
def test_ten_thousand_tasks_through_outages_lose_nothing_that_could_be_saved(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = Scenario(tasks=10_000, outages=OUTAGES[name], transfer=timedelta(seconds=10))
    check(name, scenario, capsys)


def test_every_task_of_a_simulation_ends_archived_or_lost_with_a_reason() -> None:
    oldest, youngest = RETENTION - hours(1), RETENTION - hours(8)
    scenario = Scenario(20, OUTAGES["store, 2 hours"], timedelta(minutes=8), youngest=youngest, oldest=oldest)
    world = Simulation(scenario)
    with tempfile.TemporaryDirectory() as folder:
        ledger = SqlLedger.open(f"sqlite:///{folder}/ledger.db")
        _run(world, ledger, until=START + timedelta(days=4))
        rows = [ledger.show(task_id) for task_id in world.created]
        ledger.close()
    assert {row.state for row in rows if row} == {"archived", "lost"}
    for row in rows:
        assert row is not None
        assert row.state == "archived" or all(stem.reason for stem in row.stems if stem.state is StemState.LOST)
