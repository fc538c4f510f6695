"""Records of the emulated provider's kinds without audio: texts, MIDI, pictures and films.

Bodies follow the provider's docs: integers of several meanings, ISO times, a code 200 that is no error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from archiver.core.records.document import document_of
from archiver.core.records.kinds.names import KindName
from archiver.core.written import written
from archiver.demo.audio import Audio
from archiver.demo.pictures import film, picture
from archiver.demo.records import (
    CALLBACK_URL,
    EmulatedTask,
    audio_id,
    completed_at,
    created_at,
    error_of,
    has_failed,
    has_urls,
    is_done,
    milliseconds,
    music_of,
    path_of,
    without_zone,
)

LYRICS: Final = (
    "Four chords are all I know\nand all I need to go",
    "One is home, and four is far\nfive is where we are",
)
NOTES: Final = {
    "state": "complete",
    "instruments": [
        {
            "name": "Piano",
            "notes": [{"pitch": 57 + at, "start": at / 2, "end": at, "velocity": 0.8} for at in (1, 3, 5)],
        }
    ],
}
_GIVEN_PICTURE: Final = "https://example.com/mine.png?secret=emulated-input-secret"

NAMES_OF_OTHERS: Final[Mapping[KindName, Sequence[str]]] = {
    KindName.MP4: ("video",),
    KindName.COVER: ("image-01", "image-02"),
    KindName.VEO: ("result-01", "origin-01"),
    KindName.RUNWAY: ("video", "image"),
    KindName.ALEPH: ("result_video", "result_image"),
    KindName.IMAGE_4O: ("result-01",),
    KindName.FLUX: ("result_image",),
}
"""The names that the files of a task have in the archive, in the order of its `stems`."""


def files_of_others() -> Mapping[KindName, Mapping[str, Audio]]:
    """Return the files of a task of each kind that makes no audio; what stands in its record is no file of these."""
    pictures = {f"picture {number}": picture(shade=60 * number) for number in (1, 2)}
    one = {"picture": picture()}
    clip = {"film": film(picture())}
    return {
        KindName.MP4: clip,
        KindName.MIDI: {},
        KindName.COVER: pictures,
        KindName.LYRICS: {},
        KindName.VEO: {"film": film(picture(shade=90)), "film before": film(picture(shade=120))},
        KindName.RUNWAY: clip | one,
        KindName.ALEPH: clip | one,
        KindName.IMAGE_4O: one,
        KindName.FLUX: one,
    }


def written_of(task: EmulatedTask) -> Mapping[str, bytes]:
    """Return the files, by their names in the archive, that stand in the task's record itself."""
    match task.of:
        case KindName.MIDI:
            forms = (("midi.json", "json"), ("midi_file.mid", "mid"))
            return {name: written(document_of(NOTES), form).data for name, form in forms}
        case KindName.LYRICS:
            return {f"lyrics-{at:02}.txt": text.encode() for at, text in enumerate(LYRICS, 1)}
        case _:
            return {}


def _urls(task: EmulatedTask, cdn_url: str) -> Sequence[str]:
    return [f"{cdn_url}{path_of(task, stem)}" for stem in task.stems or ()] if has_urls(task) else []


def _number(task: EmulatedTask) -> int:
    return 1 if is_done(task) else 3 if has_failed(task) else 0


def _mp4(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    urls, ended = _urls(task, cdn_url), is_done(task) or has_failed(task)
    return {
        "taskId": task.task_id,
        "musicId": str(music_of(task)),
        "callbackUrl": CALLBACK_URL,
        "musicIndex": 0,
        "completeTime": without_zone(completed_at(task)) if ended else None,
        "response": {"videoUrl": urls[0]} if urls else None,
        "successFlag": "SUCCESS" if is_done(task) else "GENERATE_MP4_FAILED" if has_failed(task) else "PENDING",
        "createTime": without_zone(created_at(task)),
        **error_of(task),
    }


def _midi(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    del cdn_url
    return {
        "taskId": task.task_id,
        "recordTaskId": -1,
        "audioId": str(music_of(task)),
        "callbackUrl": CALLBACK_URL,
        "completeTime": milliseconds(completed_at(task)) if _number(task) else None,
        "midiData": NOTES if has_urls(task) else None,
        "successFlag": _number(task),
        "createTime": milliseconds(created_at(task)),
        **error_of(task),
    }


def _lyrics(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    del cdn_url
    said = [{"text": text, "title": "Four Chords", "status": "complete", "errorMessage": ""} for text in LYRICS]
    flag = "SUCCESS" if is_done(task) else "GENERATE_LYRICS_FAILED" if has_failed(task) else "PENDING"
    return {
        "taskId": task.task_id,
        "param": json.dumps({"prompt": "a song of four chords"}),
        "response": {"taskId": task.task_id, "data": said} if has_urls(task) else None,
        "status": flag,
        "type": "LYRICS",
        **error_of(task),
    }


def _cover(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    return {
        "taskId": task.task_id,
        "parentTaskId": "demo-music",
        "callbackUrl": CALLBACK_URL,
        "completeTime": f"{completed_at(task):%Y-%m-%dT%H:%M:%S.000Z}" if _number(task) else None,
        "response": {"images": _urls(task, cdn_url)},
        "successFlag": _number(task),
        "createTime": f"{created_at(task):%Y-%m-%dT%H:%M:%S.000Z}",
        "errorCode": 500 if has_failed(task) else 200,
        "errorMessage": "upstream error" if has_failed(task) else "",
    }


def _made(task: EmulatedTask, response: Mapping[str, object]) -> dict[str, object]:
    """Return a record as the kinds of pictures and films have it; the user's own picture is in it again."""
    return {
        "taskId": task.task_id,
        "paramJson": json.dumps({"prompt": "four chords", "imageUrls": [_GIVEN_PICTURE], "callBackUrl": CALLBACK_URL}),
        "completeTime": milliseconds(completed_at(task)) if _number(task) else None,
        "response": {"taskId": task.task_id, **response} if has_urls(task) else None,
        "successFlag": _number(task),
        "createTime": milliseconds(created_at(task)),
        **error_of(task),
    }


def _veo(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    urls = _urls(task, cdn_url)
    return _made(task, {"resultUrls": urls[:1], "originUrls": urls[1:], "resolution": "1080p"}) | {
        "fallbackFlag": False
    }


def _image_4o(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    return _made(task, {"resultUrls": _urls(task, cdn_url)}) | {"progress": "1.00"}


def _aleph(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    return _made(task, dict(zip(("resultVideoUrl", "resultImageUrl"), _urls(task, cdn_url), strict=False)))


def _flux(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    found = dict(zip(("resultImageUrl",), _urls(task, cdn_url), strict=False))
    return _made(task, {"originImageUrl": _GIVEN_PICTURE, **found})


def _runway(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    video = {"videoId": audio_id(task, "film").hex, "taskId": task.task_id}
    urls = dict(zip(("videoUrl", "imageUrl"), _urls(task, cdn_url), strict=False))
    return {
        "taskId": task.task_id,
        "generateParam": {"prompt": "four chords", "imageUrl": _GIVEN_PICTURE},
        "state": "success" if is_done(task) else "fail" if has_failed(task) else "generating",
        "generateTime": f"{completed_at(task):%Y-%m-%d %H:%M:%S}" if is_done(task) else "",
        "videoInfo": {**video, **urls} if urls else None,
        "failCode": 500 if has_failed(task) else 0,
        "failMsg": "upstream error" if has_failed(task) else "",
    }


DATA_OF_OTHERS: Final[Mapping[KindName, Callable[[EmulatedTask, str], dict[str, object]]]] = {
    KindName.MP4: _mp4,
    KindName.MIDI: _midi,
    KindName.LYRICS: _lyrics,
    KindName.COVER: _cover,
    KindName.VEO: _veo,
    KindName.RUNWAY: _runway,
    KindName.ALEPH: _aleph,
    KindName.IMAGE_4O: _image_4o,
    KindName.FLUX: _flux,
}
