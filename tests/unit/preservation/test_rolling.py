"""Rolling read in fake time: every object is read within the span, evenly, by whoever is alive; and the daily list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from archiver.core.errors import Interrupted, StoreBusy
from archiver.core.fixity import Fixity
from archiver.core.fixity_faults import FixityFault, is_of_slice
from archiver.core.levels import Level
from archiver.core.slices import LISTING, SLICES, Checked, Course, SliceLease, slice_of
from archiver.preservation.daily_list import DailyList
from archiver.preservation.fault_book import FaultBook
from archiver.preservation.rolling import Limits, RollingRead
from archiver.preservation.slice_reading import SliceReading
from tests.fakes.archive import MemoryObject
from tests.fakes.events import Events
from tests.fixtures.ledgers import DAY, NOW, open_ledger, tid
from tests.unit.preservation.held import PREFIX, Held

pytestmark = pytest.mark.long

TASKS, STEMS, SIZE = 6, 12, 40
WITHIN = DAY
NAMES = {f"{tid(task)}/s{stem:02}.mp3" for task in range(TASKS) for stem in range(STEMS)}


@dataclass
class Bench:
    """Some tasks, each in a slice of its own, and no slice more; the process that reads them may be started anew."""

    held: Held
    stack: ExitStack
    now: datetime = NOW
    log: Events = field(default_factory=Events)
    usable: bool = True
    bandwidth: float = float("inf")
    within: timedelta = WITHIN
    reads: dict[str, list[datetime]] = field(default_factory=dict)
    counted: dict[Fixity, int] = field(default_factory=dict)
    owners: int = 0
    refused: Callable[[str], bool] = lambda _: False

    def __post_init__(self) -> None:
        self.held.archive(TASKS, STEMS, SIZE)
        self.held.alter = self.opened
        ledger = self.held.ledger
        ledger.rounds.standings(Course.READ, now=NOW)
        ledger.rounds.keep_since(NOW)
        numbers = ", ".join(str(slice_of(tid(task))) for task in range(TASKS))
        with ledger.db.write() as db:
            db.exec_driver_sql(f"DELETE FROM slices WHERE course = 'read' AND number NOT IN ({LISTING}, {numbers})")
        self.start()

    def opened(self, key: str, body: MemoryObject) -> MemoryObject:
        if key.endswith(".mp3"):
            self.reads.setdefault(key.removeprefix(PREFIX), []).append(self.now)
            if self.refused(key):
                raise StoreBusy("503")
        return body

    def count(self, verdicts: Mapping[Fixity, int]) -> None:
        for verdict, many in verdicts.items():
            self.counted[verdict] = self.counted.get(verdict, 0) + many

    def start(self) -> None:
        """Start the process, after the last one was killed."""
        self.owners += 1
        ledger, clock = self.held.ledger, lambda: self.now
        work = self.stack.enter_context(self.held.verification(Level.READ))

        def covers(held: SliceLease, fault: FixityFault) -> bool:
            return is_of_slice(fault, held.number) and (fault.task_id, fault.key) > (held.place.task, held.place.key)

        def book(held: SliceLease) -> FaultBook:
            return FaultBook(ledger.faults, Level.READ, clock, self.log, partial(covers, held))

        reading = SliceReading(work, ledger.rounds, book, ledger.checks, clock, self.count)
        total = TASKS * STEMS * SIZE * SLICES // TASKS
        limits = Limits(self.within, lambda: self.bandwidth, lambda: total)
        owner = f"owner-{self.owners}"
        self.rolling = RollingRead(ledger.rounds, owner, limits, reading.steps, lambda: self.usable, clock, self.log)

    def after(self, span: timedelta, *, step: timedelta = timedelta(minutes=5)) -> Bench:
        until = self.now + span
        while self.now < until:
            self.now += step
            self.rolling()
        return self

    def is_ended(self, task: str) -> bool:
        found = self.held.ledger.rounds.standings(Course.READ, now=self.now)
        return any(each.ended_at is not None for each in found if each.number == slice_of(task))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(Held(stack.enter_context(closing(open_ledger(tmp_path)))), stack)


def gaps(bench: Bench) -> list[timedelta]:
    """The time for which each object was not read, again and again, from when that was promised until now."""
    found = []
    for name in NAMES:
        moments = [NOW, *bench.reads.get(name, []), bench.now]
        found += [after - before for before, after in pairwise(moments)]
    return found


def test_every_object_is_read_within_the_span_and_none_needlessly_often(bench: Bench) -> None:
    bench.after(4 * WITHIN)
    assert bench.reads.keys() == NAMES
    assert max(gaps(bench)) <= WITHIN
    assert {len(moments) for moments in bench.reads.values()} <= {4, 5, 6}
    assert bench.counted.keys() == {Fixity.OK}
    checks = bench.held.ledger.checks.unreported()
    assert {(each.slices, each.tasks, each.bytes, each.is_whole) for each in checks} == {(1, 1, STEMS * SIZE, True)}


def test_nothing_is_read_in_the_first_minutes_and_nothing_while_the_store_is_paused(bench: Bench) -> None:
    bench.after(timedelta(minutes=4), step=timedelta(minutes=1))
    assert not bench.reads
    bench.usable = False
    bench.after(WITHIN / 8)
    assert not bench.reads
    bench.usable = True
    bench.after(WITHIN / 8)
    assert bench.reads


def test_process_that_is_killed_is_followed_by_one_that_goes_on_where_it_was(bench: Bench) -> None:
    while bench.reads.keys() != NAMES:
        bench.after(timedelta(minutes=40))
        bench.start()
    assert bench.now <= NOW + WITHIN
    assert {len(moments) for moments in bench.reads.values()} == {1}


def test_faults_are_written_down_and_closed_by_the_read_that_finds_them_mended(bench: Bench) -> None:
    key = f"{PREFIX}{tid(0)}/s01.mp3"
    whole = bench.held.objects[key]
    bench.held.rot(key)
    bench.after(WITHIN)
    assert bench.held.ledger.faults.counts() == {Fixity.MISMATCH: 1}
    [said] = bench.log.of("fixity.fault")
    assert said["key"] == key
    bench.held.objects[key] = whole
    bench.after(WITHIN)
    assert bench.held.ledger.faults.counts() == {}
    assert bench.counted[Fixity.MISMATCH] >= 1


def test_fault_that_was_found_before_a_kill_stays_open_when_another_ends_the_slice(bench: Bench) -> None:
    bench.held.rot(f"{PREFIX}{tid(0)}/s00.mp3")
    while not bench.held.ledger.faults.counts():
        bench.after(timedelta(minutes=5))
    bench.start()
    while not bench.is_ended(tid(0)):
        bench.after(timedelta(minutes=5))
    assert bench.held.ledger.faults.counts() == {Fixity.MISMATCH: 1}


def test_store_that_fails_is_left_alone_for_a_while_and_gone_on_with_then(bench: Bench) -> None:
    bench.refused = lambda _: True
    bench.after(timedelta(hours=2), step=timedelta(minutes=1))
    said = bench.log.of("fixity.broken_off")
    assert 0 < len(said) <= 7
    assert {(each["check"], each["reason"]) for each in said} == {("read", "store.busy: 503")}
    bench.refused = lambda _: False
    bench.reads.clear()
    bench.after(WITHIN)
    assert bench.reads.keys() == NAMES


def test_object_that_is_never_given_lets_none_be_read_more_than_twice_a_span_and_its_slice_is_never_read(
    bench: Bench,
) -> None:
    refused = f"{tid(0)}/s01.mp3"
    bench.refused = lambda key: key.endswith(refused)
    bench.after(3 * WITHIN)
    others = {name: moments for name, moments in bench.reads.items() if name != refused}
    assert max(len(moments) for moments in others.values()) <= 2 * 3
    found = bench.held.ledger.rounds.standings(Course.READ, now=bench.now)
    assert [each.number for each in found if each.ended_at is None] == [slice_of(tid(0))]
    assert len(bench.reads[refused]) <= 4 * 6


def test_clock_that_is_set_back_puts_nothing_off(bench: Bench) -> None:
    bench.after(WITHIN / 4)
    bench.now -= 300 * DAY
    bench.after(WITHIN)
    assert bench.reads.keys() == NAMES


# ---------------------------------------------------------------------- the daily list


@dataclass
class Listed:
    """A process that lists every day."""

    held: Held
    now: datetime = NOW
    log: Events = field(default_factory=Events)
    fault: Exception | None = None
    lists: list[datetime] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self, owner: str = "us") -> None:
        rounds = self.held.ledger.rounds
        self.daily = DailyList(rounds, owner, DAY, self.check, lambda: True, lambda: self.now, self.log)

    def check(self, rest: Callable[[], None]) -> Mapping[Fixity, int]:
        rest()
        if self.fault is not None:
            raise self.fault
        self.lists.append(self.now)
        return {Fixity.OK: 5}

    def after(self, span: timedelta) -> int:
        until = self.now + span
        while self.now < until:
            self.now += timedelta(minutes=5)
            self.daily()
        return len(self.lists)


@pytest.fixture
def listing(tmp_path: Path) -> Iterator[Listed]:
    with closing(open_ledger(tmp_path)) as ledger:
        yield Listed(Held(ledger))


def test_archive_is_listed_once_a_day_however_often_the_process_is_started(listing: Listed) -> None:
    assert listing.after(timedelta(minutes=30)) == 1
    listing.start("them")
    assert listing.after(timedelta(hours=23)) == 1
    assert listing.after(timedelta(hours=2)) == 2
    assert listing.after(3 * DAY) == 5


@pytest.mark.parametrize(("fault", "said"), [(StoreBusy("503"), 1), (Interrupted(), 0)])
def test_list_that_is_broken_off_is_done_again_within_the_hour(listing: Listed, fault: Exception, said: int) -> None:
    listing.fault = fault
    assert listing.after(timedelta(minutes=30)) == 0
    assert len(listing.log.of("fixity.broken_off")) == said
    listing.fault = None
    assert listing.after(timedelta(hours=1)) == 1


def test_two_processes_list_once(listing: Listed) -> None:
    rounds = listing.held.ledger.rounds
    round_ = rounds.begin(Course.DAILY, now=NOW)
    other = rounds.take(Course.DAILY, owner="them", now=NOW, lease=timedelta(minutes=15), round_=round_, listing=True)
    assert other is not None
    assert listing.after(timedelta(minutes=10)) == 0
    rounds.finish(other, Checked(), now=listing.now)
    assert listing.after(timedelta(hours=20)) == 0
    assert listing.after(timedelta(hours=6)) == 1


def test_reading_within_another_span_goes_by_its_pace_from_then_on(bench: Bench) -> None:
    bench.after(WITHIN / 2)
    before = sum(len(each) for each in bench.reads.values())
    bench.rolling.change(30 * WITHIN)
    bench.after(WITHIN / 2)
    slow = sum(len(each) for each in bench.reads.values()) - before
    bench.rolling.change(WITHIN)
    bench.after(WITHIN / 2)
    assert slow < 0.7 * before  # a pause is never longer than twenty minutes
    assert len(bench.reads) == TASKS * STEMS
