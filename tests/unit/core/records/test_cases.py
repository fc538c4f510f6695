"""Shapes and blemishes of records that were once dropped or refused: each address is stored or named, whatever else is.

As of 0.1.0 each of these lost an address without a word, or was asked for again and again until the audio was gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from archiver.core.model import RecordInfo
from archiver.core.records.envelope import read_envelope
from archiver.core.records.kinds.names import KindName
from archiver.core.records.record import record_in, record_of
from tests import FIXTURES
from tests.unit.core.records.readers import urls

CDN = "https://cdn.example"
VOCAL, DRUMS, BASS = f"{CDN}/vocal.mp3", f"{CDN}/drums.mp3", f"{CDN}/bass.mp3"


def read(body: bytes, kind: KindName = KindName.SEPARATION) -> RecordInfo:
    record = record_of(read_envelope(body).data, kind)
    kept = record_in(record.document, kind)
    assert [stem.name for stem in kept.stems] == [stem.name for stem in record.stems]
    return record


def separated(**response: object) -> bytes:
    data = {"successFlag": "SUCCESS", "createTime": 1793491200000, "response": {"vocalUrl": VOCAL, **response}}
    return json.dumps({"code": 200, "data": data}).encode()


@pytest.mark.parametrize(
    "response",
    [
        {"drumsUrl": "//cdn.example/drums.mp3"},
        {"drumsUrl": [DRUMS]},
        {"drumsUrl": [[DRUMS]]},
        {"drumsUrls": [DRUMS]},
        {"drums": {"url": DRUMS}},
        {"drums": [{"src": DRUMS}]},
        {"drums": DRUMS},
        {"drums_link": DRUMS},
        {"DRUMS-URI": DRUMS},
        {"drums": json.dumps({"href": DRUMS})},
        {"drumsUrl": f"  {DRUMS}\n"},
        {"drumsUrl": DRUMS.replace("/", "\\/")},
        {"drumsUrl": f"{DRUMS}#t=0"},
        {"drumsUrl": f"{DRUMS},{VOCAL}"},
        {"drumsUrl": f"{VOCAL} {DRUMS}"},
    ],
    ids=str,
)
def test_address_whose_meaning_is_plain_is_taken(response: Mapping[str, object]) -> None:
    assert set(urls(read(separated(**response))).values()) == {VOCAL, DRUMS}


def test_long_address_is_taken_and_one_that_is_longer_than_any_is_named() -> None:
    long = f"{DRUMS}?X-Amz-Security-Token={'x' * 4200}"
    assert urls(read(separated(drumsUrl=long))) == {"vocal": VOCAL, "drums": long}
    named = urls(read(separated(drumsUrl=long * 9)))["drums"]
    assert named.startswith("a URL of ")


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({"drumsUrl": "/drums.mp3"}, "a URL that names no host: /drums.mp3"),
        ({"drumsUrl": "cdn.example/drums.mp3"}, "a URL that names no host: cdn.example/drums.mp3"),
        ({"drumsUrl": "data:audio/mpeg;base64,//uQAA=="}, "data inside the record: data:audio/mpeg"),
        ({"drums": ["data:audio/mpeg;base64,//uQAA=="]}, "data inside the record: data:audio/mpeg"),
        ({"drumsUrl": "s3://bucket/drums.mp3"}, "a URL that is not by http: s3://bucket"),
        ({"drumsUrl": "blob:https://cdn.example/1"}, "a URL that is not by http: blob:https://cdn.example"),
        ({"drumsUrl": f"get it at {DRUMS}?sig=1 now"}, "an address within a text: https://cdn.example"),
        ({"drumsUrl": f"<a href='{DRUMS}'>drums</a>"}, "an address within a text: https://cdn.example"),
    ],
    ids=str,
)
def test_address_that_cannot_be_asked_for_is_named(response: Mapping[str, object], reason: str) -> None:
    assert urls(read(separated(**response))) == {"vocal": VOCAL, "drums": reason}


def test_address_within_a_text_of_no_address_is_left_out_by_name() -> None:
    record = read(separated(note=f"made with {CDN}/tool?key=secret for you"))
    assert urls(record) == {"vocal": VOCAL}
    assert [(each.field, each.url, each.kind) for each in record.left_out] == [
        ("note", f"{CDN}/tool", "an address within a text")
    ]


@pytest.mark.parametrize("nothing", ["", " ", None, [], {}, [""], [None], 5, True, "null", "N/A"], ids=repr)
def test_value_that_is_no_address_is_nothing(nothing: object) -> None:
    record = read(separated(drumsUrl=nothing))
    assert (urls(record), record.left_out) == ({"vocal": VOCAL}, ())


def test_shapes_all_at_once_are_each_stored_or_named() -> None:
    record = read((FIXTURES / "records/shapes-dropped.json").read_bytes())
    names = ("vocal", "drums", "bass", "guitar", "piano", "strings", "synth", "fx")
    assert [*urls(record)] == [*names]
    assert [stem.name for stem in record.stems if stem.not_taken] == ["bass", "fx"]


def test_item_with_the_id_of_the_fields_and_an_address_of_its_own_is_no_duplicate() -> None:
    record = read((FIXTURES / "records/one-item-with-the-fields-id.json").read_bytes())
    assert [*urls(record)] == ["vocal", "instrumental", "choir"]


@pytest.mark.parametrize("name", ["raw-tab-and-newline", "title-cut-in-utf8", "duration-nan"])
def test_blemish_in_a_field_that_nobody_needs_costs_no_audio(name: str) -> None:
    body = (FIXTURES / f"records/{name}.json").read_bytes()
    assert urls(read(body)) == {"vocal": VOCAL}
    assert read_envelope(body).blemish


DONE = b'"successFlag":"SUCCESS"'
RESPONSE = b'"response":{"vocalUrl":"https://cdn.example/vocal.mp3"}'


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"code":200,"data":{%b,%b}}' % (DONE, RESPONSE),
        b'{"code":"200","data":{%b,%b,}}' % (DONE, RESPONSE),
        b'{"code":200,"data":{%b,"a":Infinity,"b":-1e999,"c":%b,%b}}' % (DONE, b"9" * 5000, RESPONSE),
        b'{"code":200,"data":{%b,"a":"\xe9","b":"\\x41","c":"\0","d":"\\ud800",%b}}' % (DONE, RESPONSE),
        b'{"code":200,"data":{%b,%b,"response":null}}' % (DONE, RESPONSE),
        b'{"code":200,"data":{%b,"response":"",%b}}' % (DONE, RESPONSE),
        (b'{"code":200,"data":{%b,%b}}' % (DONE, RESPONSE)).decode().encode("utf-16"),
    ],
    ids=["mark", "comma", "numbers", "characters", "null again", "blank before", "utf-16"],
)
def test_answer_that_is_not_quite_json_is_read(body: bytes) -> None:
    assert urls(read(body)) == {"vocal": VOCAL}


def test_key_that_is_named_twice_loses_no_address() -> None:
    twice = b'{"code":200,"data":{%b,"response":{"vocalUrl":"%b","vocalUrl":"%b"}}}'
    assert set(urls(read(twice % (DONE, VOCAL.encode(), DRUMS.encode()))).values()) == {VOCAL, DRUMS}
    assert urls(read(twice % (DONE, VOCAL.encode(), VOCAL.encode()))) == {"vocal": VOCAL}
    assert urls(read(twice % (DONE, VOCAL.encode(), b""))) == {"vocal": VOCAL}


def wrapped(value: object, times: int) -> object:
    for _ in range(times):
        value = json.dumps(value)
    return value


@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_json_within_strings_of_json_is_read(times: int) -> None:
    separation = {"successFlag": "SUCCESS", "response": wrapped({"vocalUrl": VOCAL}, times)}
    assert urls(record_of(separation)) == urls(record_of([separation])) == {"vocal": VOCAL}
    assert urls(record_of(wrapped(separation, times))) == {"vocal": VOCAL}
    listed = {"successFlag": "SUCCESS", "response": wrapped([{"vocalUrl": VOCAL}, DRUMS], times)}
    assert set(urls(record_of(listed)).values()) == {VOCAL, DRUMS}
    job = {"state": "success", "resultJson": wrapped({"resultUrls": [VOCAL, DRUMS]}, times)}
    assert urls(record_of(job, KindName.JOBS)) == {"result-01": VOCAL, "result-02": DRUMS}


@pytest.mark.parametrize(
    "result",
    [
        [VOCAL, DRUMS],
        {"resultUrls": [[VOCAL], [[DRUMS]]]},
        {"resultUrls": [{"url": VOCAL}, {"audio_url": DRUMS}]},
        {"resultUrls": {"0": VOCAL, "1": DRUMS}},
        {"resultUrls": f"{VOCAL},{DRUMS}"},
        {"resultUrls": json.dumps([VOCAL, DRUMS])},
        {"output": VOCAL, "other": {"deep": [{"link": DRUMS}]}},
        {"resultUrls": ["", None, VOCAL, " ", DRUMS]},
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["resultJson", "result_json", "response", "result"])
def test_result_of_a_job_is_read_in_whatever_shape_and_place(place: str, result: object) -> None:
    for given in (result, json.dumps(result)):
        record = record_of({"state": "success", place: given}, KindName.JOBS)
        assert set(urls(record).values()) == {VOCAL, DRUMS}


def test_result_that_cannot_be_read_is_named_with_its_place() -> None:
    record = record_of({"state": "success", "resultJson": f'{{"resultUrls":["{VOCAL}"'}, KindName.JOBS)
    [(name, reason)] = urls(record).items()
    assert name == "result"
    assert reason.startswith("JSON that cannot be read: ")
    assert "at character" in reason


def test_numbers_as_text_are_numbers() -> None:
    track = {"id": "abcdef12-1", "audioUrl": VOCAL, "duration": " 12.5 ", "createTime": "1793491200000", "title": 5}
    [stem] = record_of({"status": "SUCCESS", "response": {"sunoData": [track]}}, KindName.MUSIC).stems
    assert stem.duration == 12.5
