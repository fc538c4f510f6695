"""Bad neighbours on the real path, ledger and breakers: what is wrong with some tasks stops no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from archiver.core.errors import LinkSpent, OriginBusy
from archiver.core.intake import Intake
from archiver.core.model import Dependency, Phase, RecordInfo, Stage, StemName, StemSource, TaskId, Yielded
from archiver.core.states import TaskState
from tests.fakes.downloader import Answer, Audio, FakeDownloader, Scripted
from tests.fakes.events import Events
from tests.fakes.object_store import FakeStore
from tests.fakes.record_api import FakeApi
from tests.fakes.time import NOW
from tests.fixtures.ledgers import accept, finish, pauses, relisted
from tests.house import LEASE, Ledger, archiver_on, breakers_on, context_on, dispatcher_on, ledger_at

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
REFUSED = timedelta(seconds=0.2)
"""A connection to a closed port."""


@dataclass
class Street:
    """Tasks of one stem each, on hosts that answer as they are told; one worker, and time in our hands."""

    ledger: Ledger
    now: datetime = NOW
    tried: list[str] = field(default_factory=list)
    """Tasks by their transfers, in order."""
    answers: dict[str, list[Scripted]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.events, self.store, self.api = Events(), FakeStore(), FakeApi()
        self.breakers = breakers_on(self.ledger, self.clock, self.events)
        archiver = archiver_on(
            self.ledger,
            self.breakers,
            self.clock,
            self.events,
            api=self.api,
            downloader=FakeDownloader(self.answers),
            store=self.store,
        )
        self.dispatcher = dispatcher_on(
            context_on(self.ledger, self.breakers, self.clock, self.events), archiver.archive
        )

    def clock(self) -> datetime:
        return self.now

    def lives(self, name: str, host: str, *answers: Scripted, deadline: datetime = NOW + 10 * DAY) -> None:
        """Let a task be listed, with one stem on `host` that answers so, the last for ever."""
        accept(self.ledger, Intake(ids=(TaskId(name),)), now=self.now)
        claim = self.ledger.claims.claim(owner="setup", now=self.now, lease=LEASE, stage=Stage.LIST)
        assert claim is not None
        url = f"https://{host}/{name}.mp3"
        record = RecordInfo(Phase.DONE, (StemSource(StemName("vocal"), url, "vocalUrl"),), document="{}")
        self.api.knows(TaskId(name), record)
        finish(self.ledger, relisted(self.ledger, claim, record, deadline, now=self.now), Yielded(), now=self.now)
        self.answers[url] = [self._noted(name, each) for each in answers]

    def _noted(self, name: str, answer: Scripted) -> Scripted:
        def answered() -> Answer:
            self.tried.append(name)
            self.now += REFUSED
            return answer() if callable(answer) else answer

        return answered

    def passes(self, span: timedelta, until_archived: Iterable[str] = ()) -> timedelta:
        """Work for so long, or until these are archived; return how long it was."""
        began, left = self.now, set(until_archived)
        while self.now < began + span:
            self.breakers.reload()
            while self.dispatcher.step():
                pass
            left = {name for name in left if not self.archived(name)}
            if until_archived and not left:
                break
            self.now += timedelta(seconds=1)
        return self.now - began

    def archived(self, *names: str) -> int:
        rows = [self.ledger.reports.show(TaskId(name)) for name in names]
        return sum(row is not None and row.state is TaskState.ARCHIVED for row in rows)


@contextmanager
def street_in(folder: Path) -> Iterator[Street]:
    with closing(ledger_at(f"sqlite:///{folder}/ledger.db")) as ledger:
        yield Street(ledger)


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    with street_in(tmp_path) as street:
        yield street


def audio(name: str) -> Audio:
    return Audio(name.encode() * 100)


def dead() -> OriginBusy:
    return OriginBusy("connection refused")


@pytest.mark.parametrize("number", [9, 60])
def test_tasks_on_a_dead_host_keep_none_waiting_that_are_on_another(street: Street, number: int) -> None:
    good = [f"good-{n:04}" for n in range(40)]
    for n in range(number):
        street.lives(f"dead-{n:04}", "dead.example", dead(), deadline=NOW + DAY)
    for name in good:
        street.lives(name, "cdn.example", audio(name))
    took = street.passes(10 * MINUTE, good)
    assert street.archived(*good) == len(good)
    assert took < timedelta(seconds=30)
    [pause] = pauses(street.ledger)
    assert (pause.dependency, pause.host) == (Dependency.ORIGIN, "dead.example")


def test_tasks_on_a_dead_host_mixed_in_by_deadline_keep_none_waiting(street: Street) -> None:
    good = []
    for n in range(100):
        bad = n % 5 == 0
        name = f"{'dead' if bad else 'good'}-{n:04}"
        deadline = NOW + DAY + timedelta(minutes=(n * 37) % 100)
        street.lives(name, "dead.example" if bad else "cdn.example", dead() if bad else audio(name), deadline=deadline)
        good += [] if bad else [name]
    assert street.passes(10 * MINUTE, good) < MINUTE


def test_host_that_works_again_is_found_so_by_its_next_probe_and_all_that_waited_are_due(street: Street) -> None:
    waiting = [f"task-{n:04}" for n in range(60)]
    for name in waiting:
        street.lives(name, "cdn.example", dead(), deadline=NOW + DAY)
    street.passes(10 * MINUTE)
    for name in waiting:
        street.answers[f"https://cdn.example/{name}.mp3"] = [street._noted(name, audio(name))]
    untried = [name for name in waiting if name not in street.tried]
    assert len(untried) > 20, "an outage costs a probe now and then, not every task its tries"
    assert street.passes(10 * MINUTE, untried) < timedelta(seconds=31) + len(waiting) * REFUSED
    assert pauses(street.ledger) == ()


def test_probes_of_a_dead_host_are_never_of_the_same_task_twice_while_others_wait(street: Street) -> None:
    for n in range(60):
        street.lives(f"task-{n:04}", "dead.example", dead(), deadline=NOW + DAY)
    street.passes(10 * MINUTE)
    probes = street.tried[8:]
    assert len(probes) >= 10, "one in 30 s at least"
    assert all(one != other for one, other in pairwise(probes))
    assert len(set(probes)) > len(probes) / 2


@pytest.mark.parametrize("spent", [5, 30])
@pytest.mark.parametrize("dependency", [Dependency.ORIGIN, Dependency.STORE])
def test_pause_ends_at_once_though_the_most_urgent_tasks_have_spent_links(
    street: Street, spent: int, dependency: Dependency
) -> None:
    for n in range(spent):
        street.lives(f"spent-{n:04}", "cdn.example", LinkSpent(status=403), deadline=NOW + DAY)
    street.lives("good-0001", "cdn.example", audio("good"))
    for _ in range(8):
        street.breakers.failed(dependency, dead(), host="cdn.example")
    assert pauses(street.ledger)
    assert street.passes(40 * MINUTE, ["good-0001"]) < MINUTE
    assert pauses(street.ledger) == ()


def test_answer_of_any_kind_breaks_the_row_of_failures(street: Street) -> None:
    for n in range(16):
        street.lives(f"task-{n:04}", "cdn.example", dead() if n % 2 else LinkSpent(status=403))
    street.passes(MINUTE)
    assert street.events.of("dependency.paused") == []


def test_pause_of_a_host_that_no_task_needs_any_more_ends(street: Street) -> None:
    for _ in range(8):
        street.breakers.failed(Dependency.ORIGIN, dead(), host="gone.example")
    assert pauses(street.ledger)
    street.passes(20 * MINUTE)
    assert pauses(street.ledger) == ()
