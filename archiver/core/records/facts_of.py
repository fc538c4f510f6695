"""Facts as a record tells them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from archiver.core.records.facts import Facts, Parent, Track
from archiver.core.records.fields import first_of, id_of, json_in, text_of
from archiver.core.records.kinds.row import Kind
from archiver.core.text import scrub

_ID: Final = re.compile(r"[A-Za-z0-9_-]{4,128}")
_OF_TASK: Final = re.compile(r"(?i)task_?id$")


def facts_of(data: Mapping[str, object], row: Kind, tracks: tuple[Track, ...] = (), of_texts: str = "") -> Facts:
    """Return the facts of a record of this kind, whose texts have that title; never raises."""
    parents = tuple({parent.id: parent for parent in _parents(data, row)}.values())
    if not tracks and "title" not in data and "model" not in data and "param" not in data:
        return Facts(title=of_texts, parents=parents)
    first = tracks[0] if tracks else Track("")
    title = first_of(data, "title") or first_of(object_at(data, "param"), "title")
    return Facts(
        title=first.title or scrub(text_of(title)) or of_texts,
        tags=first.tags,
        model=first.model or scrub(text_of(data.get("model"))),
        duration=first.duration,
        parents=parents,
        tracks=tracks,
    )


def _parents(data: Mapping[str, object], row: Kind) -> Iterator[Parent]:
    for path in row.parents:
        *outer, key = path.split(".")
        entry = data
        for step in outer:
            entry = object_at(entry, step)
        named = id_of(entry.get(key))
        if _ID.fullmatch(named):
            yield Parent(named, path, is_task=names_task(path))


def names_task(field: str) -> bool:
    """Return whether the id in that place of a record is a task's; a track's otherwise."""
    return _OF_TASK.search(field) is not None


def object_at(entry: Mapping[str, object], key: str) -> Mapping[str, object]:
    """Return an object, be it JSON in a string; an empty one for all else."""
    value = entry.get(key)
    inner = json_in(value) if isinstance(value, str) else value
    return inner if isinstance(inner, dict) else {}
