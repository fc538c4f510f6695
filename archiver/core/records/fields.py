"""The values of a record's fields, however the provider spells them. Nothing here raises."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from archiver.core.clocks import EPOCH
from archiver.core.records.blemished import LENIENT, NotJson, read_blemished_text
from archiver.core.text import MAX_TEXT

_LARGEST_CODE: Final = 1_000_000
_LARGEST_ID: Final = 1 << 64
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_LARGEST_SECONDS: Final = 10_000_000_000
_LONGEST_TIME: Final = 40

_DEEPEST: Final = 5
"""Strings of JSON within strings of JSON."""


def first_of(entry: Mapping[str, object], *keys: str) -> object:
    """Return the first value that is neither null nor blank; None when there is none."""
    values = (entry.get(key) for key in keys)
    return next(
        (value for value in values if value is not None and not (isinstance(value, str) and not value.strip())), None
    )


def text_of(value: object) -> str:
    """Return a string; empty for all else."""
    return value if isinstance(value, str) else ""


def object_of(value: object) -> Mapping[str, object]:
    """Return an object, also one that came as JSON inside a string; an empty one for all else."""
    inner = unwrapped(value)
    return inner if isinstance(inner, dict) else {}


def unwrapped(value: object) -> object:
    """Return JSON out of its string, be it a string of JSON again and again; all else as it is."""
    for _ in range(_DEEPEST):
        if not isinstance(value, str):
            break
        inner = _blemished_in(value)
        if inner is None and value.lstrip().startswith('"'):
            with suppress(ValueError):
                inner = json.loads(value, strict=False)
        if inner is None:
            break
        value = inner
    return value


def _blemished_in(text: str) -> object:
    inner = json_in(text)
    if inner is None:
        with suppress(NotJson):
            return read_blemished_text(text).value
    return inner


def json_in(text: str) -> dict[str, object] | list[object] | None:
    """Return the object or array that stands as JSON in `text`, raw control characters or not; None for all else."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        inner = LENIENT.decode(text)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, dict | list) else None


def code_of(value: object) -> int | None:
    """Return an integer, also one spelled as text; None for all else."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,6}\s*", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST_CODE:
        return None
    return int(value) if value == int(value) else None


def id_of(value: object) -> str:
    """Return an id, be it a string or an integer, bounded in length; empty for all else."""
    return str(value) if isinstance(value, int) and abs(value) < _LARGEST_ID else text_of(value)[:MAX_TEXT]


def duration_of(value: object) -> float | None:
    """Return a number of seconds that is finite and positive, also one spelled as text; None for all else."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}(?:\.[0-9]{0,9})?\s*", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def moment_of(value: object) -> datetime | None:
    """Read a time: epoch milliseconds or seconds, as number or text, or ISO 8601 (UTC where it names no zone).

    None for all else, and for what lies outside the years 2000 to 2099.
    """
    try:
        moment = _any_moment(value)
    except (ValueError, OverflowError):
        return None
    return moment if moment is not None and _EARLIEST <= moment < _LATEST else None


def _any_moment(value: object) -> datetime | None:
    if isinstance(value, str) and len(value) <= _LONGEST_TIME:
        text = value.strip()
        if not re.fullmatch(r"[0-9]+(?:\.[0-9]*)?", text):
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        value = float(text) if "." in text else int(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    span = timedelta(seconds=value) if abs(value) < _LARGEST_SECONDS else timedelta(milliseconds=value)
    return EPOCH + span
