"""A check by hand that breaks off is gone on with: its parts together judge what one whole check does, as it does."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from archiver.core.errors import Interrupted, StoreBusy
from archiver.core.fixity import Fixity
from archiver.core.levels import Level
from archiver.core.model import TaskId
from archiver.core.walks import WITHIN, Walk
from archiver.preservation.fault_book import FaultBook
from archiver.preservation.recording import Recording
from archiver.preservation.verification import FixityTotals
from archiver.preservation.walking import Walking
from tests.fakes.archive import MemoryObject
from tests.fakes.object_store import FakeStore
from tests.fixtures.ledgers import DAY, NOW, ready_ledger, tid
from tests.unit.preservation.held import PREFIX, Held
from tests.unit.preservation.rig import in_a_child

SELECTION = "ab" * 32


@dataclass
class Check:
    """Calls of `verify` over one bucket and ledger, with the same words."""

    held: Held
    level: Level = Level.READ
    ids: Sequence[TaskId] | None = None
    every: float = 0.0
    now: datetime = NOW
    found: dict[str, Fixity] = field(default_factory=dict)
    """Of all calls."""

    def walk(self, *, anew: bool = False) -> Walk:
        """Take what broke off, as a call does."""
        return self.held.ledger.walks.take(self.level, SELECTION, now=self.now, within=WITHIN, anew=anew)

    def run(self, stop: int | None = None, *, anew: bool = False) -> FixityTotals:
        """Judge all, or break off at that look."""
        ledger, looks = self.held.ledger, iter(range(stop or 1 << 60))

        def look() -> None:
            if next(looks, None) is None:
                raise Interrupted

        with self.held.verification(self.level) as work:
            work.look = look
            walking = Walking(
                ledger.walks, self.walk(anew=anew), self.ids, PREFIX, lambda: self.now, time.monotonic, self.every
            )
            work.go_on(walking)
            book = FaultBook(ledger.faults, self.level, lambda: self.now, covers=walking.comes_to)
            for judged in Recording(work, book, ledger.checks, lambda: self.now).of(work.run(self.ids)):
                self.found[judged.key] = judged.verdict
        return work.totals


def standing(held: Held) -> dict[str, Fixity]:
    return {each.key: each.kind for each in held.ledger.faults.standing()}


def damage(held: Held) -> None:
    keys = sorted(held.objects)
    for number in (3, 40, 90, 150):
        held.rot(next(key for key in keys[number:] if key.endswith(".mp3")))
    del held.objects[keys[61]]
    held.objects |= {f"{PREFIX}zz-foreign/notes.txt": b"mine", f"{PREFIX}notes.txt": b"mine"}


@pytest.mark.parametrize("level", [Level.LIST, Level.READ])
def test_parts_of_a_check_that_breaks_off_again_and_again_are_one_whole_check(held: Held, level: Level) -> None:
    held.archive(48, stems=2)
    damage(held)
    whole = Check(held, level)
    totals = whole.run()
    stood = standing(held)
    reported = [each.verdicts for each in held.ledger.checks.unreported()]
    parts = Check(held, level)
    for _ in range(4):
        with pytest.raises(Interrupted):
            parts.run(50)
    assert parts.walk().sums.tasks > 10
    assert parts.run() == totals
    assert parts.found == whole.found
    assert standing(held) == stood
    told: Counter[Fixity] = Counter()
    for check in held.ledger.checks.unreported()[1:]:
        told.update(check.verdicts)
    assert told[Fixity.OK] >= reported[0][Fixity.OK]


def test_what_was_judged_is_not_read_again_and_the_end_is_the_end(held: Held) -> None:
    held.archive(30, stems=2)
    read: list[str] = []

    def noted(key: str, body: MemoryObject) -> MemoryObject:
        read.append(key)
        return body

    held.alter = noted
    check = Check(held)
    with pytest.raises(Interrupted):
        check.run(60)
    walk = check.walk()
    assert tid(3) < walk.place < tid(29)
    done = int(walk.place.removeprefix("task-"))
    assert (walk.sums.tasks, walk.sums.listed, walk.sums.verdicts) == (done, 4 * done, {Fixity.OK: 4 * done})
    read.clear()
    assert check.run().verdicts == {Fixity.OK: 30 * 4}
    assert min(read) >= f"{PREFIX}{walk.place}"
    assert check.walk().place == ""


def test_check_that_broke_off_is_begun_anew_where_that_is_asked_for_or_a_day_is_over(held: Held) -> None:
    held.archive(30, stems=2)
    for now, anew in ((NOW, True), (NOW + DAY, False), (NOW - 2 * DAY, False)):
        check = Check(held)
        with pytest.raises(Interrupted):
            check.run(60)
        assert check.walk().place
        check.now = now
        assert check.walk(anew=anew).place == ""


def test_check_of_some_ids_goes_on_with_the_next_of_them(held: Held) -> None:
    held.archive(12, stems=2)
    ids = [TaskId(tid(number)) for number in (7, 3, 9, 1, 5, 11)]
    held.rot(f"{PREFIX}{tid(9)}/s01.mp3")
    check = Check(held, ids=[*ids, TaskId("task-nobody")])
    whole = check.run()
    assert whole.unlisted == ["task-nobody"]
    with pytest.raises(Interrupted):
        check.run(24)
    assert 0 < int(check.walk().place) < 6
    assert check.run() == whole
    assert standing(held) == {f"{PREFIX}{tid(9)}/s01.mp3": Fixity.MISMATCH}


def test_fault_that_went_before_the_place_is_closed_and_one_that_stands_there_is_not(held: Held) -> None:
    held.archive(30, stems=2)
    gone, stands = f"{PREFIX}{tid(2)}/notes.txt", f"{PREFIX}{tid(3)}/notes.txt"
    held.objects |= {gone: b"mine", stands: b"mine"}
    check = Check(held)
    check.run()
    del held.objects[gone]
    with pytest.raises(Interrupted):
        check.run(60)
    assert check.walk().place > tid(3)
    assert check.run().verdicts[Fixity.UNKNOWN] == 1
    assert standing(held) == {stands: Fixity.UNKNOWN}


def test_what_a_store_that_went_away_did_not_give_is_asked_for_by_the_next_call(held: Held) -> None:
    held.archive(30, stems=2)
    check = Check(held)
    asked: list[str] = []

    def go_away(key: str, body: MemoryObject) -> MemoryObject:
        asked.append(key)
        if len(asked) > 40:
            raise StoreBusy("503")
        return body

    held.alter = go_away
    with pytest.raises(StoreBusy):
        check.run()
    held.alter = lambda _, body: body
    assert check.walk().place > tid(3)
    assert check.run().verdicts == {Fixity.OK: 30 * 4}


def test_process_that_another_has_gone_on_for_judges_the_rest_and_notes_nothing(held: Held) -> None:
    held.archive(30, stems=2)
    check = Check(held)
    seen: list[str] = []
    other = Check(held)

    def take_over(key: str, body: MemoryObject) -> MemoryObject:
        seen.append(key)
        if len(seen) == 40:
            other.walk()
        return body

    held.alter = take_over
    assert check.run().verdicts == {Fixity.OK: 30 * 4}
    assert tid(3) < other.walk().place < tid(29)


# --- killed


def checked(folder: Path, store: FakeStore, etags: dict[str, str], log: Path) -> None:
    """Go on with the check, and note each object that is read."""
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def noted(key: str, body: MemoryObject) -> MemoryObject:
        time.sleep(0.0005)
        os.write(handle, f"{key}\n".encode())
        return body

    with closing(ready_ledger(folder)) as ledger:
        Check(Held(ledger, store, etags, noted)).run()


def killed(folder: Path, moments: int) -> None:
    """Kill the check at so many moments, and begin another one whenever one came to its end."""
    with closing(ready_ledger(folder)) as ledger:
        held = Held(ledger)
        held.archive(60, stems=2)
        damage(held)
        whole = Check(held).run()
        stood = standing(held)
    chance, died, log = random.Random(16), 0, folder / "read.txt"
    while died < moments:
        child = in_a_child(lambda: checked(folder, held.store, held.etags, log))
        time.sleep(chance.random() * 0.25)
        os.kill(child, signal.SIGKILL)
        dead = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        died += dead
        with closing(ready_ledger(folder)) as ledger:
            again = Check(Held(ledger, held.store, held.etags))
            walk = again.walk()
            read = set(log.read_text().splitlines()) if log.exists() else set()
            stems = {key for key in held.objects if key.endswith("mp3") and key.split("/")[1] < walk.place}
            assert stems <= read
            assert {each.key: each.kind for each in ledger.faults.standing()} == stood
            if not dead or died % 10 == 0:
                assert again.run() == whole
                assert standing(again.held) == stood
                log.unlink(missing_ok=True)


def test_check_that_is_killed_at_any_moment_is_gone_on_with_and_calls_nothing_judged_that_was_not(
    tmp_path: Path,
) -> None:
    killed(tmp_path, 8)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_check_that_is_killed_at_a_hundred_moments_is_gone_on_with_and_calls_nothing_judged_that_was_not(
    tmp_path: Path,
) -> None:
    killed(tmp_path, 100)
