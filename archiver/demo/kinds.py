"""Records of the emulated provider's other kinds: market jobs, music, WAV; `others` has those without audio.

Bodies and oddities follow the provider's docs and recordings of its traffic: JSON inside a string, inputs that the
record repeats, two tracks of one title, streams that give nothing, times without a zone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from archiver.core.records.kinds.names import AUTO, KindName
from archiver.demo.others import DATA_OF_OTHERS, NAMES_OF_OTHERS
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
    record_data,
    without_zone,
)

TITLE: Final = "Four Chords"
_INPUT_URL: Final = "https://example.com/mine.mp3?secret=emulated-input-secret"
"""Every job repeats it; it is no result, and its query must never be written down."""


def data_of(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    """Return the `data` of the task's record, by its kind; the URLs are on `cdn_url`."""
    return _DATA[task.of](task, cdn_url)


def line_of(task: EmulatedTask) -> str:
    """Return the line of a queue file that names the task, and its kind where nobody would find it."""
    return task.task_id if task.of in AUTO else f"{task.task_id} kind={task.of}"


def names_of(task: EmulatedTask) -> Mapping[str, str]:
    """Return the name that each file has in the archive, by that of its audio."""
    stems = task.stems or {}
    match task.of:
        case KindName.MUSIC:
            return {stem: f"{at:02}-{audio_id(task, stem).hex[:8]}" for at, stem in enumerate(stems, 1)}
        case KindName.WAV:
            return dict.fromkeys(stems, "audio_wav")
        case _:
            return dict(zip(stems, NAMES_OF_OTHERS.get(task.of, stems), strict=False))


def _job(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    result = {f"{stem}_url": f"{cdn_url}{path_of(task, stem)}" for stem in task.stems or ()} if has_urls(task) else {}
    given = {"type": "separate_vocal", "task_id": music_of(task).hex, "audio_url": _INPUT_URL}
    model = "ai-music-api/separate-vocals"
    done, failed = is_done(task), has_failed(task)
    ended = milliseconds(completed_at(task)) if done or failed else None
    return {
        "taskId": task.task_id,
        "model": model,
        "state": "success" if done else "fail" if failed else "generating",
        "param": json.dumps({"model": model, "input": json.dumps(given)}),
        "resultJson": json.dumps(result) if done else "",
        "response": result if done else None,
        "failCode": "500" if failed else None,
        "failMsg": "upstream error" if failed else None,
        "costTime": int(task.ready_after.total_seconds()) if done else None,
        "completeTime": ended,
        "createTime": milliseconds(created_at(task)),
        "updateTime": ended,
    }


def _music(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    flag = {True: "SUCCESS", False: "TEXT_SUCCESS"}[is_done(task)]
    return {
        "taskId": task.task_id,
        "parentMusicId": "",
        "param": json.dumps({"prompt": "four chords", "title": TITLE, "model": "V5"}),
        "response": {"taskId": task.task_id, "sunoData": [_track(task, stem, cdn_url) for stem in task.stems or ()]},
        "status": "GENERATE_AUDIO_FAILED" if has_failed(task) else flag,
        "type": "GENERATE",
        "operationType": "generate",
        **error_of(task),
    }


def _track(task: EmulatedTask, stem: str, cdn_url: str) -> dict[str, object]:
    url = f"{cdn_url}{path_of(task, stem)}" if has_urls(task) else ""
    return {
        "id": str(audio_id(task, stem)),
        "audioUrl": url,
        "sourceAudioUrl": url,
        "streamAudioUrl": f"{cdn_url}/stream/{audio_id(task, stem).hex}",
        "imageUrl": "",
        "prompt": "",  # instrumental: it has no words
        "modelName": "emulated",
        "title": TITLE,
        "tags": "chords, calm",
        "createTime": milliseconds(created_at(task)),
        "duration": task.duration if url else None,
    }


def _wav(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    urls = [f"{cdn_url}{path_of(task, stem)}" for stem in task.stems or ()]
    done, failed = is_done(task), has_failed(task)
    return {
        "taskId": task.task_id,
        "musicId": str(music_of(task)),
        "callbackUrl": CALLBACK_URL,
        "musicIndex": 0,
        "completeTime": without_zone(completed_at(task)) if done or failed else None,
        "response": {"audioWavUrl": urls[0] if urls else None} if has_urls(task) else None,
        "successFlag": "SUCCESS" if done else "GENERATE_WAV_FAILED" if failed else "PENDING",
        "createTime": without_zone(created_at(task)),
        **error_of(task),
    }


_DATA: Final[Mapping[KindName, Callable[[EmulatedTask, str], dict[str, object]]]] = {
    KindName.SEPARATION: record_data,
    KindName.JOBS: _job,
    KindName.MUSIC: _music,
    KindName.WAV: _wav,
    **DATA_OF_OTHERS,
}
KINDS_EMULATED: Final = frozenset(_DATA)
