"""The audio of a vocal-removal record: which URLs count, and what duplicates what."""

from __future__ import annotations

import json

import pytest

from archiver.core.records.envelope import read_envelope
from archiver.core.records.items import Item
from archiver.core.records.left_out import LeftOut
from archiver.core.records.others import Rules, others_in
from archiver.core.records.record import record_of
from archiver.core.text import is_address, shown_url
from tests import FIXTURES
from tests.unit.core.records.readers import ID, item, response, urls


def test_unknown_field_is_listed_and_marked() -> None:
    (stem,) = record_of(response(kazooSoloUrl="https://a.test/k.mp3")).stems
    assert (stem.name, stem.field, stem.known) == ("kazoo_solo", "kazooSoloUrl", False)


def test_origin_url_is_listed_last_of_the_known_as_origin() -> None:
    record = record_of(response(originUrl="https://a.test/o.mp3", woodwindsUrl="https://a.test/w.mp3"))
    assert [(stem.name, stem.known) for stem in record.stems] == [("woodwinds", True), ("origin", True)]


@pytest.mark.parametrize(
    "key",
    [
        "callbackUrl",
        "callBackUrl",
        "callback_url",
        "call_back_url",
        "progressCallbackUrl",
        "webhookUrl",
        "imageUrl",
        "image_url",
        "sourceImageUrl",
        "imageLargeUrl",
        "videoUrl",
        "video_url",
        "streamAudioUrl",
        "sourceStreamAudioUrl",
        "stream_audio_url",
        "audioStreamUrl",
    ],
)
def test_field_that_names_no_audio_is_left_out(key: str) -> None:
    record = record_of(response(**{key: "https://a.test/x", "originData": [{key: "https://a.test/x"}]}))
    assert record.stems == ()


@pytest.mark.parametrize("key", ["upstreamVocalsUrl", "imageryUrl", "backingVocalsUrl", "audioUrl", "url", "vocalURL"])
def test_field_that_only_resembles_those_is_kept(key: str) -> None:
    assert len(record_of(response(**{key: "https://a.test/x.mp3"})).stems) == 1


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "  ",
        7,
        True,
        [],
        {"a": 1},
        "N/A",
        "none",
        "not made yet.",
        "audio/mpeg",
        "javascript:alert(1)",
    ],
)
def test_value_that_is_no_address_is_passed_over(value: object) -> None:
    record = record_of(response(vocalUrl=value, originData=[{"audio_url": value}, value]))
    assert (record.stems, record.left_out) == ((), ())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("/bass.mp3", "a URL that names no host: /bass.mp3"),
        ("a.test/x.mp3?sig=SECRET", "a URL that names no host: a.test/x.mp3"),
        ("bass.mp3", "a URL that names no host: bass.mp3"),
        ("//", "a URL that names no host: //"),
        ("ftp://a.test/x", "a URL that is not by http: ftp://a.test"),
        ("file:///etc/passwd", "a URL that is not by http: file://"),
        ("https://", "no URL that can be asked for: https://"),
        ("https:///x", "no URL that can be asked for: https://"),
        ("https://exa mple.test/x", "no URL that can be asked for: https://exa mple.test/x"),
        ("https://u:SECRET@a.test:port/x", "no URL that can be asked for: https://a.test"),
        ("https://a.test\\@b.test/x", "no URL that can be asked for: https://a.test"),
        ("https://[::1/x", "no URL that can be asked for: https://"),
        ("https://a.\ud800/x", "no URL that can be asked for: https://"),
        ("https://." + "ä" * 300 + "/x", "no URL that can be asked for: https://"),
        ("data:audio/mp3;base64,SECRET", "data inside the record: data:audio/mp3"),
        (
            "https://a.test/x?SECRET" + "a" * 16384,
            "a URL of 16407 characters, 16384 at most can be asked for: https://a.test",
        ),
    ],
)
@pytest.mark.parametrize("shape", ["field", "list", "item", "bare"])
def test_address_that_cannot_be_asked_for_is_listed_with_its_reason(value: str, reason: str, shape: str) -> None:
    shapes = {"bassUrl": value} if shape == "field" else {"bassUrls": [value]} if shape == "list" else {}
    items = [{"audio_url": value, "stem_type_group_name": "Bass"}] if shape == "item" else []
    (stem,) = record_of(response(**(shapes or {"originData": items or [{"bass_url": value}]}))).stems
    assert (stem.name, stem.url, stem.not_taken) == ("bass", "", reason)
    assert not is_address(stem.not_taken)
    assert shown_url(stem.not_taken) == stem.not_taken


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"drumsUrl": "//cdn.example/d.mp3"}, {"drums": "https://cdn.example/d.mp3"}),
        ({"drumsUrl": ["https://cdn.example/d.mp3"]}, {"drums": "https://cdn.example/d.mp3"}),
        ({"drumsUrls": ["https://cdn.example/d.mp3"]}, {"drums": "https://cdn.example/d.mp3"}),
        ({"drums": {"url": "https://cdn.example/d.mp3"}}, {"drums": "https://cdn.example/d.mp3"}),
        ({"drums": "https://cdn.example/d.mp3"}, {"drums": "https://cdn.example/d.mp3"}),
        ({"drums": {"wav": {"href": "https://cdn.example/d.wav"}}}, {"drums_wav": "https://cdn.example/d.wav"}),
        ({"stems": {"drumKit": "https://cdn.example/d"}}, {"stems_drum_kit": "https://cdn.example/d"}),
        ({"result": '{"drums_url": "https://cdn.example/d.mp3"}'}, {"drums": "https://cdn.example/d.mp3"}),
        (
            {"drumsUrls": ["https://cdn.example/1.mp3", "https://cdn.example/2.mp3"]},
            {"drums": "https://cdn.example/1.mp3", "drums_2": "https://cdn.example/2.mp3"},
        ),
        (
            {"files": [{"stem_name": "Drum Kit", "link": "https://cdn.example/d"}]},
            {"drum_kit": "https://cdn.example/d"},
        ),
        (
            {"drumsUrl": "https://cdn.example/d.mp3?X-Amz-Security-Token=" + "x" * 4200},
            {"drums": "https://cdn.example/d.mp3?X-Amz-Security-Token=" + "x" * 4200},
        ),
    ],
)
def test_address_of_another_shape_is_taken(fields: dict[str, object], found: dict[str, str]) -> None:
    assert urls(record_of(response(**fields))) == found


@pytest.mark.parametrize(
    ("fields", "left_out"),
    [
        ({"imageUrl": "https://a.test/x?SECRET"}, LeftOut("imageUrl", "https://a.test/x", "an image")),
        ({"images": ["https://a.test/x"]}, LeftOut("images[0]", "https://a.test/x", "an image")),
        ({"streamAudioUrl": "https://a.test/x"}, LeftOut("streamAudioUrl", "https://a.test/x", "a stream")),
        ({"videoUrl": "https://a.test/x"}, LeftOut("videoUrl", "https://a.test/x", "a video")),
        ({"coverUrl": "https://a.test/x.jpeg?s"}, LeftOut("coverUrl", "https://a.test/x.jpeg", "an image")),
        ({"midiUrl": "https://a.test/x.mid"}, LeftOut("midiUrl", "https://a.test/x.mid", "MIDI")),
        ({"lyricsUrl": "https://a.test/x.lrc"}, LeftOut("lyricsUrl", "https://a.test/x.lrc", "a text")),
        ({"note": "https://a.test/x is a song"}, LeftOut("note", "https://a.test/x%20is%20a%20song", "a text")),
    ],
)
def test_address_of_what_is_no_audio_is_named(fields: dict[str, object], left_out: LeftOut) -> None:
    record = record_of(response(**fields))
    assert (record.stems, record.left_out) == ((), (left_out,))


@pytest.mark.parametrize("key", ["param", "paramJson", "input", "callbackUrl", "progress_callback_urls", "webhook"])
@pytest.mark.parametrize(
    "value", ["https://a.test/x.mp3", ["https://a.test/x.mp3"], '{"audio_url": "https://a.test/x"}']
)
def test_input_inside_the_response_is_neither_taken_nor_named(key: str, value: object) -> None:
    record = record_of(response(**{key: value}))
    assert (record.stems, record.left_out) == ((), ())


def test_case_of_shapes_dropped_is_read_whole() -> None:
    record = record_of(read_envelope((FIXTURES / "records" / "shapes-dropped.json").read_bytes()).data)
    assert urls(record) == {
        **{
            name: f"https://cdn.example/{name}.mp3"
            for name in ["vocal", "drums", "guitar", "piano", "strings", "synth"]
        },
        "bass": "a URL that names no host: /bass.mp3",
        "fx": "data inside the record: data:audio/mpeg",
    }


def test_case_of_an_item_with_the_fields_id_has_three_stems() -> None:
    record = record_of(read_envelope((FIXTURES / "records" / "one-item-with-the-fields-id.json").read_bytes()).data)
    assert urls(record).keys() == {"vocal", "instrumental", "choir"}


def test_snake_and_camel_case_of_one_field_are_one_stem() -> None:
    record = record_of(response(backingVocalsUrl="https://a.test/b.mp3", backing_vocals_url="https://a.test/b.mp3"))
    assert [stem.name for stem in record.stems] == ["backing_vocals"]


def test_two_fields_with_one_url_are_two_stems() -> None:
    record = record_of(response(vocalUrl="https://a.test/x.mp3", instrumentalUrl="https://a.test/x.mp3"))
    assert urls(record).keys() == {"vocal", "instrumental"}


@pytest.mark.parametrize("info", ["vocal_separation_info", "vocal_removal_info", "vocalRemovalInfo"])
@pytest.mark.parametrize("nested", [False, True])
def test_callback_body_is_read_too(info: str, nested: bool) -> None:
    answer = {info: {"vocal_url": "https://a.test/v.mp3", "origin_url": "", "instrumental_url": None}}
    record = record_of({"response": answer} if nested else answer | {"task_id": "x"})
    assert urls(record) == {"vocal": "https://a.test/v.mp3"}


def test_callback_body_of_the_advanced_type_is_read() -> None:
    roles = {
        "extract": {"audio_url": "https://a.test/1.mp3", "stem_type_group_name": "Lead Vocal", "id": "1" * 32},
        "remove": {"audio_url": "https://a.test/2.mp3", "stem_type_group_name": "Lead Vocal", "id": "2" * 32},
    }
    record = record_of({"vocal_removal_info": {"origin_data": [roles]}})
    assert [(stem.name, stem.field) for stem in record.stems] == [
        ("lead_vocal", "origin_data[0].extract"),
        ("lead_vocal_removed", "origin_data[0].remove"),
    ]


def test_response_as_json_text_is_read() -> None:
    inner = json.dumps({"vocalUrl": "https://a.test/v.mp3?sig=SECRET"})
    record = record_of({"response": inner})
    assert urls(record) == {"vocal": "https://a.test/v.mp3?sig=SECRET"}
    assert "SECRET" not in record.document


@pytest.mark.parametrize("text", ["{", "[1]", "{" * 5000, "[" * 100_000, "null", "x"])
def test_response_as_other_text_is_no_audio(text: str) -> None:
    assert record_of({"response": text, "successFlag": "SUCCESS"}).stems == ()


def test_url_outside_the_response_is_no_stem() -> None:
    assert record_of({"audioUrl": "https://a.test/input.mp3", "response": None}).stems == ()


def test_stems_are_bounded() -> None:
    many = {f"k{number}Url": f"https://a.test/{number}" for number in range(201)}
    items = [{"audio_url": f"https://b.test/{number}"} for number in range(1000)]
    fields, listed = record_of(response(**many)).stems, record_of(response(originData=items)).stems
    assert len(fields) == len(listed) == 201
    assert [stem.not_taken for stem in (fields[-1], listed[-1])] == [
        f"{count} more than the 200 files that are taken of one task" for count in (1, 800)
    ]
    assert record_of(response(**many, vocalUrl="https://a.test/v")).stems[0].name == "vocal"


def test_item_with_the_url_of_a_field_is_its_duplicate_and_gives_the_duration() -> None:
    duplicate = item("https://a.test/v.mp3", "Vocals", duration=9.5)
    (stem,) = record_of(response(vocalUrl="https://a.test/v.mp3", originData=[duplicate])).stems
    assert (stem.name, stem.duration) == ("vocal", 9.5)


def test_placeholder_whose_id_stands_in_a_fields_file_name_is_its_duplicate() -> None:
    record = record_of(response(vocalUrl=f"https://a.test/s/{ID}_V.mp3", originData=[item("https://example1", id=ID)]))
    assert [stem.name for stem in record.stems] == ["vocal"]


def test_item_with_a_url_of_its_own_is_no_duplicate_whatever_its_id() -> None:
    record = record_of(response(vocalUrl=f"https://a.test/{ID}_V.mp3", originData=[item("https://b.test/1", id=ID)]))
    assert len(record.stems) == 2


def test_item_whose_id_stands_only_in_a_fields_query_is_no_duplicate() -> None:
    record = record_of(response(vocalUrl=f"https://a.test/v.mp3?{ID}", originData=[item("https://b.test/1", id=ID)]))
    assert len(record.stems) == 2


def test_item_with_a_short_id_is_no_duplicate() -> None:
    record = record_of(response(vocalUrl="https://a.test/1_V.mp3", originData=[item("https://b.test/1", id=1)]))
    assert len(record.stems) == 2


def test_items_that_share_an_id_are_no_duplicates_of_the_field_that_has_it() -> None:
    roles = {"extract": item("https://b.test/1", "Vocals", id=ID), "remove": item("https://b.test/2", "Vocals", id=ID)}
    record = record_of(response(vocalUrl=f"https://a.test/{ID}.mp3", originData=[roles]))
    assert urls(record).keys() == {"vocal", "vocals", "vocals_removed"}


def test_same_item_twice_is_one_stem() -> None:
    twice = [item("https://b.test/1", "Choir", id=ID)] * 2
    assert [stem.name for stem in record_of(response(originData=twice)).stems] == ["choir"]


def test_urls_that_differ_only_in_their_query_are_two_stems() -> None:
    both = [item("https://b.test/get?id=1", "Choir"), item("https://b.test/get?id=2", "Choir")]
    record = record_of(response(originData=both))
    assert len(record.stems) == len(urls(record)) == 2


def test_item_in_camel_case_is_read() -> None:
    camel = {"audioUrl": "https://b.test/1", "stemTypeGroupName": "Drum Kit", "duration": 3}
    (stem,) = record_of(response(originData=[camel])).stems
    assert (stem.name, stem.duration, stem.known) == ("drum_kit", 3.0, True)


def test_item_as_bare_url_or_single_object_is_read() -> None:
    assert urls(record_of(response(originData=["https://b.test/1"]))) == {"stem": "https://b.test/1"}
    assert urls(record_of(response(originData=item("https://b.test/1", "Choir")))) == {"choir": "https://b.test/1"}


def test_role_nobody_has_heard_of_is_listed_and_marked() -> None:
    (stem,) = record_of(response(originData=[{"blend": item("https://b.test/1", "Choir")}])).stems
    assert (stem.name, stem.field, stem.known) == ("choir_blend", "originData[0].blend", False)


def test_further_url_of_an_item_is_listed_and_marked() -> None:
    both = item("https://b.test/1.mp3", "Choir", wav_url="https://b.test/1.wav")
    stems = record_of(response(originData=[both])).stems
    assert [(stem.name, stem.field, stem.known) for stem in stems] == [
        ("choir", "originData[0]", True),
        ("choir_wav", "originData[0].wav_url", False),
    ]


BESIDE = {
    "drumsUrl": "https://a.test/d.mp3",
    "files": [{"url": "https://a.test/f.mp3"}],
    "bassUrl": "/bass.mp3",
    "vocalUrl": "https://a.test/v.mp3",
    "callbackUrl": "https://mine.test/c",
    "param": json.dumps({"audioUrl": "https://mine.test/in.mp3"}),
    "input": {"audioUrl": "https://mine.test/in.mp3"},
    "errorMessage": "https://help.test/",
    "model": "V4.5",
}


def test_address_beside_the_result_of_a_finished_task_is_taken_or_named_and_inputs_are_not() -> None:
    data = {"successFlag": "SUCCESS", "response": {"vocalUrl": "https://a.test/v.mp3"}, **BESIDE}
    record = record_of(data)
    assert [(stem.name, stem.url or stem.not_taken) for stem in record.stems] == [
        ("vocal", "https://a.test/v.mp3"),
        ("drums", "https://a.test/d.mp3"),
        ("stem", "https://a.test/f.mp3"),
        ("bass", "a URL that names no host: /bass.mp3"),
    ]
    assert record.left_out == ()


@pytest.mark.parametrize("flag", ["PENDING", "CREATE_TASK_FAILED"])
def test_address_beside_the_result_of_a_task_that_is_not_finished_counts_for_nothing(flag: str) -> None:
    assert record_of({"successFlag": flag, "response": None, **BESIDE}).stems == ()


@pytest.mark.parametrize(("addresses", "more"), [(1_000, 0), (1_001, 1)])
def test_addresses_that_no_rule_expects_are_looked_at_up_to_1_000(addresses: int, more: int) -> None:
    answer = {"extra": [f"https://a.test/{number}.mp3" for number in range(addresses)]}
    found = [each for each in others_in(answer, taken=(), rules=Rules(known=())) if isinstance(each, Item)]
    assert len(found) == 1_000 + more
    assert [each.not_taken for each in found[1_000:]] == ["more than 1000 addresses that no rule expects"] * more


def test_result_that_is_a_list_is_read_by_its_fields_for_50_objects_and_by_all_addresses_beyond() -> None:
    listed = [{"vocalUrl": f"https://a.test/{number}.mp3"} for number in range(51)]
    stems = record_of({"response": listed, "successFlag": "SUCCESS"}).stems
    assert [stem.field for stem in stems if stem.field != "vocalUrl"] == ["response[50].vocalUrl"]
    assert len(stems) == 51
