"""A task as one ZIP archive: whole and proven under its name, or not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from zipfile import ZIP_STORED, ZipFile

import pytest

from archiver.core.errors import BucketMissing, StoreBusy
from archiver.core.reading import ObjectCold
from archiver.preservation.fetching import READS
from archiver.preservation.results import Verdict
from archiver.preservation.wanted import Selection
from tests.fixtures.archived import RECORD, TASK, archived, manifest, noise, stem_of
from tests.unit.preservation.rig import STEMS, Bench, verdicts
from tests.unit.preservation.test_retrieval import cut, flipped


def entries(bench: Bench, name: str = f"{TASK}.zip") -> dict[str, bytes]:
    with ZipFile(bench.into / name) as archive:
        assert {each.compress_type for each in archive.infolist()} == {ZIP_STORED}
        return {each: archive.read(each) for each in archive.namelist()}


def test_a_task_is_one_archive_with_its_sidecars(bench: Bench) -> None:
    assert set(verdicts(bench.zip()).values()) == {Verdict.WRITTEN}
    assert entries(bench) == {
        f"{TASK}/vocal.mp3": STEMS["vocal"],
        f"{TASK}/drums.mp3": STEMS["drums"],
        f"{TASK}/record-info.json": RECORD,
        f"{TASK}/manifest.json": bench.store.objects[f"p/{TASK}/manifest.json"],
    }
    assert list(bench.files()) == [f"{TASK}.zip"]


def test_an_equal_archive_is_left_and_an_unlike_one_is_told(bench: Bench) -> None:
    bench.zip()
    before = bench.files()
    assert set(verdicts(bench.zip()).values()) == {Verdict.EQUAL}
    bench.store.objects.update(archived({"vocal": noise(9)}))
    assert verdicts(bench.zip()) == {f"{TASK}.zip": Verdict.DIFFERENT}
    assert bench.files() == before
    (bench.into / f"{TASK}.zip").write_bytes(b"not a zip")
    assert verdicts(bench.zip()) == {f"{TASK}.zip": Verdict.DIFFERENT}


def test_bytes_damaged_on_the_way_begin_the_archive_again(bench: Bench) -> None:
    bench.alter = flipped(READS - 1)
    assert set(verdicts(bench.zip()).values()) == {Verdict.WRITTEN}
    assert entries(bench)[f"{TASK}/vocal.mp3"] == STEMS["vocal"]


def test_a_cut_is_gone_on_with(bench: Bench) -> None:
    bench.alter = cut
    assert set(verdicts(bench.zip()).values()) == {Verdict.WRITTEN}
    assert entries(bench)[f"{TASK}/vocal.mp3"] == STEMS["vocal"]


def strike(fault: Exception) -> Callable[[str, str], None]:
    def before(method: str, key: str) -> None:
        if method == "open" and key.endswith("vocal.mp3"):
            raise fault

    return before


@pytest.mark.parametrize(("fault", "verdict"), [(ObjectCold("cold"), Verdict.COLD), (StoreBusy("503"), Verdict.UNREAD)])
def test_an_archive_that_would_lack_a_stem_is_not_written(bench: Bench, fault: Exception, verdict: Verdict) -> None:
    bench.store.before = strike(fault)
    assert verdicts(bench.zip()) == {"vocal.mp3": verdict, f"{TASK}.zip": Verdict.BLOCKED}
    assert bench.files() == {}


def test_an_archive_of_damaged_bytes_is_not_written(bench: Bench) -> None:
    bench.alter = flipped(10_000)
    assert verdicts(bench.zip()) == {"vocal.mp3": Verdict.WRONG, f"{TASK}.zip": Verdict.BLOCKED}
    assert bench.files() == {}


def test_an_archive_of_what_a_lossy_task_still_has_is_written(bench: Bench) -> None:
    lost = {"name": "piano", "state": "lost", "reason": "410"}
    bench.store.objects[f"p/{TASK}/manifest.json"] = manifest([stem_of("vocal", STEMS["vocal"]), lost], state="lost")
    assert verdicts(bench.zip()) == {
        "piano": Verdict.GONE,
        "vocal.mp3": Verdict.WRITTEN,
        "manifest.json": Verdict.WRITTEN,
        "record-info.json": Verdict.WRITTEN,
    }


def test_one_stem_of_an_archive_named_by_title(bench: Bench) -> None:
    bench.store.objects.update(archived(STEMS, title="Song"))
    bench.zip(selection=Selection("drums", titles=True))
    name = f"Song ({TASK})"
    assert entries(bench, f"{name}.zip") == {f"{name}/Song - drums.mp3": STEMS["drums"]}


def test_a_store_or_a_disk_that_ends_the_work_leaves_nothing(bench: Bench) -> None:
    bench.store.before = strike(BucketMissing("no bucket"))
    with pytest.raises(BucketMissing):
        bench.zip()
    bench.store.before = lambda *_: None

    def full(step: str) -> None:
        if step == "sync":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    bench.step = full
    with pytest.raises(OSError, match="No space"):
        bench.zip()
    assert bench.files() == {}
