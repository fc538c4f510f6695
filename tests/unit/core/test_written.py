"""Files that are written out of a record: a standard MIDI file, LRC, texts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.midi import midi_file
from archiver.core.written import timed_lyrics, written

NOTES = {
    "state": "complete",
    "instruments": [
        {"name": "Drums", "notes": [{"pitch": 36, "start": 0.5, "end": 1.0, "velocity": 1}]},
        {
            "name": "Electric Bass (finger)",
            "notes": [
                {"pitch": "41", "start": "1.0", "end": "1.5", "velocity": "0.5"},
                {"pitch": 43, "start": 0.0, "end": 1.0, "velocity": 100},
            ],
        },
    ],
}


def number(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte; return it and where it ends."""
    value = 0
    while True:
        value = value << 7 | data[at] & 0x7F
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


def tracks_of(data: bytes) -> Iterator[bytes]:
    assert data[:8] == b"MThd\0\0\0\6"
    kind, count, ticks = (int.from_bytes(data[at : at + 2], "big") for at in (8, 10, 12))
    assert (kind, ticks) == (1, 480)
    at = 14
    for _ in range(count):
        assert data[at : at + 4] == b"MTrk"
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        yield data[at + 8 : at + 8 + size]
        at += 8 + size
    assert at == len(data)


def events_of(track: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the time of each event and its bytes, up to the track's end."""
    at = now = 0
    while at < len(track):
        passed, at = number(track, at)
        now += passed
        begins = at
        if track[at] == 0xFF:
            size, at = number(track, at + 2)
            at += size
        else:
            at += 3
        yield now, track[begins:at]


def test_midi_file_has_a_track_for_each_instrument_with_its_notes_in_time() -> None:
    tempo, drums, bass = (list(events_of(track)) for track in tracks_of(midi_file(NOTES)))
    end = b"\xff\x2f\x00"
    assert tempo == [(0, b"\xff\x51\x03\x07\xa1\x20"), (0, end)]
    assert drums == [(0, b"\xff\x03\x05Drums"), (480, b"\x99\x24\x7f"), (960, b"\x89\x24\x00"), (960, end)]
    assert bass == [
        (0, b"\xff\x03\x16Electric Bass (finger)"),
        (0, b"\x90\x2b\x64"),
        (960, b"\x80\x2b\x00"),
        (960, b"\x90\x29\x40"),
        (1440, b"\x80\x29\x00"),
        (1440, end),
    ]


@pytest.mark.parametrize(
    "note",
    [
        {},
        {"pitch": 128, "start": 0, "end": 1},
        {"pitch": 60, "start": "soon", "end": 1},
        {"pitch": 60, "start": float("nan"), "end": 1},
        {"pitch": None, "start": 0, "end": 1},
        "60",
    ],
)
def test_midi_file_leaves_out_what_is_no_note(note: object) -> None:
    data = {"instruments": [{"notes": [note, {"pitch": 60, "start": 0, "end": 1}]}, "none", {"name": 5, "notes": 5}]}
    _, track, empty = tracks_of(midi_file(data))
    assert len(list(events_of(track))) == 4
    assert len(list(events_of(empty))) == 2


numbers = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
notes = st.dictionaries(st.sampled_from(["pitch", "start", "end", "velocity"]), numbers)


instrument = st.fixed_dictionaries({"name": st.text(max_size=200), "notes": st.lists(notes, max_size=5)})


@given(st.lists(instrument, max_size=20))
def test_midi_file_of_anything_is_whole_and_each_note_ends(instruments: list[object]) -> None:
    data = midi_file({"instruments": instruments})
    assert data == midi_file({"instruments": instruments})
    for track in tracks_of(data):
        sounding = {event[1]: event[0] >> 4 for _, event in events_of(track) if event[0] != 0xFF}
        assert 9 not in sounding.values()


def word(text: str, start: object, end: object) -> dict[str, object]:
    return {"word": text, "success": True, "startS": start, "endS": end, "palign": 0}


def test_timed_lyrics_keep_the_lines_of_the_song() -> None:
    words = [word("[Verse]\nOne ", 1.0, 1.2), word("two\n", 1.5, 2), word("three ", "61.256", 62), word("four", 62, 63)]
    assert timed_lyrics(words) == "[00:01.00][Verse]\n[00:01.00]One two\n[01:01.26]three four\n"


def test_timed_lyrics_without_lines_break_at_a_pause() -> None:
    words = [word("one", 1, 2), word("two", 2, 3), word("three", 9, 10)]
    assert timed_lyrics(words) == "[00:01.00]one two\n[00:09.00]three\n"


@given(st.lists(st.dictionaries(st.sampled_from(["word", "startS", "endS"]), numbers), max_size=20))
def test_timed_lyrics_of_anything_lose_no_word(words: list[dict[str, object]]) -> None:
    kept = [each for word in words if isinstance(text := word.get("word"), str) for each in text.split()]
    lines = timed_lyrics(words).split("\n")[:-1]
    assert all(line[0] == "[" and line[3] == ":" for line in lines)
    assert [each for line in lines for each in line[line.index("]") + 1 :].split()] == kept


@pytest.mark.parametrize(
    ("form", "content", "content_type", "begins"),
    [
        ("txt", "caf\u00e9 \ud800", "text/plain; charset=utf-8", "caf\u00e9 ?".encode()),
        ("json", json.dumps(NOTES), "application/json", b'{"state": "complete"'),
        ("mid", json.dumps(NOTES), "audio/midi", b"MThd"),
        ("lrc", json.dumps([word("la", 1, 2)]), "text/plain; charset=utf-8", b"[00:01.00]la\n"),
    ],
)
def test_written_file_has_the_type_and_the_bytes_of_its_form(
    form: str, content: str, content_type: str, begins: bytes
) -> None:
    file = written(content, form)
    assert (file.extension, file.content_type) == (form, content_type)
    assert file.data.startswith(begins)


@pytest.mark.parametrize("form", ["txt", "json", "mid", "lrc", "new"])
@given(content=st.text())
def test_anything_can_be_written(form: str, content: str) -> None:
    assert written(content, form) == written(content, form)
