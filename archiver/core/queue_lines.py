"""The lines of a queue file: which ids they name. Pure; linear in the line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from archiver.core.model import TASK_ID_RULE, AccountName, TaskId, task_id
from archiver.core.named_task import ID_FIELDS, task_named_in
from archiver.core.said import BEGINS, UNSAID, Said, account_named, said_in, words_in
from archiver.core.text import printable, scrub

EXPECTED = f"expected a task id ({TASK_ID_RULE}), or a JSON object with taskId"
NO_TEXT = f"not UTF-8 text; {EXPECTED}"


class Named(NamedTuple):
    """The task that a line names, and what it says of it."""

    task_id: TaskId
    account: AccountName | None = None
    """None where the line names no account."""
    said: Said = UNSAID


@dataclass(frozen=True, slots=True)
class Parsed:
    """The finds in a line: a line may name several tasks, and hold something else besides."""

    named: tuple[Named, ...] = ()
    fault: str = ""
    """The reason why the line, or a part of it, names no task; quotes at most one character. Empty for none."""


USUAL_LENGTH = 32
"""Characters of the provider's ids."""


def has_digit(named: TaskId) -> bool:
    """Return whether the id holds a digit, as all of the provider's do, and few words that only look like one."""
    return any(map(str.isdigit, named))


def doubt_of(named: TaskId) -> str:
    """Return why the id, which is taken, may be none; empty where nothing speaks against it."""
    if len(named) != 2 * USUAL_LENGTH:
        return ""
    return (
        f"it was taken, but has {len(named)} characters, twice as many as is usual: perhaps two ids without a line end "
        "between them; append each on a line of its own"
    )


# ---------------------------------------------------------------------- characters

_INVISIBLE = (
    (0x00, 0x20),
    (0x7F, 0xA0),
    (0xAD, 0xAD),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x1680, 0x1680),
    (0x180B, 0x180F),
    (0x2000, 0x200F),
    (0x2028, 0x202F),
    (0x205F, 0x206F),
    (0x2800, 0x2800),
    (0x3000, 0x3000),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF9, 0xFFFB),
    (0xE0000, 0xE01EF),
)
PADDING = "".join(map(chr, chain.from_iterable(range(first, last + 1) for first, last in _INVISIBLE)))
"""Characters that nobody sees: blanks, controls, marks of direction and joining. Around an id they mean nothing."""

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")


def _text_of(line: bytes) -> str:
    """Return the line as text; raise ValueError where it is none.

    NULs at its ends are a file system's, left by a crash. Where a third of it is NUL it is UTF-16, as PowerShell's
    `>` writes it; cut at its line ends, each line but the first begins with half a character.
    """
    bare = line
    for mark in _BYTE_ORDER_MARKS:
        bare = bare.removeprefix(mark)
    bare = bare.strip(b"\0")
    try:
        if 3 * bare.count(0) >= len(bare) > 0:
            text = (bare + b"\0" * (len(bare) % 2)).decode("utf-16-le").strip(PADDING)
        else:
            text = bare.decode("utf-8").strip(PADDING)
    except UnicodeDecodeError:
        raise ValueError(NO_TEXT) from None
    if _CONTROL.search(text):
        raise ValueError(NO_TEXT)
    return text


# ---------------------------------------------------------------------- one entry

_ID_CHARACTERS = re.compile(r"[A-Za-z0-9_-]*")
_SEPARATOR = re.compile(r"[,;]")
_LINE_END = re.compile(r"[\r\n]+")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object; of a task's id that is named again all values, in a list: none is lost for another."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for name in ID_FIELDS:
            values = [value for key, value in pairs if key == name and value not in (None, "")]
            if len(values) > 1:
                found[name] = values
    return found


_JSON = json.JSONDecoder(object_pairs_hook=_object)


def parse_entry(entry: bytes) -> Parsed:
    """Return the ids that a line names, or a JSON text over several lines; nothing for a blank line or a comment."""
    try:
        text = _text_of(entry)
    except ValueError as error:
        return Parsed(fault=str(error))
    if text[:1] in ("{", "["):
        whole = _json(text)
        if not whole.fault or not _LINE_END.search(text):
            return whole
        return Parsed(_joined(_LINE_END.split(text)).named or whole.named, whole.fault)
    return _joined(_LINE_END.split(text))


def _joined(lines: list[str]) -> Parsed:
    found = [_line(each.strip(PADDING)) for each in lines]
    named = tuple(chain.from_iterable(each.named for each in found))
    return Parsed(named, next((each.fault for each in found if each.fault), ""))


def _line(text: str) -> Parsed:
    if not text or text.startswith("#"):
        return Parsed()
    if text[0] == "{" or (text[0] == "[" and text[1:].lstrip()[:1] in ('"', "{", "]")):
        return _json(text)
    end = BEGINS.search(text)
    bare, rest = (text, "") if end is None else (text[: end.start()], text[end.start() :])
    try:
        words = words_in(rest)
        account = account_named(words["account"]) if "account" in words else None
        return Parsed(tuple(Named(each, account, said_in(words, each)) for each in _words(bare)))
    except ValueError as error:
        return Parsed(fault=str(error))


def _words(bare: str) -> Iterator[TaskId]:
    """Yield the ids of a line that is no JSON: one, one in a link, or several of one length with commas between."""
    if "://" in bare:
        yield _id_in_link(bare)
        return
    words = [word for each in _SEPARATOR.split(bare) if (word := each.strip(PADDING + "\"'"))]
    for word in words:
        alike = word is words[0] or (len(word) == len(words[0]) and any(map(str.isdigit, word)))
        if not alike:
            raise ValueError(f"several words, and not each can be an id; {EXPECTED}")
        yield _id(word)
    if not words:
        raise ValueError(EXPECTED)


def _id(word: str) -> TaskId:
    try:
        return task_id(word)
    except ValueError:
        wrong = _ID_CHARACTERS.match(word)
        at = len(word) if wrong is None else wrong.end()
        where = f"it has {len(word)} characters" if at == len(word) else f"character {at + 1} is {_shown(word[at])}"
        raise ValueError(f"{EXPECTED}; {where}") from None


def _shown(character: str) -> str:
    return repr(character) if " " <= character <= "~" else f"U+{ord(character):04X}"


def _id_in_link(text: str) -> TaskId:
    try:
        query = parse_qs(urlsplit(text).query, max_num_fields=100)
        [found] = {value for name in ID_FIELDS for value in query.get(name, ())}
        return task_id(found)
    except ValueError:
        raise ValueError(f"a link without one taskId; {EXPECTED}") from None


# ---------------------------------------------------------------------- JSON


def _json(text: str) -> Parsed:
    """Return the ids of all JSON values that stand one behind the other, with blanks or commas between."""
    named: list[Named] = []
    fault, at = "", 0
    while (at := _next_value(text, at)) < len(text):
        try:
            value, at = _JSON.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            place = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
            return Parsed(tuple(named), f"broken JSON{place}; {EXPECTED}")
        try:
            named += _named_in(value)
        except ValueError as error:
            fault = fault or str(error)
        except RecursionError:
            fault = fault or EXPECTED
    return Parsed(tuple(named), fault)


_BETWEEN = re.compile(r"[\s,]*(?:(?<=\s)#.*)?", re.DOTALL)


def _next_value(text: str, at: int) -> int:
    between = _BETWEEN.match(text, at)
    return at if between is None else between.end()


_KEPT = (*ID_FIELDS, "data", "account", "kind", "title", "parent")
"""The fields of an object that are read."""


def _named_in(value: object) -> Iterator[Named]:
    if isinstance(value, str):
        yield Named(_id(value))
    elif isinstance(value, list):
        for each in value:
            yield from _named_in(each)
    elif isinstance(value, Mapping) and isinstance(value.get("data"), list) and not set(ID_FIELDS) & set(value):
        yield from _named_in(value["data"])
    elif (
        isinstance(value, Mapping)
        and len(many := [each for each in ID_FIELDS if isinstance(value.get(each), list)]) == 1
    ):
        kept = {key: value[key] for key in _KEPT if key in value}
        for each in value[many[0]]:
            yield from _named_in({**kept, many[0]: each})
    else:
        words = value if isinstance(value, Mapping) else {}
        named, account = task_named_in(value), words.get("account")
        yield Named(named, None if account is None else account_named(account), said_in(words, named))


_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[{}\[\]]', re.DOTALL)
_MORE = re.compile(rb"""[\s"}\],]|(?:null|true|false|-?[0-9][0-9.eE+-]*)[\s,]""")

_BARE_ID = re.compile(rb"\s*+(?![0-9]*+\s)[A-Za-z0-9_-]{8,128}(?:\s|$)")


def opened(line: bytes) -> int:
    """Return how many brackets of JSON the line leaves open; negative where it closes more than it opens."""
    brackets = [each[0] for each in _BRACKET.findall(line)]
    return sum((each in b"{[") - (each in b"}]") for each in brackets)


def begins_json(line: bytes) -> bool:
    """Return whether the line begins a JSON text that goes on in the next."""
    bare = line.lstrip(b" \t\0\xef\xbb\xbf")
    return bare[:1] in (b"{", b"[") and opened(bare) > 0


def goes_on(line: bytes) -> bool:
    """Return whether the line can be one of a JSON text that was begun before: a plain id cannot."""
    return _MORE.match(line) is not None and _BARE_ID.match(line) is None


# ---------------------------------------------------------------------- what a person is shown

_LONG_WORD = re.compile(r"""([^\s"',:{}\[\]]{6})[^\s"',:{}\[\]]{14,}""")


def excerpt_of(line: bytes) -> str:
    """Return at most 200 printable characters of a rejected line.

    Such a line may be a key or a link pasted into the wrong window: URLs lose their query, and long words all but
    their first six characters.
    """
    text = scrub(line[:4096].decode("utf-8", errors="replace"))
    text = _LONG_WORD.sub("\\1…", text)
    return printable(text[:200], "\N{REPLACEMENT CHARACTER}")
