"""Files out of a bucket: proven, or not there; and what stands here already is left alone."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archiver.core.errors import AccessRefused, BucketMissing, Interrupted, StoreBusy
from archiver.core.model import AccountName
from archiver.core.reading import ObjectChanged, ObjectCold
from archiver.preservation import retrieval as module
from archiver.preservation.fetching import READS
from archiver.preservation.folder import part_of
from archiver.preservation.results import Verdict
from archiver.preservation.retrieval import Filter
from archiver.preservation.wanted import Selection
from tests.fakes.archive import MemoryObject
from tests.fixtures.archived import RECORD, TASK, archived, manifest, noise, stem_of
from tests.unit.preservation.rig import STEMS, Bench, verdicts

OTHER = "another-task-0001"


def test_a_task_is_written_whole_with_its_sidecars(bench: Bench) -> None:
    results = bench.get()
    assert set(verdicts(results).values()) == {Verdict.WRITTEN}
    assert bench.files() == {
        f"{TASK}/vocal.mp3": STEMS["vocal"],
        f"{TASK}/drums.mp3": STEMS["drums"],
        f"{TASK}/record-info.json": RECORD,
        f"{TASK}/manifest.json": bench.store.objects[f"p/{TASK}/manifest.json"],
    }


def test_what_stands_already_is_compared_and_not_fetched_again(bench: Bench) -> None:
    bench.get()
    opened: list[str] = []
    bench.store.before = lambda method, key: opened.append(key) if method == "open" else None
    assert set(verdicts(bench.get()).values()) == {Verdict.EQUAL}
    assert opened == []


def test_a_file_that_differs_is_told_and_left_alone(bench: Bench) -> None:
    mine = bench.into / TASK / "vocal.mp3"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"my own mix")
    assert verdicts(bench.get())["vocal.mp3"] is Verdict.DIFFERENT
    assert mine.read_bytes() == b"my own mix"


@pytest.mark.parametrize(
    "make", [lambda at, out: at.symlink_to(out), lambda at, _: at.mkdir(), lambda at, _: os.mkfifo(at)]
)
def test_what_is_no_file_is_left_alone(bench: Bench, tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    outside = tmp_path / "outside"
    at = bench.into / TASK / "vocal.mp3"
    at.parent.mkdir(parents=True)
    make(at, outside)
    found = verdicts(bench.get())
    assert (found["vocal.mp3"], found["drums.mp3"]) == (Verdict.BLOCKED, Verdict.WRITTEN)
    assert not outside.exists()


def test_a_link_in_the_place_of_the_tasks_folder_leads_nowhere(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    bench.into.mkdir()
    (bench.into / TASK).symlink_to(outside)
    assert verdicts(bench.get()) == {TASK: Verdict.BLOCKED}
    assert list(outside.iterdir()) == []


def test_a_link_in_the_place_of_the_unfinished_file_leads_nowhere(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (bench.into / TASK).mkdir(parents=True)
    (bench.into / TASK / part_of("vocal.mp3")).symlink_to(outside)
    assert set(verdicts(bench.get()).values()) == {Verdict.WRITTEN}
    assert not outside.exists()


@pytest.mark.parametrize("path", ["../x", "/tmp/x", "a/../../x", "..", "x\n"])
def test_a_hostile_path_writes_nothing_outside(bench: Bench, tmp_path: Path, path: str) -> None:
    bench.store.objects[f"p/{TASK}/manifest.json"] = manifest([stem_of("x", b"x", path=path)])
    bench.store.objects[f"p/{TASK}/{path}"] = b"x"
    found = verdicts(bench.get())
    assert found.pop("x") is Verdict.UNUSABLE
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    assert {Path(each).name for each in bench.files()} == {"manifest.json", "record-info.json"}


def test_a_manifest_of_a_million_stems_is_refused_by_name(bench: Bench) -> None:
    bench.store.objects[f"p/{TASK}/manifest.json"] = b'{"stems":[' + b"{}," * 1_000_000 + b"{}]}" + b" " * (14 << 20)
    assert verdicts(bench.get()) == {TASK: Verdict.BROKEN}
    assert bench.files() == {}


def test_a_task_without_manifest_is_told_with_what_to_do(bench: Bench) -> None:
    (result,) = bench.get(OTHER)
    assert (result.verdict, "enqueue" in result.hint) == (Verdict.NO_MANIFEST, True)
    assert list(bench.into.iterdir()) == []


def test_a_broken_seal_or_another_tasks_manifest_is_no_manifest_to_go_by(bench: Bench) -> None:
    bench.store.objects[f"p/{OTHER}/manifest.json"] = bench.store.objects[f"p/{TASK}/manifest.json"]
    key = f"p/{TASK}/manifest.json"
    bench.store.objects[key] = bench.store.objects[key].replace(b"drums.mp3", b"drumx.mp3")
    assert verdicts(bench.get(TASK, OTHER)) == {TASK: Verdict.BROKEN, OTHER: Verdict.BROKEN}


def test_one_stem_comes_alone_and_an_unknown_one_is_told_with_those_there_are(bench: Bench) -> None:
    assert verdicts(bench.get(selection=Selection("drums"))) == {"drums.mp3": Verdict.WRITTEN}
    (result,) = bench.get(selection=Selection("piano"))
    assert (result.verdict, result.detail) == (Verdict.GONE, "it has no stem piano; it has: vocal, drums")


def flipped(times: int) -> Callable[[str, MemoryObject], MemoryObject]:
    left = iter(range(times))

    def alter(key: str, body: MemoryObject) -> MemoryObject:
        if key.endswith("vocal.mp3") and next(left, None) is not None:
            data = bytearray(body.data)
            data[len(data) // 2] ^= 1
            return replace(body, data=bytes(data))
        return body

    return alter


def test_bytes_damaged_on_the_way_are_fetched_again(bench: Bench) -> None:
    bench.alter = flipped(READS - 1)
    assert set(verdicts(bench.get()).values()) == {Verdict.WRITTEN}
    assert bench.files()[f"{TASK}/vocal.mp3"] == STEMS["vocal"]


def test_bytes_damaged_in_the_store_are_told_and_never_get_a_name(bench: Bench) -> None:
    bench.alter = flipped(10_000)
    found = verdicts(bench.get())
    assert (found["vocal.mp3"], found["drums.mp3"]) == (Verdict.WRONG, Verdict.WRITTEN)
    assert not [each for each in bench.files() if "vocal" in each or each.endswith(".part")]


class Cut(MemoryObject):
    """Ends each connection after so many bytes."""

    left = 100_000

    def readinto(self, view: memoryview) -> int:
        if self.left <= 0:
            raise StoreBusy("cut")
        size = MemoryObject.readinto(self, view[: self.left])
        self.left -= size
        return size


def cut(_: str, body: MemoryObject) -> MemoryObject:
    return Cut(body.head, body.data, body.at)


def test_a_body_that_is_cut_again_and_again_is_gone_on_with(bench: Bench) -> None:
    opened: list[str] = []
    bench.alter = cut
    bench.store.before = lambda method, key: opened.append(key) if method == "open" else None
    bench.get()
    assert bench.files()[f"{TASK}/vocal.mp3"] == STEMS["vocal"]
    assert opened.count(f"p/{TASK}/vocal.mp3") == 8  # 700,001 bytes, by 100,000 a time


def test_an_object_that_changes_between_two_ranges_is_read_from_its_begin(bench: Bench) -> None:
    key = f"p/{TASK}/vocal.mp3"
    bench.alter = cut
    tries = iter(range(100))

    def change(method: str, at: str) -> None:
        if (method, at) == ("open", key) and next(tries) == 2:
            bench.store.objects[key] = noise(700_001, 9)
        elif (method, at) == ("open", key):
            bench.store.objects[key] = STEMS["vocal"]

    bench.store.before = change
    assert verdicts(bench.get())["vocal.mp3"] is Verdict.WRITTEN
    assert bench.files()[f"{TASK}/vocal.mp3"] == STEMS["vocal"]


def test_an_object_that_changes_for_ever_is_given_up(bench: Bench) -> None:
    bench.store.fail("open", ObjectChanged("another object"), times=10_000)
    assert verdicts(bench.get())["vocal.mp3"] is Verdict.UNREAD


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [(ObjectCold("cold"), Verdict.COLD), (AccessRefused("403"), Verdict.UNREAD), (StoreBusy("503"), Verdict.UNREAD)],
)
def test_a_fault_of_one_object_is_its_own_verdict(bench: Bench, fault: Exception, verdict: Verdict) -> None:
    def strike(method: str, key: str) -> None:
        if method == "open" and key.endswith("vocal.mp3"):
            raise fault

    bench.store.before = strike
    found = verdicts(bench.get())
    assert (found["vocal.mp3"], found["drums.mp3"]) == (verdict, Verdict.WRITTEN)


def test_an_object_that_is_absent_or_of_another_size_is_told(bench: Bench) -> None:
    del bench.store.objects[f"p/{TASK}/drums.mp3"]
    bench.store.objects[f"p/{TASK}/vocal.mp3"] += b"x"
    found = verdicts(bench.get())
    assert (found["drums.mp3"], found["vocal.mp3"]) == (Verdict.ABSENT, Verdict.WRONG)


def test_a_store_that_refuses_everything_ends_the_work(bench: Bench) -> None:
    bench.store.fail("open", BucketMissing("no bucket"), times=10_000)
    with pytest.raises(BucketMissing):
        bench.get()
    assert not [each for each in bench.files() if each.endswith((".mp3", ".part"))]


def test_a_store_that_falls_silent_ends_a_restore_after_a_few_files(bench: Bench) -> None:
    for number in range(40):
        bench.store.objects.update(archived({"vocal": noise(10, number)}, task=f"task-number-{number:03}"))
    asked: list[str] = []
    bench.store.before = lambda method, key: asked.append(key) if method == "open" else None
    bench.store.fail("open", StoreBusy("silent"), times=100_000)
    with pytest.raises(StoreBusy):
        bench.restore()
    assert len(set(asked)) < 30


def test_a_disk_that_takes_no_more_of_a_file_ends_the_work_and_leaves_none(bench: Bench) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            bench.get()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [each for each in bench.files() if each.endswith((".mp3", ".part"))]


def test_a_stop_leaves_no_unfinished_file(bench: Bench) -> None:
    stop = threading.Event()

    def alter(_: str, body: MemoryObject) -> MemoryObject:
        stop.set()
        return body

    bench.alter, bench.stopped = alter, stop.is_set
    with pytest.raises(Interrupted):
        bench.get()
    assert not [each for each in bench.files() if each.endswith((".mp3", ".part"))]


def test_two_processes_do_not_write_into_one_folder(bench: Bench) -> None:
    with bench.retrieval(Selection()) as work, work.root.below(TASK):
        assert verdicts(bench.get()) == {TASK: Verdict.BLOCKED}
    assert set(verdicts(bench.get()).values()) == {Verdict.WRITTEN}


def test_a_task_that_failed_has_no_audio_to_get_and_is_no_fault_of_a_restore(bench: Bench) -> None:
    bench.store.objects = {f"p/{OTHER}/manifest.json": manifest([], task=OTHER, state="failed", reason="no audio made")}
    (result,) = [each for each in bench.get(OTHER) if not each.is_proven]
    assert (result.verdict, result.detail) == (Verdict.NO_AUDIO, "failed: no audio made")
    results, work = bench.restore()
    assert all(each.is_proven for each in results)
    assert work.totals.without_audio == 1


def test_a_restore_takes_every_task_and_no_other_folder(bench: Bench) -> None:
    bench.store.objects.update(archived({"vocal": b"1"}, task=OTHER))
    bench.store.objects.update({"p/_archive/ledger/x": b"", "p/my holiday/x.jpg": b"", "q/third-task-1/x": b""})
    bench.restore()
    assert {each.partition("/")[0] for each in bench.files()} == {TASK, OTHER}


def test_a_restore_leaves_out_what_is_not_meant_and_counts_it(bench: Bench) -> None:
    task = archived({"vocal": b"1"}, task=OTHER, account="band", ended_at="2026-04-01T00:00:00+00:00")
    old = archived({"vocal": b"1"}, task="old-format-task", account=None)
    bench.store.objects.update(task | old)
    _, work = bench.restore(Filter(account=AccountName("band")))
    assert dict(work.totals.left_out) == {"another account": 1, "account not known": 1}
    assert {each.partition("/")[0] for each in bench.files()} == {OTHER}
    _, work = bench.restore(Filter(since=datetime(2026, 4, 1, tzinfo=UTC)))
    assert dict(work.totals.left_out) == {"earlier": 2}


def test_a_restore_holds_few_tasks_at_a_time_however_many_are_left_out(bench: Bench) -> None:
    seen: list[int] = []
    listed = iter(range(3_000))

    def folders() -> Iterator[str]:
        for number in listed:
            seen.append(number)
            yield f"task-number-{number:05}"

    with bench.retrieval(Selection(), whole=True) as work:
        first = next(work.run(module.tasks_under(folders())))
        assert first.verdict is Verdict.NO_MANIFEST
        assert len(seen) < 50
