"""Records of the emulated provider: its tasks, and what record-info says about them.

Bodies and oddities follow the provider's docs and recordings of its traffic: millisecond epochs, null stems. Our own
choices, where nobody has recorded any, say so.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from archiver.core.records.kinds.names import KindName
from archiver.demo.audio import Audio

Kind = Literal["separate_vocal", "split_stem", "split_stem_advanced"]

Answers = Literal[
    "success",
    "success_without_urls",
    "pending",
    "pending_with_error",
    "create_failed",
    "failed",
    "callback_exception",
    "callback_exception_without_urls",
]
"""The answer of record-info once the task is ready; `failed` is GENERATE_AUDIO_FAILED."""

Seconds = float

CALLBACK_URL = "https://example.com/callback?secret=emulated-callback-secret"
"""Every record echoes it; its query must never be written down by whoever reads the record."""

FLAT_STEMS = (
    "instrumental",
    "vocal",
    "backing_vocals",
    "drums",
    "bass",
    "guitar",
    "piano",
    "keyboard",
    "percussion",
    "strings",
    "synth",
    "fx",
    "brass",
    "woodwinds",
)
"""Every stem with a `…Url` field of its own, in the order of the docs' examples."""

STEMS_OF: Mapping[Kind, tuple[str, ...]] = {
    "separate_vocal": ("instrumental", "vocal"),
    "split_stem": tuple(name for name in FLAT_STEMS if name not in {"instrumental", "piano"}),
    "split_stem_advanced": ("vocal", "instrumental"),
}

_FLAGS: Mapping[Answers, tuple[str, int | None, str | None]] = {
    "success": ("SUCCESS", None, None),
    "success_without_urls": ("SUCCESS", None, None),
    "pending": ("PENDING", None, None),
    "pending_with_error": ("PENDING", 413, "Uploaded audio matches existing work of art"),
    "create_failed": ("CREATE_TASK_FAILED", 500, "Internal Error - Please try again later."),
    "failed": ("GENERATE_AUDIO_FAILED", 500, "Internal Error - Please try again later."),
    "callback_exception": ("CALLBACK_EXCEPTION", None, None),
    "callback_exception_without_urls": ("CALLBACK_EXCEPTION", 500, "Callback process error"),
}

_LABELS = {"vocal": "Vocals", "fx": "FX"}
_PARTLY_LISTED = {"keyboard", "percussion", "strings", "synth"}
"""In the docs' example of split_stem, originData lists only these."""


@dataclass(frozen=True, kw_only=True)
class EmulatedTask:
    """One task, and how the provider will answer about it."""

    task_id: str
    of: KindName = KindName.SEPARATION
    """The kind that its record is of; to the others its id is unknown."""
    kind: Kind = "separate_vocal"
    answers: Answers = "success"
    created_at: datetime | None = None
    """None: when the task is added."""
    ready_after: timedelta = timedelta()
    """PENDING until so long after created_at, which is also when it counts as completed."""
    pending_asks: int = 0
    """PENDING for the first so many asks."""
    stems: Mapping[str, Audio] | None = None
    """Audio by stem; None: the stems of its kind, with the emulator's audio. `origin` is the source mix.

    What is called `picture…` or `film…` is one.
    """
    duration: Seconds = 245.6
    """As the record claims."""
    link_status: int | None = None
    """The CDN's answer to the record's own links in place of the audio; links of download-url work."""
    api_key: str | None = None
    """Of the account that made it, to others it is unknown (not recorded); None: known to all."""


def record_data(task: EmulatedTask, cdn_url: str) -> dict[str, object]:
    """Return the `data` of record-info; the stems' URLs are on `cdn_url`."""
    flag, code, message = _FLAGS[task.answers]
    pending = task.answers in {"pending", "pending_with_error"}
    return {
        "taskId": task.task_id,
        "musicId": str(uuid.uuid5(uuid.NAMESPACE_URL, task.task_id)),
        "callbackUrl": CALLBACK_URL,
        "musicIndex": 0,
        "completeTime": None if pending else milliseconds(completed_at(task)),
        "response": _response(task, cdn_url),
        "successFlag": flag,
        "createTime": milliseconds(created_at(task)),
        "errorCode": code,
        "errorMessage": message,
    }


def _response(task: EmulatedTask, cdn_url: str) -> dict[str, object] | None:
    if task.answers == "success_without_urls":
        stems: Iterable[str] = ()
    elif task.answers in {"success", "callback_exception"}:
        stems = task.stems or ()
    else:
        return None
    urls = {stem: f"{cdn_url}{path_of(task, stem)}" for stem in stems}
    flat = {} if task.kind == "split_stem_advanced" else urls
    return {
        "id": None,
        "originUrl": flat.get("origin"),
        "originData": _origin_data(task, urls),
        **{_field(stem): flat.get(stem) for stem in FLAT_STEMS},
    }


def _origin_data(task: EmulatedTask, urls: Mapping[str, str]) -> list[object]:
    items = {
        stem: {
            "duration": task.duration,
            "audio_url": url,
            "stem_type_group_name": _group(task, stem),
            "id": str(audio_id(task, stem)),
        }
        for stem, url in urls.items()
        if stem != "origin"
    }
    if task.kind == "split_stem":
        return [item for stem, item in items.items() if stem in _PARTLY_LISTED]
    if task.kind == "split_stem_advanced" and items:
        return [{"extract": items["vocal"], "remove": items["instrumental"]}]
    return list(items.values())


def _field(stem: str) -> str:
    first, *more = stem.split("_")
    return first + "".join(map(str.capitalize, more)) + "Url"


def _group(task: EmulatedTask, stem: str) -> str:
    if task.kind == "split_stem_advanced":
        return "Lead Vocal"
    return _LABELS.get(stem, stem.replace("_", " ").title())


def audio_id(task: EmulatedTask, stem: str) -> uuid.UUID:
    """Return the id of one file of a task."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{task.task_id}/{stem}")


def path_of(task: EmulatedTask, stem: str) -> str:
    """Return the CDN's path, spaces and all: those of advanced tasks come raw (seen in client code)."""
    if task.of is not KindName.SEPARATION:
        return f"/r/{audio_id(task, stem).hex}.{form_of(task, stem)}"
    if task.kind == "split_stem_advanced":
        return f"/r/{audio_id(task, stem)}_{_group(task, stem)}.mp3"
    return f"/s/{audio_id(task, stem)}_{_group(task, stem).replace(' ', '_')}.mp3"


def form_of(task: EmulatedTask, stem: str) -> str:
    """Return the ending of a file's name."""
    picture = "png" if stem.startswith("picture") else "mp4" if stem.startswith("film") else "mp3"
    return "wav" if task.of is KindName.WAV else picture


def created_at(task: EmulatedTask) -> datetime:
    """Return when the task was made, which it is told when it is added."""
    if task.created_at is None:
        raise ValueError("a task gets its creation time when it is added")
    return task.created_at


def completed_at(task: EmulatedTask) -> datetime:
    """Return when the task was ready, or will be."""
    return created_at(task) + task.ready_after


def milliseconds(moment: datetime) -> int:
    """Return a moment as the provider writes most."""
    return int(moment.timestamp() * 1000)


def has_urls(task: EmulatedTask) -> bool:
    """Return whether the record names its files."""
    return task.answers in {"success", "callback_exception"}


def is_done(task: EmulatedTask) -> bool:
    """Return whether the record calls the task done."""
    return task.answers.startswith(("success", "callback_exception"))


def has_failed(task: EmulatedTask) -> bool:
    """Return whether the record calls the task failed."""
    return task.answers in {"create_failed", "failed"}


def error_of(task: EmulatedTask) -> Mapping[str, object]:
    """Return the fields that tell of an error, or of none."""
    if has_failed(task) or task.answers == "pending_with_error":
        return {"errorCode": 500, "errorMessage": "Internal Error - Please try again later."}
    return {"errorCode": None, "errorMessage": None}


def music_of(task: EmulatedTask) -> uuid.UUID:
    """Return the id of the track that the task is made from."""
    return uuid.uuid5(uuid.NAMESPACE_URL, task.task_id)


def without_zone(moment: datetime) -> str:
    """Return a moment as some kinds write it: in UTC, and silent of that."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"
