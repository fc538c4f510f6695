"""Files that the operator does not want: named in the manifest, and nobody's concern."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path as Folder

import pytest

from archiver.core.exclusion import Exclusion
from archiver.core.model import Archived, Later, RecordInfo, Refused, StemName, StemSource
from archiver.core.records.kinds.names import KindName, Media
from archiver.core.records.record import record_of
from tests.fakes.audio import mp3
from tests.worlds.path import TASK, Path, path_in

COVER = {
    "successFlag": 1,
    "createTime": 1764300000000,
    "response": {"images": ["https://cdn.example/c.png?sig=SECRET"]},
}
LYRICS = {"status": "SUCCESS", "createTime": 1764300000000, "response": {"data": [{"text": "la"}, {"text": "lo"}]}}


@pytest.fixture
def world(tmp_path: Folder) -> Iterator[Path]:
    with path_in(tmp_path) as path:
        path.accept(TASK)
        yield path


def archives(world: Path, record: RecordInfo, *patterns: str) -> tuple[object, list[dict[str, str]]]:
    """Let a process that leaves these out take the task to its end; return it, and what the manifest says of them."""
    world.api.knows(TASK, record)
    process = world.start(exclusion=Exclusion(patterns))
    outcome = process.archiver.archive(world.claim())
    manifest = json.loads(world.store.objects[f"p/{TASK}/manifest.json"])
    return outcome, manifest.get("not_taken", [])


@pytest.mark.parametrize("pattern", ["image", "image*", "*"])
def test_task_of_which_nothing_is_wanted_is_archived_with_its_name_for_it(world: Path, pattern: str) -> None:
    record = record_of(COVER, KindName.COVER)
    [name] = [each.name for each in record.stems]
    outcome, left = archives(world, record, pattern)
    assert outcome == Archived()
    assert [(each["source_url"], each["reason"]) for each in left] == [
        ("https://cdn.example/c.png", f"excluded: {name} (image)")
    ]
    assert "SECRET" not in json.dumps(left)
    assert world.downloader.opened == []
    assert [each["reason"] for each in world.events.of("record.not_taken")] == [
        f"excluded: {name} (image): https://cdn.example/c.png"
    ]


def test_name_alone_is_left_out_and_the_others_are_stored(world: Path) -> None:
    outcome, left = archives(world, record_of(LYRICS, KindName.LYRICS), "lyrics-02", "video")
    assert outcome == Archived()
    assert [each["reason"] for each in left] == ["excluded: lyrics-02 (text)"]
    assert [key for key in world.store.objects if key.endswith(".txt")] == [f"p/{TASK}/lyrics-01.txt"]


def test_address_that_cannot_be_asked_for_needs_nobody_where_it_is_not_wanted(world: Path) -> None:
    relative = StemSource(StemName("bass"), "", "bassUrl", not_taken="a URL that names no host: /bass.mp3")
    record = world.lists(world.serves("vocal", mp3(5000)), relative)
    assert isinstance(world.go_until(lambda outcome: not isinstance(outcome, Later)), Refused)
    world.accept("task-0002")
    world.api.knows(TASK.replace("1", "2"), record)  # type: ignore[arg-type]  # a task id
    process = world.start(exclusion=Exclusion(["bass"]))
    assert process.archiver.archive(world.claim()) == Archived()


def test_nothing_is_left_out_by_default() -> None:
    record = record_of(COVER, KindName.COVER)
    assert Exclusion().applied_to(record) == record


def test_change_takes_effect_at_once() -> None:
    exclusion, record = Exclusion(["video"]), record_of(COVER, KindName.COVER)
    assert len(exclusion.applied_to(record).stems) == 1
    exclusion.change(["image"])
    assert exclusion.applied_to(record).stems == ()
    assert [each.media for each in record.stems] == [Media.IMAGE]


def test_file_that_is_stored_already_is_not_named_as_left_out() -> None:
    record = record_of(COVER, KindName.COVER)
    names = [each.name for each in record.stems]
    assert Exclusion(["image"]).left_out_of(record, names) == record.left_out
    assert len(Exclusion(["image"]).left_out_of(replace(record), ())) == 1 + len(record.left_out)


def test_what_is_left_out_keeps_no_smaller_record_from_settling(world: Path) -> None:
    cover = replace(world.serves("cover", mp3(5000)), media=Media.IMAGE)
    world.lists(world.serves("vocal", mp3(5000)), cover)
    process, began = world.start(exclusion=Exclusion(["image"])), world.now
    while (outcome := process.archiver.archive(world.claim())) != Archived():
        assert isinstance(outcome, Later)
        world.now = outcome.at
    assert world.now - began < timedelta(hours=1)
