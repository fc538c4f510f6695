"""Results that are no file to fetch but stand in the record: MIDI notes, lyrics, words with their times."""

from __future__ import annotations

from typing import Final

from archiver.core.records.document import document_of, text_as_kept
from archiver.core.records.extractors.shape import Finds, Value, objects_in
from archiver.core.records.fields import text_of
from archiver.core.records.items import Item
from archiver.core.records.kinds.names import Media
from archiver.core.records.others import MOST
from archiver.core.text import scrub

_OF_LYRICS: Final = ("data", "lyrics_data", "lyrics")


def notes_in(value: Value) -> Finds | None:
    """Read `midiData`, or an object with instruments: as JSON, and as a standard MIDI file where there are notes."""
    data = value.value
    if not isinstance(data, dict) or not isinstance(data.get("instruments"), list):
        return None
    text = document_of(data)
    items = [_written("midi", "json", text, value.field)]
    if any(isinstance(each, dict) and each.get("notes") for each in data["instruments"]):
        items.append(_written("midi_file", "mid", text, value.field))
    return Finds(tuple(items))


def texts_in(value: Value) -> Finds | None:
    """Read lists of texts, each with its title, and `alignedWords`."""
    if value.key == "aligned_words":
        return _timed(value)
    if value.key not in _OF_LYRICS:
        return None
    found = [(at, entry) for at, entry in objects_in(value)[:MOST] if text_of(entry.get("text")).strip()]
    if not found:
        return None
    titles = (scrub(text_of(entry.get("title"))) for _, entry in found)
    return Finds(
        title=next(filter(None, titles), ""),
        items=tuple(
            _written(f"lyrics-{at + 1:02}", "txt", text_as_kept(text_of(entry["text"])), f"{value.field_of(at)}.text")
            for at, entry in found
        ),
    )


def _timed(value: Value) -> Finds | None:
    words = [entry for _, entry in objects_in(value)]
    return Finds((_written("timed_lyrics", "lrc", document_of(words), value.field),)) if words else None


def object_in(value: Value) -> Item:
    """Return a result that is an object without files as one."""
    return _written("result", "json", document_of(value.value), value.field)


def _written(name: str, form: str, content: str, field: str) -> Item:
    return Item(name, "", field, flat=True, media=Media.TEXT, content=content, written_as=form)
