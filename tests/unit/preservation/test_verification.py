"""Planted faults are found, each of its kind; what is no fault of the archive never counts as one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from archiver.core.errors import AccessRefused, BucketMissing, Interrupted, StoreBusy
from archiver.core.fixity import Fixity
from archiver.core.levels import Level
from archiver.core.model import Stage
from archiver.core.reading import ObjectCold
from archiver.preservation.proving import ALTERED_MOST, Allowance
from tests.fakes.archive import MemoryObject
from tests.fixtures.ledgers import LEASE, NOW, listed, ready_ledger, take_in, tid
from tests.unit.preservation.held import PREFIX, Held, flipped, plant

STEM = f"{PREFIX}{tid(0)}/s03.mp3"
NAME = STEM.removeprefix(PREFIX)
MANIFEST = f"{PREFIX}{tid(0)}/manifest.json"


@pytest.mark.parametrize(
    ("tasks", "each"),
    [
        (72, 3),  # 1,008 objects
        pytest.param(7_200, 84, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),  # 100,800; 1,008 faults
    ],
)
def test_faults_of_twelve_kinds_are_found_each_of_its_kind_and_no_others(held: Held, tasks: int, each: int) -> None:
    held.archive(tasks)
    assert (held.verdicts(Level.READ), held.verdicts(Level.LIST)) == ({}, {})
    by_read, by_list = plant(held, each)
    assert held.verdicts(Level.READ) == by_read
    assert held.verdicts(Level.LIST) == by_list
    by_head = {key: verdict for key, verdict in by_read.items() if key in by_list or "manifest" in verdict}
    assert held.verdicts(Level.HEAD) == by_head


def test_faults_of_tasks_that_were_trimmed_are_found_by_their_manifests(held: Held) -> None:
    held.archive(24).trim()
    for level in Level:
        with held.verification(level) as work:
            assert list(work.run()) == []
        assert work.totals.verdicts == Counter({Fixity.OK: 24 * 14})
    by_read, by_list = plant(held, 1)
    gone = {key.partition("/")[0] for key in by_read} - {key.split("/")[1] for key in held.objects}
    named = {key: verdict for key, verdict in by_read.items() if key.partition("/")[0] not in gone}
    # Which stems there were nobody knows any more: the ledger tells how many.
    named |= {f"{task}/manifest.json": Fixity.MANIFEST_MISSING for task in gone}
    assert held.verdicts(Level.READ) == named
    seen = {key: verdict for key, verdict in named.items() if key in by_list or "manifest" in verdict}
    assert held.verdicts(Level.LIST) == held.verdicts(Level.HEAD) == seen
    [folder] = [each for each in held.verify(Level.LIST) if each.task_id in gone]
    assert folder.found == "nothing stands there; 12 stems of 480 bytes stood beside it"


def test_listing_of_trimmed_tasks_asks_for_no_manifest_while_their_folders_fit(held: Held) -> None:
    held.archive(3).trim()
    held.store.fail("document", StoreBusy("503"), times=1000)
    assert held.verdicts(Level.LIST) == {}
    held.objects[f"{PREFIX}{tid(1)}/notes.txt"] = b"mine"
    assert held.verdicts(Level.LIST) == {f"{tid(1)}/manifest.json": Fixity.UNREAD}


def test_trimmed_folder_that_somebody_filled_is_judged_object_by_object(held: Held) -> None:
    held.archive(2, stems=2).trim()
    mine = {f"{tid(1)}/{number:03}.txt": Fixity.UNKNOWN for number in range(200)}
    held.objects.update({f"{PREFIX}{key}": b"mine" for key in mine})
    with held.verification(Level.LIST) as work:
        assert {judged.key.removeprefix(PREFIX): judged.verdict for judged in work.run()} == mine
    assert (work.looking.unledgered, work.totals.tasks) == (0, 2)


def test_manifest_that_was_put_again_under_another_etag_is_the_same(held: Held) -> None:
    held.archive(2).trim()
    held.etags[MANIFEST] = "random-1"
    held.etags[STEM] = "random-2"
    for level in Level:
        assert held.verdicts(level) == {}


def test_every_object_of_a_whole_archive_is_judged_once(held: Held) -> None:
    held.archive(20)
    for level in Level:
        with held.verification(level) as work:
            assert list(work.run()) == []
        assert work.totals.verdicts == Counter({Fixity.OK: 20 * 14})
        assert (work.totals.tasks, work.totals.listed, work.totals.faults) == (20, 20 * 14, 0)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("at_fault", [STEM, MANIFEST])
def test_a_bit_that_flips_on_the_way_is_no_damage(held: Held, at_fault: str, times: int) -> None:
    held.archive(2)
    opened: Counter[str] = Counter()

    def flip_first(key: str, body: MemoryObject) -> MemoryObject:
        opened[key] += 1
        return replace(body, data=flipped(body.data)) if key == at_fault and opened[key] <= times else body

    held.alter = flip_first
    assert held.verdicts(Level.READ) == {}
    assert opened[at_fault] == times + 1


@pytest.mark.parametrize("times", [1, 2])
def test_a_bit_that_flips_in_the_manifest_of_a_task_that_the_ledger_lost_is_no_damage(
    tmp_path: Path, held: Held, times: int
) -> None:
    held.archive(1)
    opened: Counter[str] = Counter()

    def flip_first(key: str, body: MemoryObject) -> MemoryObject:
        opened[key] += 1
        return replace(body, data=flipped(body.data)) if key == MANIFEST and opened[key] <= times else body

    (tmp_path / "other").mkdir()
    with closing(ready_ledger(tmp_path / "other")) as empty:
        assert Held(empty, held.store, held.etags, flip_first).verdicts(Level.LIST) == {}
    assert opened[MANIFEST] > times


def test_three_reads_that_do_not_agree_with_each_other_prove_nothing(held: Held) -> None:
    held.archive(1)
    opened: Counter[str] = Counter()

    def flip_another_bit(key: str, body: MemoryObject) -> MemoryObject:
        opened[key] += 1
        return replace(body, data=bytes([opened[key]]) + body.data[1:]) if key == STEM else body

    held.alter = flip_another_bit
    assert held.verdicts(Level.READ) == {NAME: Fixity.UNREAD}


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (AccessRefused("403"), Fixity.UNREAD),
        (StoreBusy("503 SlowDown"), Fixity.UNREAD),
        (StoreBusy("the connection was reset"), Fixity.UNREAD),
        (ObjectCold("GLACIER"), Fixity.COLD),
    ],
)
@pytest.mark.parametrize("at_fault", [STEM, MANIFEST])
def test_what_the_store_does_not_give_is_no_fault_of_the_object(
    held: Held, error: Exception, verdict: Fixity, at_fault: str
) -> None:
    held.archive(2)

    def refuse(key: str, body: MemoryObject) -> MemoryObject:
        if key == at_fault:
            raise error
        return body

    held.alter = refuse
    [judged] = held.verify(Level.READ)
    assert (judged.key, judged.verdict, judged.is_fault) == (at_fault, verdict, False)


def test_a_store_that_refuses_everything_ends_the_work(held: Held) -> None:
    held.archive(1)
    held.store.fail("open", BucketMissing("no bucket"), times=1000)
    with pytest.raises(BucketMissing):
        held.verify(Level.READ)


def test_a_store_that_gives_nothing_any_more_is_not_asked_for_the_rest(held: Held) -> None:
    held.archive(10)

    def refuse(_: str, __: MemoryObject) -> MemoryObject:
        raise StoreBusy("503")

    held.alter = refuse
    with pytest.raises(StoreBusy):
        held.verify(Level.READ)


def test_another_etag_over_equal_bytes_is_read_and_found_well(held: Held) -> None:
    held.archive(1)
    held.etags[STEM] = "copied-2"
    assert held.verdicts(Level.LIST) == {}


@pytest.mark.parametrize("level", Level)
def test_another_etag_over_equal_bytes_is_noted_and_not_read_for_again(held: Held, level: Level) -> None:
    held.archive(1)
    held.etags[STEM] = "copied-2"
    opened: Counter[str] = Counter()

    def count(key: str, body: MemoryObject) -> MemoryObject:
        opened[key] += 1
        return body

    held.alter = count
    assert held.verdicts(level) == {}
    assert etag_in_ledger(held) == "copied-2"
    first = opened[STEM]
    assert first == 1
    assert held.verdicts(Level.LIST) == {}
    assert opened[STEM] == first


@pytest.mark.parametrize("level", Level)
def test_another_etag_over_other_bytes_is_never_noted(held: Held, level: Level) -> None:
    held.archive(1)
    before = etag_in_ledger(held)
    held.rot(STEM)
    held.etags[STEM] = "another-2"
    assert held.verdicts(level) == {NAME: Fixity.MISMATCH}
    assert etag_in_ledger(held) == before


def etag_in_ledger(held: Held) -> str:
    known = held.ledger.objects.known(tid(0))
    assert known is not None
    [etag] = [stem.etag for stem in known.stems if stem.key == STEM]
    return etag


def test_a_copied_bucket_is_said_and_not_read_as_a_whole(held: Held) -> None:
    held.archive(2)
    held.etags |= {key: "copied" for key in held.objects if key.endswith(".mp3")}
    found = held.verify(Level.LIST, allowance=Allowance(objects=10))
    assert Counter(judged.verdict for judged in found) == {Fixity.ALTERED: 14}
    assert all("probably copied" in judged.hint for judged in found)
    assert Allowance().objects == ALTERED_MOST


def test_bytes_beyond_what_may_be_paid_are_not_read(held: Held) -> None:
    held.archive(1)
    held.etags |= {key: "copied" for key in held.objects if key.endswith(".mp3")}
    allowance = Allowance(bytes=100.0)
    found = held.verify(Level.LIST, allowance=allowance)
    assert [judged.verdict for judged in found] == [Fixity.ALTERED] * 10
    assert allowance.spent
    assert "--max-cost" in found[0].hint


def test_what_the_store_says_of_a_checksum_is_held_against_ours_and_read(held: Held) -> None:
    held.archive(1)
    held.store.metadata[STEM] = {"sha256": "ab" * 32}
    assert held.verdicts(Level.HEAD) == {}
    held.rot(STEM)
    assert held.verdicts(Level.HEAD) == {NAME: Fixity.MISMATCH}


def test_a_stem_stored_while_the_listing_runs_is_neither_missing_nor_unknown(held: Held) -> None:
    held.archive(1)
    data = held.objects.pop(STEM)
    stored_again = threading.Event()

    def look() -> None:
        if not stored_again.is_set():
            stored_again.set()
            held.objects[STEM] = data

    with held.verification(Level.LIST) as work:
        work.look = look
        assert list(work.run()) == []


def test_an_object_on_its_way_into_an_open_task_is_not_unknown(held: Held) -> None:
    listed(held.ledger, 7)
    folder = f"{PREFIX}{tid(7)}/"
    names = [stem.name for stem in held.ledger.reports.show(tid(7)).stems]  # type: ignore[union-attr]  # it was listed
    held.objects |= {f"{folder}{names[0]}.mp3": b"just stored", f"{folder}else.mp3": b"?"}
    assert held.verdicts(Level.LIST) == {f"{tid(7)}/else.mp3": Fixity.UNKNOWN}


def test_a_task_that_only_waits_expects_nothing(held: Held) -> None:
    take_in(held.ledger, 1)
    held.ledger.claims.claim(owner="us", now=NOW + timedelta(days=1), lease=LEASE, stage=Stage.LIST)
    assert held.verdicts(Level.LIST) == {}


def test_our_own_folder_and_the_probes_are_not_unknown(held: Held) -> None:
    held.objects |= {
        f"{PREFIX}_archive/ledger/2026.jsonl.gz": b"x",
        f"{PREFIX}stem-archiver-probe": b"x",
        f"{PREFIX}stem-archiver-probe-multipart": b"x",
        f"{PREFIX}else": b"x",
        f"{PREFIX}no id/x.mp3": b"x",
    }
    assert held.verdicts(Level.LIST) == {"else": Fixity.UNKNOWN, "no id/x.mp3": Fixity.UNKNOWN}


def test_a_task_that_the_ledger_lost_is_judged_by_its_manifest(tmp_path: Path, held: Held) -> None:
    held.archive(3)
    (tmp_path / "other").mkdir()
    with closing(ready_ledger(tmp_path / "other")) as empty:
        lost = Held(empty, held.store, held.etags)
        with lost.verification(Level.READ) as work:
            assert list(work.run()) == []
        assert (work.looking.unledgered, work.totals.verdicts[Fixity.OK]) == (3, 3 * 14)
        held.rot(f"{PREFIX}{tid(1)}/s01.mp3")
        del held.objects[STEM]
        held.objects[f"{PREFIX}{tid(2)}/x.mp3"] = b"?"
        assert lost.verdicts(Level.READ) == {
            NAME: Fixity.MISSING,
            f"{tid(1)}/s01.mp3": Fixity.MISMATCH,
            f"{tid(2)}/x.mp3": Fixity.UNKNOWN,
        }


def test_ids_are_verified_alone_and_one_that_nobody_knows_is_named(held: Held) -> None:
    held.archive(3)
    del held.objects[STEM]
    held.rot(f"{PREFIX}{tid(1)}/s01.mp3")
    with held.verification(Level.READ) as work:
        found = list(work.run([tid(0), tid(2), tid(9)]))
    assert [(judged.key, judged.verdict) for judged in found] == [(STEM, Fixity.MISSING)]
    assert (work.totals.unlisted, work.totals.listed, work.totals.tasks) == ([tid(9)], 27, 2)


def test_objects_stored_under_an_earlier_prefix_are_asked_for_by_name(held: Held) -> None:
    held.archive(2)
    here = {key: held.objects.pop(key) for key in list(held.objects)}
    held.objects.update(here)
    with held.verification(Level.LIST) as work:
        work.prefix = work.looking.prefix = "new/"
        assert list(work.run()) == []
        assert work.totals.verdicts[Fixity.OK] == 28
        del held.objects[STEM]
    with held.verification(Level.LIST) as work:
        work.prefix = work.looking.prefix = "new/"
        assert [(each.key, each.verdict) for each in work.run()] == [(STEM, Fixity.MISSING)]


def test_a_manifest_that_tells_another_end_than_the_ledger_is_named_with_both(held: Held) -> None:
    held.archive(1)
    held.resealed(MANIFEST, lambda document: document.update(state="lost"))
    [judged] = held.verify(Level.READ)
    assert (judged.verdict, judged.found) == (Fixity.MANIFEST_DIFFERS, "it says lost, the ledger archived")


def test_work_that_is_to_end_ends_between_two_objects(held: Held) -> None:
    held.archive(3)

    def look() -> None:
        raise Interrupted

    with held.verification(Level.READ) as work:
        work.look = look
        with pytest.raises(Interrupted):
            list(work.run())


def test_nothing_in_the_bucket_is_changed(held: Held) -> None:
    held.archive(72, stems=6, size=10)
    plant(held, 1)
    before: dict[str, bytes] = dict(held.objects)
    calls: Callable[[], object] = lambda: [held.verify(level) for level in Level]  # noqa: E731 - said once
    calls()
    assert held.objects == before
