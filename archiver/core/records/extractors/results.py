"""The files of a record of any kind: the union of what its shapes read, and of every other address that it holds.

An address is listed once, by the first that reads it. What the user gave is no result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from archiver.core.records.blemished import NotJson, read_blemished_text
from archiver.core.records.extractors.shape import Finds, Shape, Value
from archiver.core.records.extractors.texts import notes_in, object_in, texts_in
from archiver.core.records.extractors.tracks import tracks_in
from archiver.core.records.facts import Track
from archiver.core.records.fields import json_in, unwrapped
from archiver.core.records.items import Item
from archiver.core.records.kinds.names import KindName
from archiver.core.records.kinds.row import Extractor, Kind
from archiver.core.records.kinds.table import KINDS
from archiver.core.records.left_out import LeftOut
from archiver.core.records.names import field_name, words_of
from archiver.core.records.others import Rules, inputs_and, others_in
from archiver.core.records.separation import FLAT_STEMS, audio_of

MOST_VALUES: Final = 20_000
MOST_SEPARATIONS: Final = 50
"""Values that are looked at for their shape; addresses beyond are found all the same."""

_FIRST: Final = ("result_json", "response")
"""The keys whose values are read before all others."""
_SEPARATION = re.compile(r"origin_data|vocal_(?:removal|separation)_info|(?:" + "|".join(FLAT_STEMS) + r")_url")
_SHAPES: Final[Mapping[Extractor, Shape]] = {
    Extractor.TRACKS: tracks_in,
    Extractor.JSON: notes_in,
    Extractor.TEXTS: texts_in,
}


@dataclass(slots=True)
class Results:
    """All that was found in one record."""

    items: dict[object, Item] = field(default_factory=dict)
    left_out: dict[tuple[str, str], LeftOut] = field(default_factory=dict)
    """By its address and what it is: a payload may stand twice in a record."""
    tracks: dict[str, Track] = field(default_factory=dict)
    title: str = ""
    """Of its texts."""
    taken: set[str] = field(default_factory=set)

    def add(self, finds: Finds) -> None:
        """Take in what is new of these."""
        for item in finds.items:
            if item.url not in self.taken:
                self.items.setdefault(item.identity, item)
        for left in finds.left_out:
            self.left_out.setdefault((left.url, left.kind), left)
        self.title = self.title or finds.title
        for track in finds.tracks:
            self.tracks.setdefault(track.id, track)
        self.taken |= {item.url for item in finds.items if item.url} | finds.taken


def results_of(data: Mapping[str, object], kind: Kind) -> Results:
    """Read all that a record of this kind brings; never raises."""
    rules, results = _rules_of(kind.name), Results()
    first = {key: value for key, value in data.items() if words_of(key) in _FIRST}
    read = {key: unwrapped(value) for key, value in first.items()}
    record = {**read, **{key: value for key, value in data.items() if key not in first}}
    _add_shapes(results, record, kind)
    for found in others_in(record, taken=results.taken, rules=rules):
        results.add(Finds((found,)) if isinstance(found, Item) else Finds(left_out=(found,)))
    for key, value in read.items():
        if isinstance(value, str):
            results.add(Finds((*_unread(key, value),)))
        elif isinstance(value, dict) and not results.items and Extractor.JSON in kind.extractors:
            results.add(Finds((*_bare_object(key, value),)))
    return results


def _add_shapes(results: Results, record: Mapping[str, object], kind: Kind) -> None:
    shapes, inputs = [_SHAPES[each] for each in kind.extractors if each in _SHAPES], _rules_of(kind.name).inputs
    if Extractor.JSON in kind.extractors:
        results.add(notes_in(Value(record, "", "data")) or Finds())
    separations = MOST_SEPARATIONS if Extractor.ORIGIN_DATA in kind.extractors else 0
    todo = [(each, False) for each in _below(Value(record, "", ""), inputs)]
    for _ in range(MOST_VALUES):
        if not todo:
            break
        value, within = todo.pop()
        finds = next((found for shape in shapes if (found := shape(value)) is not None), None)
        if finds is not None:
            results.add(finds)
            continue
        if separations and not within and _is_separation(value):
            results.add(_separation_in(value, _rules_of(kind.name)))
            separations, within = separations - 1, True
        todo += [(each, within) for each in _below(value, inputs)]


def _below(value: Value, inputs: re.Pattern[str]) -> list[Value]:
    """Return the objects and lists in this one, the last first; not those among inputs."""
    inner = value.value
    found: list[Value] = []
    if isinstance(inner, dict):
        for key, each in inner.items():
            each = json_in(each) if isinstance(each, str) else each  # noqa: PLW2901  read out of its string
            words = words_of(key)
            if isinstance(each, dict | list) and each and not inputs.search(words):
                found.append(Value(each, words, f"{value.field}.{field_name(key)}".lstrip(".")))
    elif isinstance(inner, list):
        for at, each in enumerate(inner):
            each = json_in(each) if isinstance(each, str) else each  # noqa: PLW2901  read out of its string
            if isinstance(each, dict | list) and each:
                found.append(Value(each, "", value.field_of(at)))
    return found[::-1]


@cache
def _rules_of(name: KindName) -> Rules:
    kind = KINDS[name]
    return Rules(FLAT_STEMS, kind.media, numbered=True, inputs=inputs_and(*kind.inputs))


def _is_separation(value: Value) -> bool:
    return isinstance(value.value, dict) and any(_SEPARATION.fullmatch(words_of(key)) for key in value.value)


def _separation_in(value: Value, rules: Rules) -> Finds:
    """Read stems, flat or listed, as those of a separation, and all else that stands below them."""
    items, left_out = audio_of({"response": value.value}, rules)
    return Finds(
        tuple(replace(item, field=f"{value.field}.{item.field}") for item in items),
        tuple(replace(left, field=f"{value.field}.{left.field}") for left in left_out),
    )


def _unread(key: str, text: str) -> Iterator[Item]:
    """Yield what stands for a result that ought to be JSON, and cannot be read."""
    if text.lstrip()[:1] not in ("{", "["):
        return
    try:
        read_blemished_text(text)
    except NotJson as fault:
        why = f"JSON that cannot be read: {fault}" if str(fault) else "JSON that cannot be read"
        yield Item("result", "", field_name(key), flat=True, not_taken=why)


def _bare_object(key: str, value: Mapping[str, object]) -> Iterator[Item]:
    """Yield a result that is no file, but an object."""
    for name, inner in value.items():
        if words_of(name) == "result_object" and isinstance(inner, dict) and inner:
            yield object_in(Value(inner, "", f"{field_name(key)}.{field_name(name)}"))
