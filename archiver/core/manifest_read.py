"""Reading a manifest, of whatever format and from whatever hand: untrusted bytes become nouns, or one error. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from archiver.core.keys import path_in
from archiver.core.manifest import seal_of
from archiver.core.manifest_bounds import LARGEST, MOST_EVENTS, MOST_OTHERS, MOST_STEMS
from archiver.core.manifest_fields import Fields, ManifestBroken, is_hash, plain_name_fault
from archiver.core.model import AccountName, StemName, TaskId, task_id
from archiver.core.records.facts import Parent, Track
from archiver.core.records.left_out import LeftOut
from archiver.core.states import StemState, TaskState


@dataclass(frozen=True, slots=True)
class ManifestStem:
    """A stem as a manifest has it."""

    name: StemName
    state: str
    """The word of a StemState, or another one, as a later version may write."""
    field: str = ""
    source_url: str = ""
    duration: float | None = None
    """Seconds."""
    path: str = ""
    """The object's name beside the manifest, one plain name; empty where it has none, or none that is safe."""
    path_fault: str = ""
    """Why its object cannot be read by name; empty where it can, or where it has none."""
    key: str = ""
    """The object's key when it was stored: information, for the bucket may have been copied since."""
    size: int | None = None
    sha256: str = ""
    """Lower-case hex; empty where it is not stored."""
    crc32: str = ""
    """Eight lower-case hex digits; empty where it is not told."""
    etag: str = ""
    content_type: str = ""
    stored_at: datetime | None = None
    alias_of: StemName | None = None
    reason: str = ""
    doubt: str = ""
    url_cut: bool | None = None
    """None where it is not told, as in format 1."""
    attempts: int = 0
    gone: int = 0
    not_before: datetime | None = None
    media: str = "audio"

    @property
    def is_stored(self) -> bool:
        """True where there is an object of it."""
        return self.state == StemState.STORED


@dataclass(frozen=True, slots=True)
class ManifestEvent:
    """A line of the task's history; or several that were folded into one."""

    event: str
    at: datetime
    stem: StemName | None = None
    before: str = ""
    after: str = ""
    detail: Mapping[str, object] | None = None
    type: str | None = None
    """The word of PREMIS, where one fits."""
    times: int = 1
    until: datetime | None = None
    """The time of the last of them, where they are several."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest whose seal is right. What it does not tell is None or empty."""

    format: int
    task_id: TaskId
    state: str
    """The word of a TaskState, or another one, as a later version may write."""
    stems: tuple[ManifestStem, ...]
    seal: str
    written_at: datetime
    accepted_at: datetime | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    deadline: datetime | None = None
    first_asked_at: datetime | None = None
    ended_at: datetime | None = None
    """None while it is listed; of format 1, `written_at` once it has ended."""
    account: AccountName | None = None
    source: str | None = None
    flag: str | None = None
    reason: str | None = None
    previous: str | None = None
    archiver: str = ""
    events: tuple[ManifestEvent, ...] = ()
    kind: str = ""
    title: str = ""
    tags: str = ""
    model: str = ""
    duration: float | None = None
    parent: TaskId | None = None
    create_only: str = ""
    made_from: tuple[Parent, ...] = ()
    tracks: tuple[Track, ...] = ()
    not_taken: tuple[LeftOut, ...] = ()

    def stem(self, name: str) -> ManifestStem | None:
        """Return the stem of that name, if there is one."""
        return next((stem for stem in self.stems if stem.name == name), None)


def read_manifest(data: bytes, task: TaskId | None = None) -> Manifest:
    """Return what `data` says, of the formats 1 and 2, and of later ones as far as they are like 2.

    Raises ManifestBroken for what is no manifest, too large, not sealed by its own hash, or of another task than
    `task`; and never anything else.
    """
    fields = _sealed(data)
    number, known = fields.whole("format"), _task_named(fields.text("task_id"))
    if task is not None and known != task:
        raise ManifestBroken("it is another task's")
    if not number:
        raise ManifestBroken("it names no format")
    stems, written_at = _stems(fields, known, number), fields.moment("written_at")
    if written_at is None:
        raise ManifestBroken("it does not tell when it was written")
    state = fields.text("state") if number > 1 else _state_of(stems)
    if not state:
        raise ManifestBroken("it tells no state")
    times = _times(fields, state, written_at)
    seal = fields.text("seal")
    return Manifest(number, known, state, stems, seal, written_at, **times, **_facts(fields), **_history(fields))


def _times(fields: Fields, state: str, written_at: datetime) -> dict[str, Any]:
    ended = state != TaskState.LISTED
    return {
        "accepted_at": fields.moment("accepted_at"),
        "created_at": fields.moment("created_at"),
        "completed_at": fields.moment("completed_at"),
        "deadline": fields.moment("deadline"),
        "first_asked_at": fields.moment("first_asked_at"),
        "ended_at": (fields.moment("ended_at") or written_at) if ended else None,
    }


def _facts(fields: Fields) -> dict[str, Any]:
    parent = fields.text("parent")
    return {
        "kind": fields.text("kind"),
        "title": fields.text("title"),
        "tags": fields.text("tags"),
        "model": fields.text("model"),
        "duration": fields.seconds("duration_seconds"),
        "parent": _task_named(parent) if parent else None,
        "create_only": fields.text("create_only"),
        "made_from": tuple(
            Parent(each.text("id"), each.text("field")) for each in fields.objects("made_from", MOST_OTHERS)
        ),
        "tracks": tuple(
            Track(each.text("id"), each.text("title"), duration=each.seconds("duration_seconds"))
            for each in fields.objects("tracks", MOST_OTHERS)
        ),
        "not_taken": tuple(
            LeftOut(each.text("field"), each.text("source_url"), each.text("reason"))
            for each in fields.objects("not_taken", MOST_OTHERS)
        ),
    }


def _history(fields: Fields) -> dict[str, Any]:
    return {
        "account": fields.account("account"),
        "source": fields.text_or_none("source"),
        "flag": fields.text_or_none("flag"),
        "reason": fields.text_or_none("reason"),
        "previous": fields.text_or_none("previous"),
        "archiver": fields.text("archiver"),
        "events": tuple(_event(each) for each in fields.objects("events", MOST_EVENTS)),
    }


def _sealed(data: bytes) -> Fields:
    """Return the fields of a document that its seal belongs to."""
    if len(data) > LARGEST:
        raise ManifestBroken(f"it has {len(data)} bytes, more than the {LARGEST} that are read")
    try:
        document = json.loads(data)
        if not isinstance(document, dict):
            raise ManifestBroken("it is no JSON object")
        sealed = document.get("seal") == f"sha256:{seal_of(document)}"
    except (ValueError, RecursionError) as error:
        raise ManifestBroken(f"it is no JSON: {type(error).__name__}") from None
    if not sealed:
        raise ManifestBroken("its seal is not the hash of what it says")
    return Fields(document)


def _task_named(text: str) -> TaskId:
    try:
        return task_id(text)
    except ValueError as error:
        raise ManifestBroken(f"it names what is {error}") from None


def _stems(fields: Fields, task: TaskId, number: int) -> tuple[ManifestStem, ...]:
    if "stems" not in fields:
        raise ManifestBroken("it lists no stems")
    stems = tuple(_stem(each, task, number) for each in fields.objects("stems", MOST_STEMS))
    if len({stem.name for stem in stems}) < len(stems):
        raise ManifestBroken("two of its stems have one name")
    return stems


def _stem(fields: Fields, task: TaskId, number: int) -> ManifestStem:
    name, state, alias_of = StemName(fields.text("name")), fields.text("state"), fields.text("alias_of")
    if not name or not state:
        raise ManifestBroken("a stem lacks its name or its state")
    there = _object(fields, task, number) if state == StemState.STORED else {}
    return ManifestStem(
        name=name,
        state=state,
        field=fields.text("field"),
        source_url=fields.text("source_url"),
        duration=fields.seconds("duration_seconds"),
        reason=fields.text("reason"),
        doubt=fields.text("doubt"),
        alias_of=StemName(alias_of) if alias_of else None,
        url_cut=fields.flag("url_cut"),
        attempts=fields.whole("attempts") or 0,
        gone=fields.whole("gone") or 0,
        not_before=fields.moment("not_before"),
        media=fields.text("media") or "audio",
        **there,
    )


def _object(fields: Fields, task: TaskId, number: int) -> dict[str, Any]:
    size, sha256, key = fields.whole("bytes"), fields.text("sha256"), fields.text("key")
    if not size or not is_hash(sha256):
        raise ManifestBroken("a stored stem lacks its size or its SHA-256")
    path = fields.text("path") if number > 1 else path_in(key, task)
    fault = plain_name_fault(path)
    return {
        "path": "" if fault else path,
        "path_fault": fault,
        "key": key,
        "size": size,
        "sha256": sha256,
        "crc32": fields.text("crc32"),
        "etag": fields.text("etag"),
        "content_type": fields.text("content_type"),
        "stored_at": fields.moment("stored_at"),
    }


def _state_of(stems: Sequence[ManifestStem]) -> str:
    """Return the state of a task whose manifest is of format 1, which tells none."""
    states = {stem.state for stem in stems}
    if states & {StemState.REFUSED, StemState.WANTED}:
        return TaskState.LISTED.value
    return (TaskState.LOST if StemState.LOST in states else TaskState.ARCHIVED).value


def _event(fields: Fields) -> ManifestEvent:
    at, stem = fields.moment("at"), fields.text("stem")
    if at is None:
        raise ManifestBroken("an event does not tell when it was")
    times = fields.whole("times")
    return ManifestEvent(
        event=fields.text("event"),
        at=at,
        stem=StemName(stem) if stem else None,
        before=fields.text("before"),
        after=fields.text("after"),
        detail=fields.mapping("detail"),
        type=fields.text_or_none("type"),
        times=1 if times is None else times,
        until=fields.moment("until"),
    )
