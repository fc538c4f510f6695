"""Bad neighbours on the real path, ledger and breakers: what is wrong with some tasks stops no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from archiver.core.errors import AccessRefused, ApiBusy, ArchiverError, KeyRefused, LinkSpent, NoCredit, OriginBusy
from archiver.core.intake import Intake
from archiver.core.model import (
    Dependency,
    Phase,
    RecordInfo,
    Stage,
    StemName,
    StemSource,
    StoredObject,
    TaskId,
    Yielded,
)
from archiver.core.states import StemState, TaskState
from archiver.ports.store import UploadJournal
from archiver.ports.transfer import Body
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
class KeyedStore(FakeStore):
    """Refuses access to some keys alone."""

    denied: set[str] = field(default_factory=set)
    refusals: int = 0

    def put(self, key: str, body: Body, *, metadata: Mapping[str, str], journal: UploadJournal) -> StoredObject:
        self._meet(key)
        return super().put(key, body, metadata=metadata, journal=journal)

    def put_document(self, key: str, data: bytes, *, same: Callable[[bytes], bool]) -> StoredObject:
        self._meet(key)
        return super().put_document(key, data, same=same)

    def _meet(self, key: str) -> None:
        if key in self.denied:
            self.refusals += 1
            raise AccessRefused("PutObject: 403 AccessDenied")


@dataclass
class Street:
    """Tasks of one stem each, on hosts that answer as they are told; one worker, and time in our hands."""

    ledger: Ledger
    now: datetime = NOW
    tried: list[str] = field(default_factory=list)
    """Tasks by their transfers, in order."""
    answers: dict[str, list[Scripted]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.events, self.store, self.api = Events(), KeyedStore(), FakeApi()
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

    def leaps(self, times: int) -> None:
        """Work for a moment every two hours."""
        for _ in range(times):
            self.now += timedelta(hours=2)
            self.passes(timedelta(seconds=2))

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
    street.passes(90 * MINUTE)
    assert pauses(street.ledger), "a task that failed may still wait to try it"
    street.passes(60 * MINUTE)
    assert pauses(street.ledger) == ()


# ---------------------------------------------------------------- blame


def refused_stem(street: Street, name: str) -> bool:
    row = street.ledger.reports.show(TaskId(name))
    assert row is not None
    return any(stem.state is StemState.REFUSED for stem in row.stems)


@pytest.mark.parametrize("key", ["p/bad-0001/vocal.mp3", "p/bad-0001/record-info.json", "p/bad-0001/manifest.json"])
def test_key_that_the_store_refuses_alone_keeps_none_waiting_and_is_refused_with_its_reason(
    street: Street, key: str
) -> None:
    good = [f"good-{n:04}" for n in range(20)]
    street.lives("bad-0001", "cdn.example", audio("bad"), deadline=NOW + DAY)
    street.store.denied.add(key)
    for name in good:
        street.lives(name, "cdn.example", audio(name))
    assert street.passes(5 * MINUTE, good) < MINUTE
    street.leaps(12)
    row = street.ledger.reports.show(TaskId("bad-0001"))
    assert row is not None
    assert "store.access_denied" in row.reason
    assert street.events.of("task.refused")
    assert street.store.refusals <= 8, "it backs off"
    assert street.events.of("dependency.paused") == []


def test_store_that_refuses_every_key_is_paused_and_no_task_blamed(street: Street) -> None:
    for n in range(5):
        street.lives(f"task-{n:04}", "cdn.example", audio("task"))
    street.store.fail("try_write", AccessRefused("403"), times=1000)
    street.store.denied |= {f"p/task-{n:04}/vocal.mp3" for n in range(5)}
    street.passes(10 * MINUTE)
    assert pauses(street.ledger)
    assert not any(refused_stem(street, f"task-{n:04}") for n in range(5))
    street.store.denied.clear()
    assert street.passes(10 * MINUTE, [f"task-{n:04}" for n in range(5)]) <= MINUTE


def queue(street: Street, name: str, *answers: RecordInfo | ArchiverError) -> None:
    accept(street.ledger, Intake(ids=(TaskId(name),)), now=street.now)
    street.api.knows(TaskId(name), *answers)


def good_record(street: Street, name: str) -> RecordInfo:
    url = f"https://cdn.example/{name}.mp3"
    street.answers[url] = [audio(name)]
    source = StemSource(StemName("vocal"), url, "vocalUrl")
    return RecordInfo(Phase.DONE, (source,), created_at=NOW, document="{}")


@pytest.mark.parametrize("error", [KeyRefused("403"), ApiBusy("code 500"), NoCredit("402")])
@pytest.mark.parametrize("number", [1, 30])
def test_ids_that_the_provider_refuses_alone_keep_none_waiting_and_end_after_a_day(
    street: Street, error: ArchiverError, number: int
) -> None:
    bad, good = [f"bad-{n:04}" for n in range(number)], [f"good-{n:04}" for n in range(20)]
    for name in bad:
        queue(street, name, error)
    street.now += timedelta(seconds=1)
    for name in good:
        queue(street, name, good_record(street, name))
    assert street.passes(5 * MINUTE, good) < MINUTE
    assert street.events.of("dependency.paused") == []
    street.passes(MINUTE)
    asked = len(street.api.fetched)
    street.leaps(20)
    rows = [street.ledger.reports.show(TaskId(name)) for name in bad]
    assert all(row is not None and row.state is TaskState.FAILED and error.code in row.reason for row in rows)
    assert len(street.api.fetched) - asked < 40 * number, "they back off"


@pytest.mark.parametrize("error", [KeyRefused("401"), ApiBusy("503")])
def test_provider_that_refuses_every_id_is_paused_though_it_tells_the_credit(
    street: Street, error: ArchiverError
) -> None:
    queue(street, "good-0001", good_record(street, "good-0001"), error)
    street.passes(MINUTE, ["good-0001"])
    for n in range(20):
        queue(street, f"task-{n:04}", error)
    street.passes(MINUTE)
    assert [pause.dependency for pause in pauses(street.ledger)] == [Dependency.PROVIDER]
