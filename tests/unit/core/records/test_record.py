"""What each kind of answer is read as; the bodies are those of the provider's docs and public recordings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from archiver.core.model import Phase, RecordInfo
from archiver.core.records.envelope import read_envelope
from archiver.core.records.record import record_of
from tests.unit.core.records.readers import EXAMPLES, SEPARATED

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


def test_examples_are_all_read() -> None:
    assert READINGS.keys() | NO_JSON == EXAMPLES.keys()


@pytest.mark.parametrize("name", READINGS)
def test_example_is_read_as_expected(name: str) -> None:
    record = record_of(read_envelope(body_of(name)).data)
    assert reading_of(record) == READINGS[name]
    assert all(stem.known for stem in record.stems)


@pytest.mark.parametrize(("name", "code"), NO_DATA.items())
def test_envelope_keeps_code_and_message_for_the_caller_to_judge(name: str, code: int) -> None:
    envelope = read_envelope(body_of(name))
    assert (envelope.code, envelope.data) == (code, None)
    assert envelope.msg == EXAMPLES[name]["body"]["msg"]


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
        ("FAILOVER", Phase.FAILED),
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


def test_error_message_is_scrubbed() -> None:
    record = record_of({"errorMessage": "cannot read https://a.test/bot1:SECRET/x\x1b[2J"})
    assert record.error_message == "cannot read https://a.test"


@pytest.mark.parametrize("sign", ["&amp;", "&AMP;"])
def test_address_as_html_writes_it_is_asked_for_as_it_stands_and_then_unescaped(sign: str) -> None:
    url = f"https://cdn.example/vocal.mp3?id=1{sign}sig=2"
    [stem] = record_of({"successFlag": "SUCCESS", "response": {"vocalUrl": url}}).stems
    assert (stem.url, stem.fallback) == (url, "https://cdn.example/vocal.mp3?id=1&sig=2")
    [plain] = record_of({"successFlag": "SUCCESS", "response": {"vocalUrl": stem.fallback}}).stems
    assert plain.fallback == ""
