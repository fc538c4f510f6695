"""Files beside the audio: those that stand in the record are written, images and videos are asked for as such."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path as Folder

import pytest

from archiver.core.errors import LinkSpent, OriginBusy
from archiver.core.model import Archived, Claim, Later, Phase, RecordInfo, Refused, StemName, StemRow, StemSource
from archiver.core.records.again import identity_of
from archiver.core.records.kinds.names import KindName, Media
from archiver.core.records.record import record_of
from archiver.core.states import StemState, TaskState
from archiver.core.written import written
from archiver.pipeline.inline import file_in
from tests import FIXTURES
from tests.fakes.audio import mp3
from tests.fakes.downloader import Audio
from tests.fakes.time import NOW
from tests.worlds.path import TASK, Path, path_in

NOTES = {"state": "complete", "instruments": [{"name": "Drums", "notes": [{"pitch": 36, "start": 0, "end": 1}]}]}
MIDI = {"successFlag": 1, "createTime": 1764300000000, "midiData": NOTES}
DOUBT = "a format that is not known"
LYRICS = {"status": "SUCCESS", "createTime": 1764300000000, "response": {"data": [{"text": "la la", "title": "A"}]}}


@pytest.fixture
def world(tmp_path: Folder) -> Iterator[Path]:
    with path_in(tmp_path) as path:
        path.accept(TASK)
        yield path


def knows(world: Path, data: dict[str, object], kind: KindName) -> None:
    world.api.knows(TASK, record_of(data, kind))


def test_notes_of_a_record_are_stored_as_json_and_as_a_midi_file(world: Path) -> None:
    knows(world, MIDI, KindName.MIDI)
    assert world.go() == Archived()
    stored = {key.rpartition("/")[2]: data for key, data in world.store.objects.items()}
    assert json.loads(stored["midi.json"]) == NOTES
    assert stored["midi_file.mid"].startswith(b"MThd")
    midi, file = world.manifest()["midi"], world.manifest()["midi_file"]
    assert (midi["content_type"], file["content_type"]) == ("application/json", "audio/midi")
    assert midi["bytes"] == len(stored["midi.json"])
    assert world.downloader.opened == []


def test_file_is_the_same_out_of_the_answer_and_out_of_what_is_kept_of_it() -> None:
    answer = record_of(MIDI, KindName.MIDI)
    claim = Claim(TASK, "t", TaskState.LISTED, NOW, kind=KindName.MIDI, document=answer.document)
    for each in answer.stems:
        row = StemRow(each.name, StemState.WANTED, "", identity_of(each), each.field, media=Media.TEXT)
        assert file_in(claim, None, row) == file_in(claim, answer, row) == written(each.content or "", each.written_as)


def test_lyrics_of_a_record_are_stored_as_text(world: Path) -> None:
    knows(world, LYRICS, KindName.LYRICS)
    assert world.go() == Archived()
    assert world.store.objects[f"p/{TASK}/lyrics-01.txt"] == b"la la"
    assert world.manifest()["lyrics-01"]["content_type"] == "text/plain; charset=utf-8"


def test_image_and_video_are_asked_for_as_such(world: Path) -> None:
    pictures = [
        replace(world.serves("cover", Audio(b"\x89PNG", "png", "image/png")), media=Media.IMAGE),
        replace(world.serves("clip", Audio(b"....ftyp", "mp4", "video/mp4")), media=Media.VIDEO),
        world.serves("vocal", mp3(5000)),
    ]
    world.lists(*pictures)
    assert world.go() == Archived()
    assert sorted(world.downloader.media) == [Media.AUDIO, Media.IMAGE, Media.VIDEO]
    assert {f"p/{TASK}/cover.png", f"p/{TASK}/clip.mp4", f"p/{TASK}/vocal.mp3"} <= set(world.store.objects)


@pytest.mark.parametrize(
    "answer", [mp3(5000), OriginBusy("503"), LinkSpent(status=404)], ids=["has it", "busy", "gone"]
)
def test_other_address_of_a_file_is_tried_where_its_own_is_spent(
    world: Path, answer: bytes | OriginBusy | LinkSpent
) -> None:
    spare = world.serves("spare", answer)
    own = world.serves("song", LinkSpent(status=404))
    world.lists(replace(own, fallback=spare.url))
    outcome = world.go()
    assert spare.url in world.downloader.opened
    assert (outcome == Archived()) == isinstance(answer, bytes)
    assert world.events.of("stem.link_rescue") == [] or not isinstance(answer, bytes)


def test_file_that_the_record_holds_no_more_is_refused_with_its_reason(world: Path) -> None:
    lost = StemSource(StemName("midi"), "", "midiData", media=Media.TEXT)
    world.lists(world.serves("vocal", mp3(5000)), lost)
    world.go_until(lambda outcome: not isinstance(outcome, Later))
    assert world.manifest()["midi"]["reason"] == "record.not_taken: the record holds it no more"


def test_doubt_about_a_stem_stands_in_manifest_ledger_and_an_event(world: Path) -> None:
    world.lists(world.serves("vocal", Audio(b"?" * 5000, "bin", "application/octet-stream", doubt=DOUBT)))
    assert world.go() == Archived()
    vocal = world.manifest()["vocal"]
    assert (vocal["format"], vocal["doubt"]) == ("unknown", DOUBT)
    assert [(each["stem"], each["doubt"]) for each in world.events.of("stem.doubtful")] == [("vocal", DOUBT)]
    [row] = world.task.stems
    assert row.reason == DOUBT


def pair(*texts: str, phase: str = "SUCCESS") -> dict[str, object]:
    return {**LYRICS, "status": phase, "response": {"data": [{"text": each} for each in texts]}}


def test_text_that_replaces_a_stored_one_is_stored_beside_it(world: Path) -> None:
    knows(world, pair("la", "na", phase="PENDING"), KindName.LYRICS)
    later = world.go()
    assert isinstance(later, Later)
    world.now = later.at
    world.api.knows(TASK, pair("oh", "la"), kind=KindName.LYRICS)
    world.go_until(lambda outcome: outcome == Archived())
    stored = [data for key, data in world.store.objects.items() if "/lyrics-" in key]
    assert sorted(stored) == [b"la", b"na", b"oh"]
    assert len(world.manifest()) == 3


def test_file_that_replaces_a_stored_one_in_its_list_is_stored_beside_it(world: Path) -> None:
    def listed(*names: str) -> list[StemSource]:
        return [
            replace(
                world.serves(name, mp3(5000 + ord(name))), name=StemName(f"result-{at:02}"), field=f"resultUrls[{at}]"
            )
            for at, name in enumerate(names, 1)
        ]

    record = RecordInfo(Phase.PENDING, tuple(listed("a", "b")), created_at=NOW, document="{}")
    world.api.knows(TASK, record, replace(record, phase=Phase.DONE, stems=tuple(listed("a", "c"))))
    world.go_until(lambda outcome: outcome == Archived())
    assert sorted(each.rpartition("/")[2] for each in world.downloader.opened) == ["a.mp3", "b.mp3", "c.mp3"]
    assert sorted(world.manifest()) == ["result-01", "result-02", "result-03"]


def test_shapes_that_no_rule_expects_are_each_in_bucket_or_manifest_with_the_reason(world: Path) -> None:
    answer = json.loads((FIXTURES / "records/shapes-dropped.json").read_bytes())["data"]
    names = ("vocal", "drums", "guitar", "piano", "strings", "synth")
    for name in names:
        world.serves(name, mp3(5000 + len(name)) + name.encode())
    world.api.knows(TASK, answer)
    outcome = world.go_until(lambda outcome: not isinstance(outcome, Later))
    assert isinstance(outcome, Refused)
    stems = world.manifest()
    assert {name for name, stem in stems.items() if stem["state"] == "stored"} == {*names}
    assert {name: stem["reason"] for name, stem in stems.items() if stem["state"] != "stored"} == {
        "bass": "record.not_taken: a URL that names no host: /bass.mp3",
        "fx": "record.not_taken: data inside the record: data:audio/mpeg",
    }
    assert len(world.events.of("record.not_taken")) == 2
