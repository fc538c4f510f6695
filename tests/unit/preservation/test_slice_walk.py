"""A slice is gone through once, whatever kills whoever does it: nothing is left out, and only what was under way is
judged twice."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from archiver.core.errors import LeaseLost
from archiver.core.fixity import Fixity, Judged
from archiver.core.levels import Level
from archiver.core.slices import Course, Round, slice_of
from archiver.preservation.slice_walk import SliceWalk
from tests.fakes.archive import MemoryObject
from tests.fixtures.ledgers import DAY, LEASE, NOW, checked, listed, open_ledger, take_in, tid
from tests.unit.preservation.held import PREFIX, Held

NUMBER = slice_of(tid(0))


class Killed(BaseException):
    """Raised in the place of a SIGKILL."""


@dataclass
class Bench:
    """A bucket of some tasks, all of them put in one slice; who walks through it is killed at the wanted step."""

    held: Held
    steps: list[str] = field(default_factory=list)
    kill_at: int = -1
    judged: Counter[str] = field(default_factory=Counter)
    kept: dict[str, Fixity] = field(default_factory=dict)
    owners: Iterator[str] = field(default_factory=lambda: (f"owner-{number}" for number in itertools.count()))

    def step(self, name: str) -> None:
        self.steps.append(name)
        if len(self.steps) - 1 == self.kill_at:
            raise Killed

    def opened(self, key: str, body: MemoryObject) -> MemoryObject:
        self.judged[key.removeprefix(PREFIX)] += 1
        self.step("opened")
        return body

    def keep(self, found: Sequence[Judged]) -> None:
        self.step("keeping")
        self.kept |= {each.key.removeprefix(PREFIX): each.verdict for each in found}
        self.step("kept")

    def walk(self, round_: Round, level: Level = Level.READ) -> list[Judged]:
        """Go through the slice, or through what is left of it, as a process of its own would."""
        rounds = self.held.ledger.rounds
        held = rounds.take(Course.READ, owner=next(self.owners), now=NOW, lease=LEASE, round_=round_)
        assert held is not None
        with self.held.verification(level) as work:
            steps = SliceWalk(work, rounds, self.keep, lambda: NOW).through(replace(held, number=NUMBER))
            return [each for step in steps for each in step.found if each.verdict is not Fixity.OK]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with closing(open_ledger(tmp_path)) as ledger:
        held = Held(ledger).archive(3, stems=2)
        with ledger.db.write() as db:
            db.exec_driver_sql(f"UPDATE tasks SET slice = {NUMBER}")
        made = Bench(held)
        held.alter = made.opened
        yield made


def only_slice(bench: Bench) -> Round:
    """A round that has that slice alone."""
    round_ = bench.held.ledger.rounds.begin(Course.READ, now=NOW)
    with bench.held.ledger.db.write() as db:
        db.exec_driver_sql(f"DELETE FROM slices WHERE number <> {NUMBER}")
    return round_


STEMS = {f"{tid(task)}/s{stem:02}.mp3" for task in range(3) for stem in range(2)}
MANIFESTS = {f"{tid(task)}/manifest.json" for task in range(3)}


def test_stems_and_manifests_of_a_slice_are_judged_once_each(bench: Bench) -> None:
    round_ = only_slice(bench)
    assert bench.walk(round_) == []
    assert bench.kept == dict.fromkeys(STEMS | MANIFESTS, Fixity.OK)
    assert bench.judged == Counter(STEMS | MANIFESTS)
    rounds = bench.held.ledger.rounds
    found = checked(bench.held.ledger, round_)
    assert (found.objects, found.bytes, dict(found.verdicts)) == (9, 6 * 40, {Fixity.OK: 9})
    assert rounds.left(round_) == 0
    assert rounds.end(round_, now=NOW)


def test_killed_at_any_step_it_leaves_nothing_out_and_judges_only_what_was_under_way_twice(bench: Bench) -> None:
    round_ = only_slice(bench)
    bench.walk(round_)
    steps = len(bench.steps)
    assert steps == 9 + 2 * 9
    for kill_at in range(steps):
        bench.held.ledger.rounds.end(round_, now=NOW)
        round_ = bench.held.ledger.rounds.begin(Course.READ, now=NOW)
        bench.steps.clear()
        bench.judged.clear()
        bench.kept.clear()
        bench.kill_at = kill_at
        with pytest.raises(Killed):
            bench.walk(round_)
        bench.kill_at = -1
        bench.held.ledger.rounds.release_dead(lambda _: False)
        bench.walk(round_)
        assert bench.kept.keys() == STEMS | MANIFESTS
        assert bench.judged.keys() == STEMS | MANIFESTS
        assert sum(bench.judged.values()) <= 9 + 1
        assert checked(bench.held.ledger, round_).objects == 9
        assert bench.held.ledger.rounds.left(round_) == 0


def test_faults_are_told_kept_and_counted(bench: Bench) -> None:
    round_ = only_slice(bench)
    bench.held.rot(f"{PREFIX}{tid(0)}/s01.mp3")
    del bench.held.objects[f"{PREFIX}{tid(1)}/s00.mp3"]
    del bench.held.objects[f"{PREFIX}{tid(2)}/manifest.json"]
    expected = {
        f"{tid(0)}/s01.mp3": Fixity.MISMATCH,
        f"{tid(1)}/s00.mp3": Fixity.MISSING,
        f"{tid(2)}/manifest.json": Fixity.MANIFEST_MISSING,
    }
    assert {each.key.removeprefix(PREFIX): each.verdict for each in bench.walk(round_)} == expected
    assert {key: verdict for key, verdict in bench.kept.items() if verdict is not Fixity.OK} == expected
    assert checked(bench.held.ledger, round_).faults == 3


def test_open_tasks_are_judged_by_what_they_have_stored(bench: Bench) -> None:
    listed(bench.held.ledger, 7)
    take_in(bench.held.ledger, 8)
    with bench.held.ledger.db.write() as db:
        db.exec_driver_sql(f"UPDATE tasks SET slice = {NUMBER}")
    assert bench.walk(only_slice(bench)) == []
    assert bench.kept.keys() == STEMS | MANIFESTS


def test_slice_that_another_took_over_is_left_to_it(bench: Bench) -> None:
    round_ = only_slice(bench)
    rounds = bench.held.ledger.rounds
    mine = rounds.take(Course.READ, owner="us", now=NOW, lease=LEASE, round_=round_)
    assert mine is not None
    assert rounds.take(Course.READ, owner="them", now=NOW + DAY, lease=LEASE, round_=round_) is not None
    with bench.held.verification(Level.READ) as work, pytest.raises(LeaseLost):
        list(SliceWalk(work, rounds, bench.keep, lambda: NOW).through(mine))
    assert checked(bench.held.ledger, round_).objects == 0


def test_trimmed_tasks_are_judged_by_their_manifests(bench: Bench) -> None:
    bench.held.alter = lambda _, body: body
    bench.held.trim()
    bench.held.rot(f"{PREFIX}{tid(0)}/s01.mp3")
    found = bench.walk(only_slice(bench))
    assert {each.key.removeprefix(PREFIX): each.verdict for each in found} == {f"{tid(0)}/s01.mp3": Fixity.MISMATCH}
    assert bench.kept.keys() >= STEMS | MANIFESTS
