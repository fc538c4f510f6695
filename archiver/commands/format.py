"""Values as people and programs read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TextIO

from archiver.core.clocks import units_of


def jsonable(value: object) -> object:
    """Return `value` as plain JSON types: datetimes as ISO 8601, spans as seconds, dataclasses as objects."""
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {str(jsonable(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [jsonable(item) for item in value]
    return value


def print_json(value: object, out: TextIO) -> None:
    """Print one JSON object on one line, in ASCII: no character of it can steer a terminal.

    Of an iterator in a mapping one item is held in memory at a time; what is callable there is called in its turn.
    """
    out.writelines(_json_parts(value))
    out.write("\n")


def _json_parts(value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and any(isinstance(item, Iterator) for item in value.values()):
        for number, (key, item) in enumerate(value.items()):
            yield f"{', ' if number else '{'}{json.dumps(str(jsonable(key)))}: "
            yield from _json_parts(item() if callable(item) else item)
        yield "}"
    elif isinstance(value, Iterator):
        yield "["
        for number, item in enumerate(value):
            yield f"{', ' if number else ''}{json.dumps(jsonable(item))}"
        yield "]"
    else:
        yield json.dumps(jsonable(value))


def span(delta: timedelta | None) -> str:
    """Return a span as people say it: `3d 4h`, `12m 5s`; a past one as `2h ago`."""
    if delta is None:
        return "-"
    text = " ".join(f"{count}{'dhms'[place]}" for count, place in units_of(delta))
    return f"{text} ago" if delta < timedelta() else text


def size(count: float) -> str:
    """Return bytes with a decimal unit: `5.2 MB`."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def counted(count: int, noun: str) -> str:
    """Return the number and the noun, which takes an s where the number is not 1: `1 task`, `0 tasks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
