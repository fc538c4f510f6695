"""What each kind of answer is read as; the bodies are those of the provider's docs and public recordings."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from archiver.core.model import Phase, RecordInfo
from archiver.core.records.envelope import (
    MAX_ANSWER,
    MAX_NAME,
    MAX_STEMS,
    MAX_TEXT,
    MAX_URL,
    NotAnAnswer,
    document_of,
    host_of,
    parse_record,
    read_envelope,
    record_of,
    scrub,
    shown_url,
    usable_url,
)
from tests import FIXTURES

EXAMPLES = {
    example["name"]: example for example in json.loads((FIXTURES / "record-info-examples.json").read_text("utf-8"))
}

SEPARATED = datetime(2025, 7, 29, 9, 54, 14, tzinfo=UTC)
SEPARATED_END = datetime(2025, 7, 29, 9, 55, 37, tzinfo=UTC)
SPLIT = datetime(2025, 7, 29, 9, 45, 27, tzinfo=UTC)
SPLIT_END = datetime(2025, 7, 29, 9, 47, 39, tzinfo=UTC)

FILES = "https://file.aiquickdraw.com/s/"
VOCAL = f"{FILES}3d7021c9-fa8b-4eda-91d1-3b9297ddb172_Vocals.mp3"
INSTRUMENTAL = f"{FILES}d92a13bf-c6f4-4ade-bb47-f69738435528_Instrumental.mp3"

Stem = tuple[str, str, str, float | None]
"""Name, URL, field, seconds."""

TWO_STEMS: tuple[Stem, ...] = (
    ("vocal", VOCAL, "vocalUrl", 245.6),
    ("instrumental", INSTRUMENTAL, "instrumentalUrl", 245.6),
)
TWO_STEMS_OLD: tuple[Stem, ...] = (
    ("vocal", VOCAL, "vocalUrl", None),
    ("instrumental", INSTRUMENTAL, "instrumentalUrl", None),
)
SPLIT_STEMS: tuple[Stem, ...] = (
    ("vocal", f"{FILES}07420749-29a2-4054-9b62-e6a6f8b90ccb_Vocals.mp3", "vocalUrl", None),
    ("backing_vocals", f"{FILES}aadc51a3-4c88-4c8e-a4c8-e867c539673d_Backing_Vocals.mp3", "backingVocalsUrl", None),
    ("drums", f"{FILES}ac75c5ea-ac77-4ad2-b7d9-66e140b78e44_Drums.mp3", "drumsUrl", None),
    ("bass", f"{FILES}a3c2da5a-b364-4422-adb5-2692b9c26d33_Bass.mp3", "bassUrl", None),
    ("guitar", f"{FILES}064dd08e-d5d2-4201-9058-c5c40fb695b4_Guitar.mp3", "guitarUrl", None),
    ("keyboard", f"{FILES}adc934e0-df7d-45da-8220-1dba160d74e0_Keyboard.mp3", "keyboardUrl", None),
    ("percussion", f"{FILES}0f70884d-047c-41f1-a6d0-7044618b7dc6_Percussion.mp3", "percussionUrl", None),
    ("strings", f"{FILES}49829425-a5b0-424e-857a-75d4c63a426b_Strings.mp3", "stringsUrl", None),
    ("synth", f"{FILES}56b2d94a-eb92-4d21-bc43-3460de0c8348_Synth.mp3", "synthUrl", None),
    ("fx", f"{FILES}a8822c73-6629-4089-8f2a-d19f41f0007d_FX.mp3", "fxUrl", None),
    ("brass", f"{FILES}334b2d23-0c65-4a04-92c7-22f828afdd44_Brass.mp3", "brassUrl", None),
    ("woodwinds", f"{FILES}d81545b1-6f94-4388-9785-1aaa6ecabb02_Woodwinds.mp3", "woodwindsUrl", None),
    ("keyboard_adc934e0", "https://example001.mp3", "originData[0]", 312.4),
    ("percussion_0f70884d", "https://example002.mp3", "originData[1]", 312.4),
    ("strings_49829425", "https://example003.mp3", "originData[2]", 312.4),
    ("synth_56b2d94a", "https://example004.mp3", "originData[3]", 312.4),
)
ROLES = "https://tempfile.aiquickdraw.com/r/"
ADVANCED_STEMS: tuple[Stem, ...] = (
    (
        "lead_vocal",
        f"{ROLES}eb7d0f18-8349-4735-a65e-1812705d5ddf_Lead%20Vocal.mp3",
        "originData[0].extract",
        194.92,
    ),
    (
        "lead_vocal_removed",
        f"{ROLES}706d32df-e988-412e-bce4-42c9302e5478_Lead%20Vocal.mp3",
        "originData[0].remove",
        194.92,
    ),
)
INTERNAL_ERROR = "Internal Error - Please try again later."


@dataclass(frozen=True)
class Reading:
    phase: Phase
    flag: str = ""
    stems: tuple[Stem, ...] = ()
    created: datetime | None = None
    completed: datetime | None = None
    code: int | None = None
    message: str = ""


ABSENT = Reading(Phase.ABSENT)
NO_DATA = {
    "unknown_task_id": 200,
    "unknown_task_id_jobs_api": 422,
    "unauthorized_401_body": 401,
    "unauthorized_401_http": 401,
    "insufficient_credits_402": 402,
    "not_found_404": 404,
    "validation_422": 422,
    "rate_limited_429_http": 429,
    "rate_limited_429_body": 429,
    "sub_key_limit_433": 433,
    "fetch_451": 451,
    "maintenance_455": 455,
    "server_error_500_http": 500,
    "server_error_500_body": 500,
    "feature_disabled_505": 505,
}
NO_JSON = {"cloudflare_ua_block_403"}

READINGS = {
    "success_separate_vocal": Reading(Phase.DONE, "SUCCESS", TWO_STEMS, SEPARATED, SEPARATED_END),
    "success_separate_vocal_old": Reading(Phase.DONE, "SUCCESS", TWO_STEMS_OLD, SEPARATED, SEPARATED_END),
    "success_split_stem": Reading(Phase.DONE, "SUCCESS", SPLIT_STEMS, SPLIT, SPLIT_END),
    "success_split_stem_advanced": Reading(Phase.DONE, "SUCCESS", ADVANCED_STEMS, SEPARATED, SEPARATED_END),
    "success_without_urls": Reading(Phase.DONE, "SUCCESS", (), SEPARATED, SEPARATED_END),
    "callback_exception_with_urls": Reading(Phase.DONE, "CALLBACK_EXCEPTION", TWO_STEMS, SEPARATED, SEPARATED_END),
    "callback_exception_no_urls": Reading(
        Phase.DONE, "CALLBACK_EXCEPTION", (), SEPARATED, SEPARATED_END, 500, "Callback process error"
    ),
    "pending": Reading(Phase.PENDING, "PENDING", (), SEPARATED),
    "pending_but_error_set": Reading(
        Phase.PENDING, "PENDING", (), SEPARATED, None, 413, "Uploaded audio matches existing work of art"
    ),
    "create_task_failed": Reading(
        Phase.FAILED, "CREATE_TASK_FAILED", (), SEPARATED, SEPARATED_END, 500, INTERNAL_ERROR
    ),
    "generate_audio_failed": Reading(
        Phase.FAILED, "GENERATE_AUDIO_FAILED", (), SEPARATED, SEPARATED_END, 500, INTERNAL_ERROR
    ),
    "sensitive_word_error": Reading(
        Phase.FAILED,
        "SENSITIVE_WORD_ERROR",
        (),
        SEPARATED,
        SEPARATED_END,
        None,
        "Content filtered due to sensitive words",
    ),
} | dict.fromkeys(NO_DATA, ABSENT)


def body_of(name: str) -> bytes:
    body = EXAMPLES[name]["body"]
    return body.encode() if name in NO_JSON else json.dumps(body).encode()


def reading_of(record: RecordInfo) -> Reading:
    stems = tuple((stem.name, stem.url, stem.field, stem.duration) for stem in record.stems)
    return Reading(
        record.phase,
        record.flag,
        stems,
        record.created_at,
        record.completed_at,
        record.error_code,
        record.error_message,
    )


def response(**fields: object) -> dict[str, object]:
    return {"response": fields, "successFlag": "SUCCESS"}


def urls(record: RecordInfo) -> dict[str, str]:
    return {stem.name: stem.url for stem in record.stems}


def test_examples_are_all_read() -> None:
    assert READINGS.keys() | NO_JSON == EXAMPLES.keys()


@pytest.mark.parametrize("name", READINGS)
def test_example_is_read_as_expected(name: str) -> None:
    record = parse_record(body_of(name))
    assert reading_of(record) == READINGS[name]
    assert all(stem.known for stem in record.stems)


@pytest.mark.parametrize(("name", "code"), NO_DATA.items())
def test_envelope_keeps_code_and_message_for_the_caller_to_judge(name: str, code: int) -> None:
    envelope = read_envelope(body_of(name))
    assert (envelope.code, envelope.data) == (code, None)
    assert envelope.msg == EXAMPLES[name]["body"]["msg"]


# ---------------------------------------------------------------------- the envelope


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"error code: 1010",
        b"<!doctype html><html><body>502 Bad Gateway</body></html>",
        b'{"code":200,"msg":"success","data":{"taskId":"3e63',
        b'{"code":200} trailing',
        b"[1,2]",
        b'"text"',
        b"null",
        b'{"code":200,"data":NaN}',
        b'{"code":200,"data":-Infinity}',
        b'{"data":"\xff\xfe"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"code":' + b"9" * 5000 + b"}",
        b'{"data":"' + b"x" * MAX_ANSWER + b'"}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_envelope_when_body_is_no_answer_raises(body: bytes) -> None:
    with pytest.raises(NotAnAnswer):
        read_envelope(body)


def test_envelope_of_exactly_the_cap_is_read() -> None:
    frame = b'{"data":""}'
    assert read_envelope(b'{"data":"' + b"x" * (MAX_ANSWER - len(frame)) + b'"}').data


def test_not_an_answer_shows_its_beginning_without_secrets() -> None:
    with pytest.raises(NotAnAnswer) as caught:
        read_envelope(b"<html>\x1b[31mgo to https://x.test/login?token=SECRET now</html>")
    assert "https://x.test now" in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (200, 200),
        ("401", 401),
        (" 455 ", 455),
        (500.0, 500),
        (True, None),
        (None, None),
        ("OK", None),
        (2.5, None),
        (10**400, None),
        ([], None),
        ("9999999999", None),
    ],
)
def test_envelope_code(code: object, expected: int | None) -> None:
    assert read_envelope(json.dumps({"code": code}).encode()).code == expected


def test_envelope_message_is_scrubbed() -> None:
    assert read_envelope(b'{"msg":"see https://u:p@h.test/a/b?k=v\\u001b[0m"}').msg == "see https://h.test"
    assert read_envelope(b'{"msg":{"a":1}}').msg == ""


def test_envelope_with_byte_order_mark_is_read() -> None:
    assert read_envelope(b'\xef\xbb\xbf{"code":200}').code == 200


# ---------------------------------------------------------------------- the phase


@pytest.mark.parametrize(
    ("flag", "phase"),
    [
        ("SUCCESS", Phase.DONE),
        ("success", Phase.DONE),
        (" SUCCESS ", Phase.DONE),
        ("1", Phase.DONE),
        (1, Phase.DONE),
        (True, Phase.DONE),
        (3, Phase.FAILED),
        ("fail", Phase.FAILED),
        ("failed", Phase.FAILED),
        ("CREATE_TASK_FAILED", Phase.FAILED),
        ("GENERATE_WAV_FAILED", Phase.FAILED),
        ("SENSITIVE_WORD_ERROR", Phase.FAILED),
        ("CALLBACK_EXCEPTION", Phase.DONE),
        (0, Phase.PENDING),
        (2, Phase.PENDING),
        (False, Phase.PENDING),
        (1.5, Phase.PENDING),
        (10**400, Phase.PENDING),
        ("TEXT_SUCCESS", Phase.PENDING),
        ("FIRST_SUCCESS", Phase.PENDING),
        ("waiting", Phase.PENDING),
        ("queuing", Phase.PENDING),
        ("generating", Phase.PENDING),
        ("NEVER_HEARD_OF", Phase.PENDING),
        ("FAILOVER", Phase.PENDING),
        ("", Phase.PENDING),
        (None, Phase.PENDING),
        ({}, Phase.PENDING),
    ],
)
def test_flag_without_audio(flag: object, phase: Phase) -> None:
    assert record_of({"successFlag": flag}).phase is phase


@pytest.mark.parametrize("flag", ["CALLBACK_EXCEPTION", "callback_exception"])
def test_callback_exception_with_audio_is_done(flag: str) -> None:
    record = record_of({"successFlag": flag, "response": {"vocalUrl": "https://a.test/v.mp3"}})
    assert record.phase is Phase.DONE


@pytest.mark.parametrize("absent", [{}, {"successFlag": None}, {"successFlag": ""}, {"successFlag": "  "}])
def test_status_is_read_when_the_flag_is_absent(absent: dict[str, object]) -> None:
    assert record_of(absent | {"status": "SUCCESS"}).phase is Phase.DONE


def test_status_is_not_read_when_the_flag_is_there() -> None:
    assert record_of({"successFlag": "PENDING", "status": "SUCCESS"}).phase is Phase.PENDING


@pytest.mark.parametrize("data", [{}, [], "", "text", 0, False, 5916.25])
def test_data_that_is_no_record_is_pending(data: object) -> None:
    record = record_of(data)
    assert (record.phase, record.stems) == (Phase.PENDING, ())


# ---------------------------------------------------------------------- times, codes, durations


@pytest.mark.parametrize(
    "value",
    [
        1753782854000,
        1753782854,
        1753782854.0,
        "1753782854000",
        "1753782854",
        " 1753782854000 ",
        "2025-07-29T09:54:14.000Z",
        "2025-07-29T09:54:14+00:00",
        "2025-07-29T17:54:14+08:00",
        "2025-07-29T09:54:14",
        "2025-07-29 09:54:14",
    ],
)
def test_time_in_every_spelling_is_the_same_moment(value: object) -> None:
    record = record_of({"createTime": value, "completeTime": value})
    assert record.created_at == record.completed_at == SEPARATED
    assert record.created_at is not None
    assert record.created_at.utcoffset() == timedelta(0)


def test_time_without_zone_is_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "XYZ-8")
        time.tzset()
        record = record_of({"createTime": "2025-07-29 09:54:14"})
    time.tzset()
    assert record.created_at == SEPARATED


def test_time_keeps_its_milliseconds() -> None:
    assert record_of({"create_time": 1753782854123}).created_at == SEPARATED + timedelta(milliseconds=123)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "soon",
        True,
        0,
        -1,
        1,
        1e300,
        10**30,
        "9" * 39,
        "9" * 4000,
        [],
        {},
        "١٧٥٣٧٨٢٨٥٤",
        "1999-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        float("nan"),
        float("inf"),
    ],
)
def test_time_that_makes_no_sense_is_none(value: object) -> None:
    assert record_of({"createTime": value}).created_at is None


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (413, 413),
        ("531", 531),
        (500.0, 500),
        (0, None),
        ("0", None),
        (200, None),
        (None, None),
        (False, None),
        (10**30, None),
        ("many", None),
        (float("nan"), None),
    ],
)
def test_error_code(value: object, code: int | None) -> None:
    assert record_of({"errorCode": value}).error_code == code


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (194.92, 194.92),
        (3, 3.0),
        (0.5, 0.5),
        (0, None),
        (-1, None),
        (True, None),
        ("3", None),
        (None, None),
        (float("inf"), None),
        (float("nan"), None),
        (10**400, None),
    ],
)
def test_duration_is_finite_and_positive(value: object, seconds: float | None) -> None:
    item = {"audio_url": "https://a.test/x.mp3", "duration": value}
    (stem,) = record_of(response(originData=[item])).stems
    assert stem.duration == seconds


# ---------------------------------------------------------------------- which URLs are audio


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
        "ftp://a.test/x",
        "file:///etc/passwd",
        "//a.test/x",
        "a.test/x",
        "https://",
        "https:///x",
        "https://exa mple.test/x",
        "https://a.test:port/x",
        "https://a.test\\@b.test/x",
        "https://[::1/x",
        "javascript:alert(1)",
        "data:audio/mp3;base64,AAAA",
        "https://" + "a" * MAX_URL,
        "https://a.\ud800/x",
        "https://." + "ä" * 300 + "/x",
    ],
)
def test_value_that_is_no_url_is_left_out(value: object) -> None:
    assert record_of(response(vocalUrl=value, originData=[{"audio_url": value}, value])).stems == ()


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
    many = {f"k{number}Url": f"https://a.test/{number}" for number in range(MAX_STEMS + 1)}
    items = [{"audio_url": f"https://b.test/{number}"} for number in range(5 * MAX_STEMS)]
    assert len(record_of(response(**many)).stems) == MAX_STEMS
    assert len(record_of(response(originData=items)).stems) == MAX_STEMS
    assert record_of(response(**many, vocalUrl="https://a.test/v")).stems[0].name == "vocal"


# ---------------------------------------------------------------------- originData and its twins

ID = "3d7021c9-fa8b-4eda-91d1-3b9297ddb172"


def item(url: str, group: str = "", **more: object) -> dict[str, object]:
    return {"audio_url": url, "stem_type_group_name": group, **more}


def test_item_with_the_url_of_a_field_is_its_twin_and_tells_the_duration() -> None:
    twin = item("https://a.test/v.mp3", "Vocals", duration=9.5)
    (stem,) = record_of(response(vocalUrl="https://a.test/v.mp3", originData=[twin])).stems
    assert (stem.name, stem.duration) == ("vocal", 9.5)


def test_item_whose_id_stands_in_a_fields_file_name_is_its_twin() -> None:
    record = record_of(response(vocalUrl=f"https://a.test/s/{ID}_V.mp3", originData=[item("https://b.test/1", id=ID)]))
    assert [stem.name for stem in record.stems] == ["vocal"]


def test_item_whose_id_stands_only_in_a_fields_query_is_no_twin() -> None:
    record = record_of(response(vocalUrl=f"https://a.test/v.mp3?{ID}", originData=[item("https://b.test/1", id=ID)]))
    assert len(record.stems) == 2


def test_item_with_a_short_id_is_no_twin() -> None:
    record = record_of(response(vocalUrl="https://a.test/1_V.mp3", originData=[item("https://b.test/1", id=1)]))
    assert len(record.stems) == 2


def test_items_that_share_an_id_are_no_twins_of_the_field_that_has_it() -> None:
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


# ---------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("Lead Vocal", "lead_vocal"),
        ("LeadVocal", "lead_vocal"),
        ("808", "808"),
        ("FX", "fx"),
        ("  Drum -- Kit!! ", "drum_kit"),
        ("Éclat", "eclat"),
        ("人声", "stem"),
        ("", "stem"),
        ("../../etc/passwd", "etc_passwd"),
        ("manifest", "stem_manifest"),
        ("Manifest", "stem_manifest"),
        ("a\x00\x1b[31mb\r\n", "ab"),
        ("x" * 100, "x" * MAX_NAME),
    ],
)
def test_name_of_a_group(group: str, name: str) -> None:
    (stem,) = record_of(response(originData=[item("https://b.test/1", group)])).stems
    assert stem.name == name


def test_role_survives_in_the_longest_name() -> None:
    roles = {"extract": item("https://b.test/1", "x" * 100), "remove": item("https://b.test/2", "x" * 100)}
    names = [stem.name for stem in record_of(response(originData=[roles])).stems]
    assert names == ["x" * MAX_NAME, "x" * (MAX_NAME - 8) + "_removed"]


def test_item_named_like_a_field_leaves_it_the_plain_name() -> None:
    record = record_of(response(synthUrl="https://a.test/1", originData=[item("https://b.test/1", "Synth", id=ID)]))
    assert urls(record) == {"synth": "https://a.test/1", "synth_3d7021c9": "https://b.test/1"}


def test_items_of_one_name_are_told_apart_by_id_else_by_the_hash_of_the_shown_url() -> None:
    both = [item("https://b.test/1?sig=A", "Choir", id=ID), item("https://b.test/2?sig=A", "Choir")]
    again = [item("https://b.test/2?sig=B", "Choir"), item("https://b.test/1?sig=B", "Choir", id=ID)]
    first, second = record_of(response(originData=both)), record_of(response(originData=again))
    assert urls(first).keys() == urls(second).keys() == {"choir_3d7021c9", "choir_f0c2bc15"}
    assert urls(second)["choir_3d7021c9"] == "https://b.test/1?sig=B"


def test_items_of_one_name_and_one_id_are_still_told_apart_in_any_order() -> None:
    both = [item("https://b.test/1", "Choir", id=ID), item("https://b.test/2", "Choir", id=ID)]
    first, second = record_of(response(originData=both)), record_of(response(originData=both[::-1]))
    assert urls(first) == urls(second)
    assert len(urls(first)) == 2


def test_item_named_like_a_field_waits_with_its_plain_name_until_the_record_is_settled() -> None:
    data = response(originData=[item("https://b.test/1", "Synth", id=ID)])
    assert urls(record_of(data | {"successFlag": "PENDING"})).keys() == {"synth_3d7021c9"}
    assert urls(record_of(data)).keys() == {"synth"}


def test_names_do_not_depend_on_the_order_of_fields() -> None:
    fields = {"vocalUrl": "https://a.test/1", "vocal_url": "https://a.test/2", "drumsUrl": "https://a.test/3"}
    backwards = dict(reversed(fields.items()))
    assert record_of(response(**fields)).stems == record_of(response(**backwards)).stems
    assert len(urls(record_of(response(**fields)))) == 3


def test_field_is_fit_for_logs() -> None:
    key = "\x1b]0;gotcha\x07a b\u202e/../\nhttps://x.test/?t=SECRETUrl"
    (stem,) = record_of(response(**{key: "https://a.test/1"})).stems
    assert "SECRET" not in stem.field + stem.name
    assert stem.field.isascii()
    assert stem.field.isprintable()


# ---------------------------------------------------------------------- URLs


@pytest.mark.parametrize(
    ("raw", "url"),
    [
        ("https://a.test/Lead Vocal.mp3", "https://a.test/Lead%20Vocal.mp3"),
        ("https://a.test/Lead%20Vocal.mp3", "https://a.test/Lead%20Vocal.mp3"),
        ("https://a.test/100%.mp3", "https://a.test/100%25.mp3"),
        ("https://a.test/%zz%4", "https://a.test/%25zz%254"),
        ("https://a.test/ä/人.mp3", "https://a.test/%C3%A4/%E4%BA%BA.mp3"),
        ("https://a.test/\ud800", "https://a.test/%ED%A0%80"),
        ("https://a.test/a\r\nHost: b.test", "https://a.test/a%0D%0AHost:%20b.test"),
        ("https://a.test/\x00\x7f", "https://a.test/%00%7F"),
        ("\r\n\t https://a.test/x \n", "https://a.test/x"),
        ("https://a.test/x?sig=a+b%2Bc&e=1#frag", "https://a.test/x?sig=a+b%2Bc&e=1"),
        ("HTTPS://A.test/X", "https://A.test/X"),
        ("http://a.test:8080", "http://a.test:8080"),
        ("https://[2001:db8::1]:443/x", "https://[2001:db8::1]:443/x"),
        ("https://u:p@a.test/x", "https://u:p@a.test/x"),
        ("https://exämple.test/x", "https://xn--exmple-cua.test/x"),
        ("https://127\u30020\u30020\u30021/x", "https://127.0.0.1/x"),
    ],
)
def test_url_is_encoded_exactly_once(raw: str, url: str) -> None:
    assert usable_url(raw) == url
    assert usable_url(url) == url


def test_url_of_exactly_the_cap_is_usable() -> None:
    base = "https://a.test/"
    longest = base + "x" * (MAX_URL - len(base))
    assert usable_url(longest) == longest
    assert usable_url(longest + "x") is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.test/x.mp3?sig=SECRET#SECRET", "https://a.test/x.mp3"),
        ("https://SECRET:SECRET@a.test:8443/x", "https://a.test:8443/x"),
        ("https://a.test/Lead Vocal.mp3?x=SECRET ok", "https://a.test/Lead%20Vocal.mp3"),
        ("https://a.test#SECRET", "https://a.test"),
        ("https://a.test/file/bot123456:AA-SECRET_x/f.mp3", "https://a.test/file/bot/f.mp3"),
        ("https://a.test/bot123456%3ASECRET/f.mp3", "https://a.test/bot/f.mp3"),
        ("https://a.test/p/https://u:SECRET@b.test/y", "https://a.test/p/https://b.test/y"),
        ("https://exämple.test/x", "https://xn--exmple-cua.test/x"),
        ("ftp://u:SECRET@a.test/x?SECRET", "ftp://a.test/x"),
        ("a.test/x?sig=SECRET", "a.test/x"),
        ("nonsense", "nonsense"),
        ("", ""),
    ],
)
def test_shown_url_holds_no_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown


# ---------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("Internal Error - Please try again later.", "Internal Error - Please try again later."),
        ("音频生成失败", "音频生成失败"),
        ("fetch https://api.telegram.org/file/bot1:SECRET/a.oga failed", "fetch https://api.telegram.org failed"),
        ("at https://u:SECRET@a.test:8080/p?q=SECRET, then", "at https://a.test:8080 then"),
        (r"at https:\/\/a.test\/SECRET?x", "at https://a.test"),
        ("at https%3A%2F%2Fa.test%2FSECRET", "at https://a.test"),
        ("at s3://a-bucket/SECRET", "at s3://a-bucket"),
        ("call a.test/cb?token=SECRET failed", "call a.test/cb failed"),
        ("call api.telegram.org/bot123:SECRET-x/y", "call api.telegram.org/bot/y"),
        ("ht\u200btps://a.test/SECRET", "https://a.test"),
        ("https://a.test/?x=\x1b[31mSECRET", "https://a.test"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07and\x9b1mbold\x1bc", "red andbold"),
        ("\x1b]8;;mailto:a\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]8;;https://a.test/SECRET\x1b\\link\x1b]8;;\x1b\\ seen", ""),
        ("see \x1b s3://a.test/SECRET", "see 3://a.test"),
        ("see https\x1b://a.test/SECRET", "see https//a.test"),
        ("a\r\nb\tc\x00d\x08\x7f", "a b cd"),
        ("\u202egpj.exe\u2066\ufeff\ud800", "gpj.exe"),
        ("  ", ""),
    ],
)
def test_scrub(text: str, scrubbed: str) -> None:
    assert scrub(text) == scrubbed


def test_scrub_caps_the_length() -> None:
    assert scrub("x" * 10_000) == "x" * MAX_TEXT


@pytest.mark.parametrize("piece", ["a", "?", "?=", "\x1b[", "\x1b]", "\x9d", "a://", "bot1", "@", "\\", " ", "%3A"])
def test_scrub_takes_linear_time(piece: str) -> None:
    scrub(piece * (1 << 16))


def test_error_message_is_scrubbed() -> None:
    record = record_of({"errorMessage": "cannot read https://a.test/bot1:SECRET/x\x1b[2J"})
    assert record.error_message == "cannot read https://a.test"


# ---------------------------------------------------------------------- the document


def test_document_is_the_record_as_it_came() -> None:
    data = EXAMPLES["success_separate_vocal"]["body"]["data"]
    expected = data | {"callbackUrl": "https://example.com"}
    assert json.loads(document_of(data)) == expected
    assert list(json.loads(document_of(data))) == list(data)


def test_document_of_an_absent_record_is_empty() -> None:
    assert record_of(None).document == ""


@pytest.mark.parametrize(
    ("data", "document"),
    [
        ({"vocalUrl": "https://a.test/x?sig=SECRET"}, {"vocalUrl": "https://a.test/x"}),
        ({"vocalUrl": "a.test/x?sig=SECRET"}, {"vocalUrl": "a.test/x"}),
        ({"callbackUrl": "https://u:SECRET@a.test/SECRET?x"}, {"callbackUrl": "https://a.test"}),
        ({"callBackUrl": "a.test/cb?SECRET"}, {"callBackUrl": "a.test/cb"}),
        ({"resultUrls": ["https://a.test/a b?SECRET"]}, {"resultUrls": ["https://a.test/a%20b"]}),
        ({"x": ["https://a.test/y?SECRET#SECRET"]}, {"x": ["https://a.test/y"]}),
        ({"x": "see https://a.test/SECRET and go"}, {"x": "see https://a.test and go"}),
        ({"errorMessage": "see https://a.test/SECRET\x1b[0m"}, {"errorMessage": "see https://a.test"}),
        ({"https://a.test/?SECRET": 1}, {"https://a.test": 1}),
        (
            {"param": '{"callBackUrl":"https:\\/\\/a.test\\/SECRET","n":1}'},
            {"param": '{"callBackUrl": "https://a.test", "n": 1}'},
        ),
        ({"param": '{"url":"https://a.test/?SECRET","url":1}'}, {"param": '{"url": 1}'}),
        ({"x": "https://a.test/a b?SECRET"}, {"x": "https://a.test/a%20b"}),
        ({"x": "\x1bX https://a.test/?SECRET"}, {"x": ""}),
        ({"x": "ht\u200btps://a.test/?SECRET"}, {"x": "https://a.test"}),
        ({"text": "[Verse]\nWho? Me\u2028\x00"}, {"text": "[Verse]\nWho? Me\u2028\x00"}),
        ([1, 2.5, True, None, "ä", "\ud800"], [1, 2.5, True, None, "ä", "\ud800"]),
        ([float("nan"), float("inf"), 10**5000], [None, None, None]),
    ],
)
def test_document_holds_no_secret_and_all_else(data: object, document: object) -> None:
    text = document_of(data)
    assert json.loads(text) == document
    assert "SECRET" not in text
    assert text.isascii()


def test_document_of_absurd_nesting_ends() -> None:
    deep: object = "https://a.test/?SECRET"
    for _ in range(100_000):
        deep = [deep]
    assert "SECRET" not in record_of({"response": deep}).document
    text = "é" * 1000
    for _ in range(14):
        text = json.dumps([text], ensure_ascii=False)
    assert len(document_of(text)) < 20 * len(text)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://CDN.example.com/a.mp3?x=1", "cdn.example.com"),
        ("https://user:pw@cdn.example.com:8443/a.mp3", "cdn.example.com:8443"),
        ("http://[2001:DB8::1]:80/", "[2001:db8::1]:80"),
        ("not a url", ""),
        ("", ""),
    ],
)
def test_host_of_a_url_is_in_lower_case_with_its_port_and_no_password(url: str, host: str) -> None:
    assert host_of(url) == host
