"""JSON that is not quite JSON: read as far as its meaning is beyond doubt, with a note of what was wrong.

Broken characters, other charsets, raw control characters, backslashes that escape nothing, numbers that are none
and missing values stand in fields that nobody needs; they must not cost the audio beside them. Each pass is linear
in the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from archiver.core.records.pairs import object_from

_LONGEST_NUMBER: Final = 4000
"""Characters; Python refuses to read integers of a little more."""

_CHARSET_IN_TYPE = re.compile(r"(?i);\s*charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})")
_CHARSETS: Final = re.compile(
    r"(?i)iso-?8859-?\d{1,2}|latin-?1|(?:windows-|cp)125\d|koi8-[ru]"
    r"|shift[_-]jis|cp932|euc-(?:jp|kr)|iso-2022-jp|gbk|gb2312|gb18030|big5"
)
_GUESSES: Final = ("gb18030", "cp932", "big5")
"""Charsets whose characters may hold the byte of a backslash or a brace, so that UTF-8 cannot stand in for them."""

_PADDING: Final = "\ufeff\u200b\x00\x1a\xa0 \t\r\n\x0b\x0c"
_PIECE = re.compile(
    r'(?P<text>"[^"\\]*+(?:\\.[^"\\]*+)*+"?)'
    r"|(?P<blank>(?:[^\S \t\r\n]|[\ufeff\u200b])+)"
    r"|(?P<missing>:(?=\s*[,}]))"
    r"|(?P<spare>,(?=\s*[}\]]))"
    r'|(?P<word>[^\s{}\[\]:,"\ufeff\u200b]++)',
    re.DOTALL,
)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LITERALS: Final = ("true", "false", "null")
_CONTROL = re.compile(r"[\x00-\x1f]")
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})|\\')

_RAW_BYTE = re.compile(r"[\udc80-\udcff]")
_RAW_BYTES = re.compile(r"[\udc80-\udcff]+")
_URL = re.compile(r'(?i)(?<=^")\s*https?:.*|https?:(?:\\*/){2}(?:\\+/|[^\s"\\])*', re.DOTALL)

LENIENT: Final = json.JSONDecoder(strict=False, object_pairs_hook=object_from)


class NotJson(ValueError):
    """The text cannot be read even so. The message says where, unless no object begins; it repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A JSON value, and its blemishes in words that repeat nothing of it."""

    value: object
    blemish: str = ""


def charset_in(content_type: str) -> str:
    """Return the charset that a Content-Type names, where text is known to come in it; else an empty string."""
    named = _CHARSET_IN_TYPE.search(content_type)
    return named[1].lower() if named and _CHARSETS.fullmatch(named[1]) else ""


def read_blemished(body: bytes, charset: str = "") -> Reading:
    """Read an object out of `body`; raise NotJson, about the likeliest of the charsets it may be in."""
    refused: NotJson | None = None
    for text, blemish in _decodings(body, charset):
        try:
            reading = read_blemished_text(text)
        except NotJson as fault:
            refused = refused or fault
        else:
            return Reading(reading.value, ", ".join(filter(None, (blemish, reading.blemish))))
    raise refused or NotJson


def read_blemished_text(text: str) -> Reading:
    """Read an object out of `text`; raise NotJson."""
    begin = len(text) - len(text.lstrip(_PADDING))
    whole = text.strip(_PADDING)
    if not whole.startswith("{"):
        raise NotJson
    mending = _Mending(begin)
    mended = _PIECE.sub(mending.of, whole)
    try:
        value, end = LENIENT.raw_decode(mended)
        mending.end_at(end, mended)
    except json.JSONDecodeError as fault:
        raise NotJson(f"{fault.msg} at character {mending.place_of(fault.pos)} of {len(text)}") from None
    except RecursionError:
        raise NotJson("it is nested too deep") from None
    return Reading(value, ", ".join(f"{what} at character {at}" for what, at in mending.found.items()))


def _decodings(body: bytes, charset: str) -> Iterator[tuple[str, str]]:
    """Yield `body` as text, the likeliest first, each with what was wrong with its characters."""
    encoding = json.detect_encoding(body)
    try:
        yield body.decode(encoding, "surrogatepass"), ""
    except UnicodeDecodeError as fault:
        where = f"a broken character at byte {fault.start}"
    else:
        return
    if charset:
        with suppress(UnicodeDecodeError, LookupError):
            yield body.decode(charset), f"characters in {charset}"
    yield body.decode(encoding, "surrogateescape" if encoding.startswith("utf-8") else "replace"), where
    for guess in _GUESSES:
        with suppress(UnicodeDecodeError):
            yield body.decode(guess), f"characters that may be in {guess}"


@dataclass(slots=True)
class _Mending:
    """The work on one text, which stands `begin` characters after its beginning."""

    begin: int
    found: dict[str, int] = field(default_factory=dict)
    """The place of the first blemish of each kind."""
    _grown: list[tuple[int, int]] = field(default_factory=list)
    """Where a piece ended, once mended, and by how much all had grown by then."""

    def of(self, piece: re.Match[str]) -> str:
        """Return a piece of the text as JSON has it."""
        raw = piece[0]
        mended = self._text(raw, piece.start()) if piece["text"] else self._between(piece)
        if len(mended) != len(raw):
            grown = (self._grown[-1][1] if self._grown else 0) + len(mended) - len(raw)
            self._grown.append((piece.end() + grown, grown))
        return mended

    def place_of(self, at: int) -> int:
        """Return where the character stood that is at `at` now."""
        grown = 0
        for end, by in self._grown:
            if end > at:
                break
            grown = by
        return self.begin + at - grown

    def end_at(self, end: int, mended: str) -> None:
        """Know that the object ends there; raise JSONDecodeError where what is behind it may be another one."""
        behind = mended[end:]
        if not behind.strip():
            return
        if "{" in behind or "[" in behind:
            raise json.JSONDecodeError("Extra data", mended, end)
        place = self.place_of(end)
        self.found = {what: at for what, at in self.found.items() if at < place}
        self.found["text behind its end"] = place

    def _text(self, raw: str, at: int) -> str:
        control = None if raw.isprintable() else _CONTROL.search(raw)
        if control is not None:
            self._note("a raw control character", at + control.start())
        mended = _ESCAPE.sub(lambda escape: self._escape(escape, at), raw) if "\\" in raw else raw
        if _RAW_BYTE.search(mended):
            mended = _URL.sub(lambda url: _RAW_BYTE.sub(_percent_encoded, url[0]), mended)
            mended = _RAW_BYTES.sub(_replaced, mended)
        return mended

    def _escape(self, escape: re.Match[str], at: int) -> str:
        if len(escape[0]) > 1:
            return escape[0]
        self._note("a backslash that escapes nothing", at + escape.start())
        return "\\\\"

    def _between(self, piece: re.Match[str]) -> str:
        raw = piece[0]
        match piece.lastgroup:
            case "blank":
                return " " * len(raw)
            case "missing":
                self._note("a missing value", piece.start())
                return ":null"
            case "spare":
                self._note("a spare comma", piece.start())
                return " "
            case _:
                return self._word(raw, piece.start())

    def _word(self, raw: str, at: int) -> str:
        if raw in _LITERALS or (len(raw) <= _LONGEST_NUMBER and _NUMBER.fullmatch(raw)):
            return raw
        if raw.lower() not in _LITERALS:
            self._note("a value that is none", at)
            return "null"
        return raw.lower()

    def _note(self, what: str, at: int) -> None:
        self.found.setdefault(what, self.begin + at)


def _percent_encoded(raw: re.Match[str]) -> str:
    return f"%{ord(raw[0]) - 0xDC00:02X}"


def _replaced(raw: re.Match[str]) -> str:
    return raw[0].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
