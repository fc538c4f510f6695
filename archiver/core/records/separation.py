"""The audio of a vocal-removal record.

Each http(s) string under a `*Url` / `*_url` key of `response` (or of a callback's `vocal_separation_info` /
`vocal_removal_info`) counts, and each item of `originData`, flat or nested by role (`extract`, `remove`). An
undocumented key counts too, marked `known=False`: the provider has added stems before. Left out are only keys that
name a callback or webhook, a stream (its hosts answer with empty bodies), an image or a video.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Final

from archiver.core.records.audio import MAX_STEMS, Audio
from archiver.core.records.fields import duration_of, first_of, id_of, object_of, text_of
from archiver.core.records.names import field_name, joined, slug_of, words_of
from archiver.core.text import shown_url, usable_url

FLAT_STEMS: Final = (
    "vocal",
    "instrumental",
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
    "origin",
)
"""The names that belong to documented fields of `response` (provider's docs); `origin` is the source mix."""

_NO_AUDIO = re.compile(r"(?:^|_)(?:(?:call_?back|web_?hook)$|(?:stream|streaming|images?|videos?)(?:_|$))")
_AUDIO_KEYS: Final = ("audio", "")
_SHORTEST_ID: Final = 16
_MAX_ITEMS: Final = 5 * MAX_STEMS


def audio_of(data: Mapping[str, object]) -> list[Audio]:
    """Return the union of all that `data` names, documented fields first, at most MAX_STEMS."""
    flat: dict[tuple[str, str], Audio] = {}
    items: dict[str, Audio] = {}
    for answer in _answers(data):
        for audio in _flat_audio(answer):
            flat.setdefault((audio.name, audio.url), audio)
        for audio in _origin_audio(answer):
            items.setdefault(audio.url, audio)
    fields = sorted(flat.values(), key=_field_order)[:MAX_STEMS]
    return _merged(fields, islice(items.values(), _MAX_ITEMS))[:MAX_STEMS]


def _answers(data: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """Yield the objects that may list audio: the record's `response`, and what callbacks call it."""
    response = object_of(data.get("response"))
    yield response
    for outer in (data, response):
        for key in ("vocal_separation_info", "vocalSeparationInfo", "vocal_removal_info", "vocalRemovalInfo"):
            yield object_of(outer.get(key))


def _flat_audio(answer: Mapping[str, object]) -> Iterator[Audio]:
    for key, name, url in _urls_in(answer):
        stem = joined(slug_of(name))
        yield Audio(stem, url, field_name(key), flat=True, known=stem in FLAT_STEMS)


def _origin_audio(answer: Mapping[str, object]) -> Iterator[Audio]:
    for key in ("originData", "origin_data"):
        listed = answer.get(key)
        items = listed if isinstance(listed, list) else [listed]
        for index, item in enumerate(items[:_MAX_ITEMS]):
            yield from _item_audio(item, f"{key}[{index}]")


def _item_audio(item: object, field: str) -> Iterator[Audio]:
    """Yield what one item of originData names: itself, and each of its roles."""
    if isinstance(item, str):
        item = {"audio_url": item}
    if not isinstance(item, dict):
        return
    yield from _entry_audio(item, field, role="")
    for role, entry in item.items():
        if isinstance(entry, dict):
            yield from _entry_audio(entry, f"{field}.{field_name(role)}", role=role)


def _entry_audio(entry: Mapping[str, object], field: str, *, role: str) -> Iterator[Audio]:
    group = slug_of(text_of(first_of(entry, "stem_type_group_name", "stemTypeGroupName")))
    tail = {"": "", "extract": "", "remove": "removed"}.get(role, slug_of(role))
    for key, name, url in _urls_in(entry):
        documented = name in _AUDIO_KEYS
        yield Audio(
            name=joined(group, tail, "" if documented else slug_of(name)),
            url=url,
            field=field if documented else f"{field}.{field_name(key)}",
            known=documented and role in ("", "extract", "remove"),
            id=id_of(entry.get("id")) if documented else "",
            duration=duration_of(entry.get("duration")),
        )


def _urls_in(entry: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """Yield key, name (the key without `Url`) and encoded URL of each string that may be audio."""
    for key, value in entry.items():
        words = words_of(key)
        name = words.removesuffix("url").strip("_")
        if not isinstance(value, str) or not words.endswith("url") or _NO_AUDIO.search(name):
            continue
        url = usable_url(value)
        if url is not None:
            yield key, name, url


def _field_order(audio: Audio) -> tuple[int, str]:
    known = FLAT_STEMS.index(audio.name) if audio.known else len(FLAT_STEMS)
    return known, audio.field


def _merged(fields: list[Audio], items: Iterable[Audio]) -> list[Audio]:
    """Return `fields`, with the durations of their duplicates, and the items that duplicate none of them.

    A duplicate has the same URL, or an id that stands in a field's file name (in the docs' examples the items'
    URLs are placeholders). An id that two items share says nothing about which file it is.
    """
    items = list(items)
    uses = Counter(item.id for item in items)
    file_names = [shown_url(field.url).rpartition("/")[2] for field in fields]
    merged = list(fields)
    for item in items:
        has_own_id = len(item.id) >= _SHORTEST_ID and uses[item.id] == 1
        duplicates = [
            at for at, field in enumerate(fields) if field.url == item.url or (has_own_id and item.id in file_names[at])
        ]
        for at in duplicates:
            merged[at] = replace(merged[at], duration=merged[at].duration or item.duration)
        if not duplicates:
            merged.append(item)
    return merged
