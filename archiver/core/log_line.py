"""An event of the log as a line for people. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from archiver.core.redaction import Plain

_WIDTH = 18
"""Characters that the name of an event takes at least, so that fields stand below each other."""

_RESET, _BOLD, _DIM = "\x1b[0m", "\x1b[1m", "\x1b[2m"
_COLOURS = {"debug": _DIM, "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m"}
_PLAIN = re.compile(r"[\w./:+@%*-]+")

Paint = Callable[[str, str], str]


def line(event: Mapping[str, Plain], *, colour: bool) -> str:
    """Return the event on one line, without the fields that are null; below it, where an exception came from.

    Whatever could steer a terminal must be gone from the event; `colour` adds sequences of its own.
    """
    paint: Paint = _painted if colour else _plain
    fields = {key: value for key, value in event.items() if value is not None}
    time, level, name = (str(fields.pop(key, "")) for key in ("timestamp", "level", "event"))
    frames = fields.pop("exception") if isinstance(fields.get("exception"), list) else None
    head = f"{paint(time, _DIM)} {paint(f'{level:<8}', _COLOURS.get(level, ''))} {_named(name, paint)}"
    said = " ".join([head, *(f"{paint(f'{_word(key)}=', _DIM)}{_word(value)}" for key, value in fields.items())])
    return "\n    ".join([said.rstrip(), *map(str, frames if isinstance(frames, list) else ())])


def _named(name: str, paint: Paint) -> str:
    word = _word(name)
    return f"{paint(word, _BOLD)}{' ' * (_WIDTH - len(word))}"


def _painted(text: str, colour: str) -> str:
    return f"{colour}{text}{_RESET}" if colour else text


def _plain(text: str, colour: str) -> str:
    del colour
    return text


def _word(value: Plain) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
