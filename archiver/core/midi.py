"""A standard MIDI file of the notes that the provider found: 480 ticks a quarter, 120 quarters a minute. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

from archiver.core.records.fields import text_of

TICKS: Final = 480
_TICKS_A_SECOND: Final = TICKS * 120 / 60
_LAST_TICK: Final = (1 << 28) - 1
"""As many as a MIDI file can count."""
_TEMPO: Final = 500_000
"""Microseconds from one to the next of 120 in a minute."""
_DRUMS: Final = 9
_CHANNELS: Final = tuple(channel for channel in range(16) if channel != _DRUMS)
_DRUM_WORDS: Final = ("drum", "percussion")
_ON, _OFF, _LOUDEST, _PITCHES = 0x90, 0x80, 127, 128
_MOST_NAME: Final = 100


def midi_file(data: object) -> bytes:
    """Return the notes of `{"instruments": [{"name": …, "notes": [{"pitch", "start", "end", "velocity"}]}]}`.

    Times are in seconds; a velocity up to 1 is a part of the loudest. Numbers may be text. What is no note is left out.
    """
    instruments = [each for each in _list_in(data, "instruments") if isinstance(each, Mapping)]
    tempo = b"\x00\xff\x51\x03" + _TEMPO.to_bytes(3, "big")
    melodic = 0
    tracks = [_track(tempo)]
    for each in instruments:
        name = text_of(each.get("name"))[:_MOST_NAME]
        is_drums = any(word in name.lower() for word in _DRUM_WORDS)
        channel = _DRUMS if is_drums else _CHANNELS[melodic % len(_CHANNELS)]
        melodic += not is_drums
        tracks.append(_track(_name(name) + _events(_list_in(each, "notes"), channel)))
    head = (1).to_bytes(2, "big") + len(tracks).to_bytes(2, "big") + TICKS.to_bytes(2, "big")
    return _chunk(b"MThd", head) + b"".join(tracks)


def _list_in(data: object, key: str) -> list[object]:
    value = data.get(key) if isinstance(data, Mapping) else None
    return value if isinstance(value, list) else []


def _events(notes: list[object], channel: int) -> bytes:
    """Return a track's notes in the order of their times, each as what has passed since the last and what happens."""
    moments = sorted(moment for note in notes if isinstance(note, Mapping) for moment in _moments(note))
    events, at = bytearray(), 0
    for tick, starts, pitch, velocity in moments:
        events += _length(tick - at) + bytes(((_ON if starts else _OFF) | channel, pitch, velocity))
        at = tick
    return bytes(events)


def _moments(note: Mapping[str, object]) -> Iterator[tuple[int, bool, int, int]]:
    pitch, start, end = (_number(note.get(key)) for key in ("pitch", "start", "end"))
    if pitch is None or start is None or end is None or not 0 <= round(pitch) < _PITCHES:
        return
    loud = _number(note.get("velocity"))
    loud = 1.0 if loud is None else loud
    velocity = round(loud * _LOUDEST if loud <= 1 else loud)
    first = _tick(start)
    yield first, True, round(pitch), min(max(velocity, 1), _LOUDEST)
    yield max(_tick(end), first + 1), False, round(pitch), 0


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _tick(seconds: float) -> int:
    return round(min(max(seconds * _TICKS_A_SECOND, 0), _LAST_TICK - 1))


def _name(name: str) -> bytes:
    text = name.encode("utf-8", "replace")
    return b"\x00\xff\x03" + _length(len(text)) + text


def _track(events: bytes) -> bytes:
    return _chunk(b"MTrk", events + b"\x00\xff\x2f\x00")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4, "big") + content


def _length(number: int) -> bytes:
    """Return a number as MIDI writes it: seven bits a byte, the last without the eighth bit."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(groups[::-1])
