"""Files that are written out of a record: MIDI notes, lyrics, timed words. Pure, and always the same bytes."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from archiver.core.midi import midi_file
from archiver.core.records.fields import json_in, text_of

_PAUSE: Final = 2.0
"""Seconds without a word, after which another line begins where the words tell of no lines."""
_LONGEST_LINE: Final = 12
"""Words of such a line."""
_MINUTE: Final = 60
_MIDI: Final = b"MThd"
_LONGEST: Final = 1000 * _MINUTE
"""Seconds; what names a later moment tells none."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file, whole."""

    extension: str
    content_type: str
    data: bytes


def written(content: str, form: str) -> WrittenFile:
    """Return the file of what a record holds, in the form of a StemSource's `written_as`."""
    content_type, write = _FORMS.get(form, _FORMS["txt"])
    return WrittenFile(form if form in _FORMS else "txt", content_type, write(content))


def may_be_written(extension: str, media_type: str, head: bytes) -> bool:
    """Return whether a stored file may be one of these, by its names and first bytes."""
    form = _FORMS.get(extension)
    if form is None or form[0].partition(";")[0] != media_type:
        return False
    if extension == "mid":
        return head.startswith(_MIDI)
    try:
        return "\0" not in codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False


def timed_lyrics(words: object) -> str:
    """Return `[{"word": …, "startS": …}]` as LRC: a line for each of the song's, with the time of its first word."""
    found = [each for each in words if isinstance(each, Mapping)] if isinstance(words, list) else []
    lines = ((at, " ".join(line.split())) for at, line in _lines(found))
    return "".join(f"[{int(at // _MINUTE):02}:{at % _MINUTE:05.2f}]{line}\n" for at, line in lines if line)


def _lines(words: list[Mapping[str, object]]) -> Iterator[tuple[float, str]]:
    """Yield each line with its time; where no word ends one, a pause or a dozen of words does."""
    has_lines = any("\n" in text_of(word.get("word")) for word in words)
    line, began, ended = list[str](), 0.0, 0.0
    for word in words:
        at = _seconds(word, "startS", "start_s", "start", otherwise=ended)
        if not has_lines and (at - ended > _PAUSE or len(line) >= _LONGEST_LINE):
            yield began, " ".join(line)
            line = []
        *ends, rest = text_of(word.get("word")).split("\n")
        for end in ends:
            yield (began if line else at), " ".join([*line, end])
            line = []
        if rest.strip():
            began = began if line else at
            line.append(rest)
        ended = _seconds(word, "endS", "end_s", "end", otherwise=at)
    yield began, " ".join(line)


def _seconds(word: Mapping[str, object], *keys: str, otherwise: float) -> float:
    values = (word.get(key) for key in keys)
    value = next((value for value in values if isinstance(value, int | float | str)), otherwise)
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return otherwise
    return seconds if 0 <= seconds < _LONGEST else otherwise


def _text(content: str) -> bytes:
    return content.encode("utf-8", "replace")


_FORMS: Final[Mapping[str, tuple[str, Callable[[str], bytes]]]] = {
    "txt": ("text/plain; charset=utf-8", _text),
    "json": ("application/json", _text),
    "mid": ("audio/midi", lambda content: midi_file(json_in(content))),
    "lrc": ("text/plain; charset=utf-8", lambda content: _text(timed_lyrics(json_in(content)))),
}
