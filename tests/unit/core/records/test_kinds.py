"""The rows of the table of kinds, and what they make of records; all examples are read in tests/golden."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from archiver.core.model import Phase, RecordInfo
from archiver.core.records.extractors.results import results_of
from archiver.core.records.facts import Parent
from archiver.core.records.kinds.names import KindName, Media
from archiver.core.records.kinds.table import KINDS
from archiver.core.records.left_out import LeftOut
from archiver.core.records.record import record_in, record_of
from tests.fixtures.record_kinds import KIND_EXAMPLE, KIND_EXAMPLES, KindExample
from tests.unit.core.records.readers import urls

TRACK = {"id": "abcdef12-3456", "title": "Song", "audio_url": "https://a.test/1.mp3"}


def read(name: str) -> RecordInfo:
    example = KIND_EXAMPLE[name]
    return record_of(example.body["data"], example.kind)


def job(result: object, **more: object) -> RecordInfo:
    text = result if isinstance(result, str) else json.dumps(result)
    return record_of({"state": "success", "resultJson": text, **more}, KindName.JOBS)


def test_every_kind_has_its_row() -> None:
    assert {row.name for row in KINDS.values()} == set(KINDS) == set(KindName)
    assert len({row.path for row in KINDS.values()}) == len(KINDS)


@pytest.mark.parametrize("kind", KindName)
@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("SUCCESS", Phase.DONE),
        ("success", Phase.DONE),
        ("CALLBACK_EXCEPTION", Phase.DONE),
        ("PENDING", Phase.PENDING),
        ("TEXT_SUCCESS", Phase.PENDING),
        ("FIRST_SUCCESS", Phase.PENDING),
        ("SUCCESSFUL", Phase.PENDING),
        ("GENERATE_KAZOO_FAILED", Phase.FAILED),
        ("FAILURE", Phase.FAILED),
        ("SENSITIVE_WORD_ERROR", Phase.FAILED),
        ("9", Phase.PENDING),
    ],
)
def test_word_means_the_same_to_every_kind_and_an_unknown_one_never_that_it_is_done(
    kind: KindName, word: str, phase: Phase
) -> None:
    field = KINDS[kind].phase_fields[0]
    assert record_of({field: word}, kind).phase is phase


@pytest.mark.parametrize(
    ("kind", "phase"),
    [
        (KindName.SEPARATION, Phase.PENDING),
        (KindName.COVER, Phase.PENDING),
        (KindName.MIDI, Phase.FAILED),
        (KindName.VEO, Phase.FAILED),
        (KindName.FLUX, Phase.FAILED),
        (KindName.JOBS, Phase.PENDING),
    ],
)
@pytest.mark.parametrize("flag", [2, "2", " 2 "])
def test_integer_belongs_to_its_kind(kind: KindName, phase: Phase, flag: object) -> None:
    assert record_of({"successFlag": flag}, kind).phase is phase


@pytest.mark.parametrize("data", [None, {}, [], "x", 7, {"resultJson": "{", "response": "["}])
@pytest.mark.parametrize("kind", KindName)
def test_any_data_is_read_as_its_kind(kind: KindName, data: object) -> None:
    record = record_of(data, kind)
    assert record.kind is kind
    assert (record.phase is Phase.ABSENT) == (data is None)


STEMS = {"vocal_url": "https://a.test/v.mp3", "instrumental_url": "https://a.test/i.mp3"}
BOTH = {"vocal": "https://a.test/v.mp3", "instrumental": "https://a.test/i.mp3"}


@pytest.mark.parametrize(
    "result",
    [
        STEMS,
        {"vocalUrl": STEMS["vocal_url"], "instrumentalUrl": STEMS["instrumental_url"]},
        {"vocal_removal_info": STEMS},
        {"vocal_separation_info": STEMS},
        {"data": {"vocalSeparationInfo": STEMS}},
        {"resultObject": STEMS},
        {"data": json.dumps(STEMS)},
        {"origin_data": [{"audio_url": url, "stem_type_group_name": name.title()} for name, url in BOTH.items()]},
        {
            **STEMS,
            "originData": [{"audio_url": url, "stem_type_group_name": name.title()} for name, url in BOTH.items()],
        },
    ],
)
def test_separation_by_jobs_is_read_in_every_shape_under_the_names_of_a_separation(result: object) -> None:
    assert urls(job(result)) == BOTH
    assert urls(job("", response=result)) == BOTH
    assert urls(job(result, response=result)) == BOTH


def test_result_of_jobs_is_the_union_of_both_places() -> None:
    record = job({"resultUrls": ["https://a.test/1.mp3"]}, response={"resultUrls": ["https://a.test/2.mp3"]})
    assert sorted(urls(record).values()) == ["https://a.test/1.mp3", "https://a.test/2.mp3"]


def test_urls_with_one_file_name_stay_apart_by_their_place() -> None:
    assert [*urls(read("jobs_images_same_basename"))] == ["result-01", "result-02", "result-03"]


def test_tracks_with_one_title_and_one_beginning_of_their_ids_stay_apart() -> None:
    record = read("music_success")
    audio = [stem.name for stem in record.stems if stem.media is Media.AUDIO]
    assert audio == ["01-11111111", "02-11111111"]
    assert [track.title for track in record.facts.tracks] == ["Harbour Lights"] * 2


def test_source_of_a_track_is_another_address_of_the_same_file() -> None:
    record = record_of(
        {"response": {"sunoData": [{**TRACK, "source_audio_url": "https://b.test/1.mp3"}]}}, KindName.MUSIC
    )
    (stem,) = record.stems
    assert (stem.url, stem.fallback) == (TRACK["audio_url"], "https://b.test/1.mp3")
    assert [left.kind for left in record.left_out] == ["another address of the same file"]


def test_source_alone_stands_for_its_track() -> None:
    alone = {"id": "abcdef12", "audioUrl": "", "sourceAudioUrl": "https://b.test/1.mp3"}
    assert urls(record_of({"response": {"sunoData": [alone]}}, KindName.MUSIC)) == {
        "01-abcdef12": "https://b.test/1.mp3"
    }


@pytest.mark.parametrize("key", ["param", "paramJson", "input", "inputs", "callbackUrl", "failMsg", "generate_param"])
@pytest.mark.parametrize("kind", [KindName.JOBS, KindName.RUNWAY])
def test_input_is_no_result(kind: KindName, key: str) -> None:
    url = "https://a.test/mine.mp3"
    for value in (url, {"audio_url": url}, json.dumps({"input": json.dumps({"audio_url": url})})):
        if key != "generate_param" or kind is KindName.RUNWAY:
            record = record_of({key: value, "response": {key: value}}, kind)
            assert (record.stems, record.left_out) == ((), ())


def test_image_that_flux_was_given_is_no_result() -> None:
    assert [*urls(read("flux_kontext_success"))] == ["result_image"]


@pytest.mark.parametrize(
    ("kind", "data", "media"),
    [
        (
            KindName.RUNWAY,
            {"videoInfo": {"videoUrl": "https://a.test/1", "imageUrl": "https://a.test/2"}},
            "video image",
        ),
        (KindName.JOBS, {"response": {"videoInfo": {"images": [{"src": "https://a.test/1"}]}}}, "image"),
        (KindName.JOBS, {"response": {"images": [{"audioUrl": "https://a.test/1"}]}}, "audio"),
        (KindName.VEO, {"response": {"imageInfo": {"videos": [{"url": "https://a.test/1"}]}}}, "video"),
    ],
)
def test_innermost_key_that_tells_decides_what_a_file_is(
    kind: KindName, data: Mapping[str, object], media: str
) -> None:
    found = record_of({"successFlag": 1, **data}, kind).stems
    assert " ".join(each.media for each in found) == media


def test_stream_is_one_by_any_of_its_keys() -> None:
    record = record_of({"state": "success", "response": {"stream": {"audioUrl": "https://a.test/1"}}}, KindName.JOBS)
    assert (record.stems, [each.kind for each in record.left_out]) == ((), ["a stream"])


def test_image_is_taken_by_kinds_that_bring_images_alone() -> None:
    data = {"response": {"imageUrl": "https://a.test/x"}, "successFlag": "SUCCESS"}
    assert [stem.media for stem in record_of(data, KindName.MUSIC).stems] == [Media.IMAGE]
    assert record_of(data, KindName.WAV).left_out == (LeftOut("response.imageUrl", "https://a.test/x", "an image"),)


@pytest.mark.parametrize(
    ("url", "media"),
    [
        ("https://a.test/x.mp3?s=1", Media.AUDIO),
        ("https://a.test/x.WAV", Media.AUDIO),
        ("https://a.test/x.png", Media.IMAGE),
        ("https://a.test/x.mp4", Media.VIDEO),
        ("https://a.test/x", Media.AUDIO),
    ],
)
def test_class_of_a_result_is_told_by_its_ending(url: str, media: Media) -> None:
    assert [stem.media for stem in job({"resultUrls": [url]}).stems] == [media]


def test_notes_are_written_as_json_and_as_midi_and_no_notes_as_json_alone() -> None:
    assert [(stem.name, stem.written_as) for stem in read("midi_success").stems] == [
        ("midi", "json"),
        ("midi_file", "mid"),
    ]
    (empty,) = read("midi_empty").stems
    assert json.loads(empty.content or "") == {"state": "complete", "instruments": []}


def test_words_with_their_times_are_lyrics_with_times() -> None:
    words = [{"word": "la", "startS": 1.5, "endS": 2.0}]
    (stem,) = job({"alignedWords": words, "waveformData": [0, 1]}).stems
    assert (stem.written_as, json.loads(stem.content or "")) == ("lrc", words)


def test_result_that_is_an_object_without_files_is_a_file_itself() -> None:
    (stem,) = job({"resultObject": {"answer": [1, 2]}}).stems
    assert (stem.name, stem.written_as, stem.content) == ("result", "json", '{"answer": [1, 2]}')


def test_result_that_cannot_be_read_is_named_with_its_place() -> None:
    (stem,) = job('{"resultUrls": ["https://a.test/1.mp3"').stems
    assert (stem.name, stem.url) == ("result", "")
    assert stem.not_taken.startswith("JSON that cannot be read: ")
    assert " at character " in stem.not_taken


def test_result_with_blemishes_is_read() -> None:
    assert [*urls(job('{"resultUrls": ["https://a.test/1.mp3"], "x": NaN,}')).values()] == ["https://a.test/1.mp3"]


def test_success_without_files_lists_none() -> None:
    for name in ("music_success_no_urls", "music_success_no_songs"):
        record = read(name)
        assert (record.phase, record.stems) == (Phase.DONE, ())


@pytest.mark.parametrize(
    ("name", "parents"),
    [
        ("music_extend_success", [Parent("11111111-2222-4333-8444-555555555501", "parentMusicId")]),
        ("cover_success", [Parent("a1b2c3d4e5f60718293a4b5c6d7e8f90", "parentTaskId", is_task=True)]),
        ("wav_success", [Parent("11111111-2222-4333-8444-555555555501", "musicId")]),
        ("midi_success", [Parent("11111111-2222-4333-8444-555555555501", "audioId")]),
        (
            "jobs_separate_vocals_flat_ASSUMED",
            [
                Parent("a1b2c3d4e5f60718293a4b5c6d7e8f90", "param.input.task_id", is_task=True),
                Parent("11111111-2222-4333-8444-555555555501", "param.input.audio_id"),
            ],
        ),
        ("music_success", []),
        ("midi_empty", []),
    ],
)
def test_parents_are_those_that_the_record_names(name: str, parents: list[Parent]) -> None:
    assert [*read(name).facts.parents] == parents


@pytest.mark.parametrize("example", KIND_EXAMPLES, ids=lambda each: each.name)
def test_document_gives_the_same_names_and_contents_when_it_is_read_again(example: KindExample) -> None:
    record = record_of(example.body.get("data"), example.kind)
    again = record_in(record.document, example.kind)
    assert [(each.name, each.content, each.media) for each in again.stems] == [
        (each.name, each.content, each.media) for each in record.stems
    ]


@pytest.mark.parametrize(
    "entry", [{"id": "é/../x", "audioUrl": "https://a.test/1"}, {"id": 7, "audio_url": "//a.test/1"}]
)
def test_name_of_a_track_is_fit_for_a_key(entry: Mapping[str, object]) -> None:
    (stem,) = record_of({"response": {"sunoData": [entry]}}, KindName.MUSIC).stems
    assert stem.name in ("01-x", "01-7")


def nested(stems: list[str]) -> object:
    inner: object = {}
    for url in stems:
        inner = {"vocal_url": url, "more": inner}
    return inner


URLS = [f"https://a.test/{number}" for number in range(3000)]


@pytest.mark.parametrize(
    "result",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 20_000,
        {"resultUrls": URLS},
        {"data": [{"id": f"{at:08}", "audio_url": url, "source_audio_url": f"{url}?"} for at, url in enumerate(URLS)]},
        {"data": [{"text": f"la {url}", "title": "x"} for url in URLS]},
        [{"vocal_url": url} for url in URLS],
        nested(URLS[:300]),
        [{"a": {}}] * 10_000,
        '"' * 100_000,
        '{"a":"' + "\\" * 100_001,
    ],
    ids=[
        "deep",
        "deep and cut",
        "urls",
        "tracks",
        "texts",
        "stems",
        "nested stems",
        "objects",
        "quotes",
        "backslashes",
    ],
)
def test_result_is_bounded_however_large_or_deep_it_is_and_what_is_beyond_is_named(result: object) -> None:
    record = job(result)
    assert len(record.stems) <= 201
    assert len(record.left_out) <= 2000
    if len(record.stems) == 201:
        assert record.stems[-1].not_taken


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (
            KindName.LYRICS,
            {"status": "SUCCESS", "response": {"data": [{"text": "la", "title": "Song"}, {"text": "lo"}]}},
        ),
        (
            KindName.JOBS,
            {"state": "success", "response": {"resultObject": {"lyricsData": [{"text": "l", "title": "Song"}]}}},
        ),
    ],
)
def test_title_of_lyrics_is_the_tasks(kind: KindName, data: Mapping[str, object]) -> None:
    assert record_of(data, kind).facts.title == "Song"


def test_objects_beyond_50_that_are_like_a_separation_are_read_as_any_other_value() -> None:
    listed = [{"vocal_url": f"https://a.test/{number}.mp3"} for number in range(51)]
    items = results_of({"x": listed}, KINDS[KindName.JOBS]).items.values()
    assert [item.name for item in items] == ["vocal"] * 50 + ["x_vocal-51"]


def test_values_beyond_20_000_are_looked_at_for_no_track_and_their_addresses_are_taken_all_the_same() -> None:
    filler = [{"at": {"of": 1}}] * 9_998
    songs = [{**TRACK, "id": f"song-{at}", "audio_url": f"https://a.test/{at}.mp3"} for at in range(3)]
    found = results_of({"x": [*filler, {"of": 1}, *songs]}, KINDS[KindName.MUSIC])
    assert list(found.tracks) == ["song-0", "song-1"], "one list, 19,997 objects before them"
    assert len(found.items) == 3
