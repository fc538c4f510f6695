"""The tracks of a music task: of each its audio, its image, its lyrics and its facts.

The name of a track begins with its place and goes on with its id, for two tracks of one task have one title.
Its `source…Url` is another address of the same file. Streams are read by nobody: they gave empty bodies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from archiver.core.records.document import text_as_kept
from archiver.core.records.extractors.shape import Finds, Value, objects_in
from archiver.core.records.facts import Track
from archiver.core.records.fields import duration_of, first_of, id_of, moment_of, text_of
from archiver.core.records.items import MAX_STEMS, Item
from archiver.core.records.kinds.names import Media
from archiver.core.records.left_out import LeftOut
from archiver.core.records.names import field_name, words_of
from archiver.core.records.others import address_of
from archiver.core.text import scrub, shown_url

_MARKS: Final = frozenset(("audio_url", "source_audio_url", "stream_audio_url", "source_stream_audio_url"))
_PARTS: Final = (("audio", "", Media.AUDIO), ("image", "-image", Media.IMAGE), ("video", "-video", Media.VIDEO))
_LYRICS: Final = ("prompt", "lyrics", "lyric")
_FALLBACK: Final = "another address of the same file"


def tracks_in(value: Value) -> Finds | None:
    """Read `sunoData`, and what looks like it: objects with an id and an audio's address."""
    found = [(at, entry) for at, entry in objects_in(value)[:MAX_STEMS] if _is_track(entry)]
    if not found:
        return None
    items: list[Item] = []
    left_out: list[LeftOut] = []
    for at, entry in found:
        for each in _files(entry, at, value.field_of(at)):
            (items if isinstance(each, Item) else left_out).append(each)  # type: ignore[arg-type]  # by its class
    spare = frozenset(item.fallback for item in items if item.fallback)
    return Finds(tuple(items), tuple(left_out), tuple(_track(entry) for _, entry in found), spare)


def _is_track(entry: Mapping[str, object]) -> bool:
    return bool(id_of(entry.get("id"))) and any(words_of(key) in _MARKS for key in entry)


def _track(entry: Mapping[str, object]) -> Track:
    duration, created_at = duration_of(entry.get("duration")), moment_of(first_of(entry, "createTime", "create_time"))
    model = first_of(entry, "modelName", "model_name")
    tags = entry.get("tags")
    listed = ", ".join(map(text_of, tags)) if isinstance(tags, list) else text_of(tags)
    title = scrub(text_of(entry.get("title")))
    return Track(scrub(id_of(entry.get("id")))[:128], title, scrub(listed), scrub(text_of(model)), duration, created_at)


def _files(entry: Mapping[str, object], at: int, field: str) -> Iterator[Item | LeftOut]:
    keys = {words_of(key): key for key in entry}
    name = f"{at + 1:02}-{re.sub('[^a-z0-9]', '', id_of(entry.get('id')).lower())[:8] or 'track'}"
    duration = duration_of(entry.get("duration"))
    for part, tail, media in _PARTS:
        places = [keys[words] for words in (f"{part}_url", f"source_{part}_url") if words in keys]
        urls = {url: key for key in reversed(places) if (url := address_of(text_of(entry[key])))}
        first, *more = [*reversed(urls), ""]
        if not first:
            continue
        fallback = next(filter(None, more), "")
        place = f"{field}.{field_name(urls[first])}"
        spoken = duration if media is Media.AUDIO else None
        yield Item(name + tail, first, place, flat=True, duration=spoken, media=media, fallback=fallback)
        if fallback:
            yield LeftOut(f"{field}.{field_name(urls[fallback])}", shown_url(fallback), _FALLBACK)
    lyrics = next((key for key in _LYRICS if text_of(entry.get(key)).strip()), "")
    if lyrics:
        yield Item(
            f"{name}-lyrics",
            "",
            f"{field}.{lyrics}",
            flat=True,
            media=Media.TEXT,
            content=text_as_kept(text_of(entry[lyrics])),
            written_as="txt",
        )
