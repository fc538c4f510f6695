"""The audio of a vocal-removal record.

Each http(s) string under a `*Url` / `*_url` key of `response` (or of a callback's `vocal_separation_info` /
`vocal_removal_info`) counts, and each item of `originData`, flat or nested by role (`extract`, `remove`). An
undocumented key counts too, marked `known=False`: the provider has added stems before. Whatever else there is that
looks like an address is found by `leaves`. Left out, by name, is only what is a stream (its hosts answer with empty
bodies), an image, a video or a text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Final

from archiver.core.records.fields import duration_of, first_of, id_of, object_of, text_of, unwrapped
from archiver.core.records.items import Item
from archiver.core.records.left_out import LeftOut
from archiver.core.records.names import field_name, joined, slug_of, words_of
from archiver.core.records.others import Rules, address_of, addresses_in, inputs_and, others_in, what_else
from archiver.core.text import shown_url

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

RULES: Final = Rules(known=FLAT_STEMS)
_BESIDE: Final = Rules(known=FLAT_STEMS, inputs=inputs_and())
"""Text beside the result may be a message, too."""
_RESULTS: Final = ("response", "vocal_separation_info", "vocal_removal_info")
_CALLBACK = re.compile(r"(?:^|_)(?:call_?back|web_?hook)$")
_MOST_LISTED: Final = 50
"""Objects of a result that is a list; addresses beyond are found all the same."""
_PLACEHOLDER = re.compile(r"https?://[^/?]*/?")
_SHORTEST_ID: Final = 16
_AUDIO_KEYS: Final = ("audio", "")


def audio_of(
    data: Mapping[str, object], rules: Rules = RULES, *, beside: bool = False
) -> tuple[list[Item], list[LeftOut]]:
    """Return the union of all that `data` names, documented fields first, and what of it is no audio by its name.

    `beside`: also of what stands beside the result.
    """
    flat: dict[tuple[str, str], Item] = {}
    items: dict[str, Item] = {}
    others: dict[object, Item] = {}
    left_out: dict[LeftOut, None] = {}
    answers = [*filter(None, _answers(data))]
    places = [(answer, rules) for answer in answers]
    if beside:
        places.append(({key: value for key, value in data.items() if words_of(key) not in _RESULTS}, _BESIDE))
    for answer in answers:
        for audio in _flat_audio(answer):
            flat.setdefault((audio.name, audio.url), audio)
        for audio in _origin_audio(answer):
            items.setdefault(audio.url, audio)
    taken = {audio.url for audio in (*flat.values(), *items.values())}
    for found in chain.from_iterable(others_in(place, taken=taken, rules=its) for place, its in places):
        if isinstance(found, Item):
            others.setdefault(found.identity, found)
        else:
            left_out.setdefault(found)
    fields = sorted(flat.values(), key=_field_order)
    return [*_merged(fields, items.values()), *others.values()], list(left_out)


def _answers(data: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """Yield the objects that list audio as it is documented: the record's `response`, and what callbacks call it."""
    result = unwrapped(data.get("response"))
    if isinstance(result, list):
        yield from (each for each in result[:_MOST_LISTED] if isinstance(each, dict))
        yield {"response": result}
    response = object_of(result)
    yield response
    for outer in (data, response):
        for key in ("vocal_separation_info", "vocalSeparationInfo", "vocal_removal_info", "vocalRemovalInfo"):
            yield object_of(outer.get(key))


def _flat_audio(answer: Mapping[str, object]) -> Iterator[Item]:
    for key, name, url in _urls_in(answer):
        stem = joined(slug_of(name))
        yield Item(stem, url, field_name(key), flat=True, known=stem in FLAT_STEMS)


def _origin_audio(answer: Mapping[str, object]) -> Iterator[Item]:
    for key in ("originData", "origin_data"):
        listed = answer.get(key)
        items = listed if isinstance(listed, list) else [listed]
        for index, item in enumerate(items):
            yield from _item_audio(item, f"{key}[{index}]")


def _item_audio(item: object, field: str) -> Iterator[Item]:
    """Yield what one item of originData names: itself, and each of its roles."""
    if isinstance(item, str):
        item = {"audio_url": item}
    if not isinstance(item, dict):
        return
    yield from _entry_audio(item, field, role="")
    for role, entry in item.items():
        if isinstance(entry, dict):
            yield from _entry_audio(entry, f"{field}.{field_name(role)}", role=role)


def _entry_audio(entry: Mapping[str, object], field: str, *, role: str) -> Iterator[Item]:
    group = slug_of(text_of(first_of(entry, "stem_type_group_name", "stemTypeGroupName")))
    tail = {"": "", "extract": "", "remove": "removed"}.get(role, slug_of(role))
    for key, name, url in _urls_in(entry):
        documented = name in _AUDIO_KEYS
        yield Item(
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
        if not isinstance(value, str) or not value:
            continue
        words = words_of(key)
        name = words.removesuffix("url").strip("_")
        if not words.endswith("url") or _CALLBACK.search(name) or len(addresses_in(value)) > 1:
            continue
        url = address_of(value)
        if url is not None and not what_else(name, url, documented=name in FLAT_STEMS or name in _AUDIO_KEYS):
            yield key, name, url


def _field_order(audio: Item) -> tuple[int, str]:
    known = FLAT_STEMS.index(audio.name) if audio.known else len(FLAT_STEMS)
    return known, audio.field


def _merged(fields: list[Item], items: Collection[Item]) -> list[Item]:
    """Return `fields`, with the durations of their duplicates, and the items that duplicate none of them.

    A duplicate has the same URL. Where its own is a bare host, as the placeholders in the docs' examples are, its id
    tells it too, where it stands in the file name of one field alone and no other item has it.
    """
    merged = list(fields)
    places = {field.url: at for at, field in enumerate(fields)}
    for item in items:
        at = places.get(item.url)
        if at is None and _PLACEHOLDER.fullmatch(item.url):
            at = _place_of_id(item, fields, items)
        if at is None:
            merged.append(item)
        else:
            merged[at] = replace(merged[at], duration=merged[at].duration or item.duration)
    return merged


def _place_of_id(item: Item, fields: list[Item], items: Collection[Item]) -> int | None:
    if len(item.id) < _SHORTEST_ID or sum(other.id == item.id for other in items) > 1:
        return None
    places = [at for at, field in enumerate(fields) if item.id in shown_url(field.url).rpartition("/")[2]]
    return places[0] if len(places) == 1 else None
