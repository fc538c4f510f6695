"""Which callbacks are taken for the provider's own."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.callback import is_genuine, read, signature_of
from archiver.core.model import TaskId
from archiver.core.records.kinds.names import KindName

KEY = "whk_test_0123456789abcdef"
VECTORS = [
    ("3e63b4cc88d52611159371f6af5571e7", "1753782937", "f+oG5Xc+VOiXQT+XvPt/pgI2/km3L0i6hwVFxPcBx+s="),
    ("e649edb7abfd759285bd41a47a634b10", "1753782459", "xWfF5o+Y6R+SwvpVJaKBhNygbs0Vo99NpluRKlybpOw="),
]
TASK, STAMP, SIGNATURE = VECTORS[0]
THEN = datetime.fromtimestamp(int(STAMP), UTC)


def genuine(*, task: str = TASK, stamp: str = STAMP, signature: str = SIGNATURE, now: datetime = THEN) -> bool:
    return is_genuine(KEY, TaskId(task), timestamp=stamp, signature=signature, now=now)


@pytest.mark.parametrize(("task", "stamp", "signature"), VECTORS)
def test_signature_is_that_of_the_known_vectors(task: str, stamp: str, signature: str) -> None:
    assert signature_of(KEY, TaskId(task), stamp) == signature
    assert genuine(task=task, stamp=stamp, signature=signature, now=datetime.fromtimestamp(int(stamp), UTC))


def test_signature_of_another_task_time_or_key_is_not_genuine() -> None:
    assert not genuine(task=VECTORS[1][0])
    assert not genuine(stamp=str(int(STAMP) + 1))
    assert not genuine(signature=VECTORS[1][2])
    assert not is_genuine("another", TaskId(TASK), timestamp=STAMP, signature=SIGNATURE, now=THEN)


@pytest.mark.parametrize("signature", ["", SIGNATURE[:-1], SIGNATURE + "=", SIGNATURE.lower(), "é", "\ud800"])
def test_signature_that_is_not_exactly_the_one_is_not_genuine(signature: str) -> None:
    assert not genuine(signature=signature)


def test_nothing_is_genuine_without_a_key_not_even_what_is_signed_by_none() -> None:
    forged = signature_of("", TaskId(TASK), STAMP)
    assert not is_genuine("", TaskId(TASK), timestamp=STAMP, signature=forged, now=THEN)


def test_signature_is_genuine_for_five_minutes_either_way() -> None:
    for seconds in (-300, 300):
        assert genuine(now=THEN + timedelta(seconds=seconds))
    for seconds in (-301, 301):
        assert not genuine(now=THEN + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "stamp", ["", " 1753782937", "1753782937\n", "+1753782937", "1753782937.0", "\uff11", "9" * 5000]
)
def test_timestamp_that_is_no_number_of_seconds_is_not_genuine_even_if_signed(stamp: str) -> None:
    signature = signature_of(KEY, TaskId(TASK), stamp) if stamp.isascii() else SIGNATURE
    assert not genuine(stamp=stamp, signature=signature)


def _of(data: object, **beside: object) -> dict[str, object]:
    return {"code": 200, "msg": "success", **beside, "data": data}


TRACK = {"id": "11111111-2222", "audio_url": "", "stream_audio_url": "https://evil.example/", "title": "Harbour"}
TEXT = {"text": "[Verse]", "title": "Harbour", "status": "complete", "errorMessage": ""}
JOB = {"taskId": TASK, "model": "ai-music-api/convert-to-wav-format", "state": "success", "param": "{}"}
SHAPES = [
    (_of({"task_id": TASK, "vocal_separation_info": {"vocal_url": "https://evil.example/"}}), KindName.SEPARATION),
    (_of({"task_id": TASK, "vocal_removal_info": {"origin_data": [{"extract": {}}]}}), KindName.SEPARATION),
    (_of({"taskId": TASK, "vocalRemovalInfo": None}), KindName.SEPARATION),
    (
        _of({"task_id": TASK, "vocal_separation_info": None}, code=500, msg="Vocal separation failed"),
        KindName.SEPARATION,
    ),
    (_of({"callbackType": "text", "task_id": TASK, "data": [TRACK]}), KindName.MUSIC),
    (_of({"callbackType": "first", "task_id": TASK, "data": [TRACK, TRACK]}), KindName.MUSIC),
    (_of({"callbackType": "complete", "task_id": TASK, "data": [TRACK, TRACK]}), KindName.MUSIC),
    (_of({"callbackType": "error", "task_id": TASK, "data": None}, code=531), None),
    (_of({"callbackType": "complete", "taskId": TASK, "data": [TEXT]}), KindName.LYRICS),
    (_of({"task_id": TASK, "audio_wav_url": "https://evil.example/"}), KindName.WAV),
    (_of({"taskId": TASK, "audioWavUrl": ""}), KindName.WAV),
    (_of({"task_id": TASK, "video_url": "https://evil.example/"}), KindName.MP4),
    (_of({"state": "complete", "instruments": [{"name": "Drums", "notes": []}]}, task_id=TASK), KindName.MIDI),
    (_of({"taskId": TASK, "images": ["https://evil.example/"]}), KindName.COVER),
    (_of({**JOB, "resultJson": '{"resultUrls":["https://evil.example/"]}', "failCode": None}), KindName.JOBS),
    (_of({**JOB, "state": "fail", "resultJson": "", "failCode": "500"}), KindName.JOBS),
    (_of({"taskId": TASK}), None),
    ({"taskId": TASK, "data": None}, None),
    ({"taskId": TASK, "data": ["images"]}, None),
]


@pytest.mark.parametrize(("document", "kind"), SHAPES)
def test_task_is_found_in_every_shape_of_callback_and_the_kind_that_it_looks_like(
    document: object, kind: KindName | None
) -> None:
    assert read(json.dumps(document).encode()) == (TASK, kind)


@given(
    st.recursive(
        st.none() | st.text(max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["data", "state", "param", "images", "callbackType", "id"]), inner)
        ),
        max_leaves=9,
    )
)
def test_body_of_any_shape_around_a_task_is_read_without_a_fault(data: object) -> None:
    assert read(json.dumps({"taskId": TASK, "data": data}).encode()).task_id == TASK


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"3e63b4cc88d52611159371f6af5571e7"',
        b'{"data": {}}',
        b'{"data": {"task_id": 7}}',
        b'{"data": {"task_id": "../../etc"}}',
        b'{"taskId": "3e63b4cc88d52611159371f6af5571e7", "data": {"task_id": "e649edb7abfd759285bd41a47a634b10"}}',
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"data": {"task_id": ' + b"9" * 5000 + b"}}",
    ],
)
def test_body_that_names_no_task_is_refused_without_an_echo(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(broken )?JSON"):
        read(body)
