"""Spans, sizes and rates as operators write them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import timedelta

from archiver.core.bandwidth import DAYS, Timetable, Window

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

_SPANS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_LONGEST = timedelta(days=365_000)
"""A thousand years: from today it leads to a date, forward and back."""
_SPAN = re.compile(r"(?<!\d)(\d+(?:\.\d+)?)(ms|[wdhms])", re.ASCII)
_SPAN_SHOWN = re.compile(rf"\s*(?:{_SPAN.pattern}\s*)+", re.ASCII)
_SIZES = {"tib": 1 << 40, "gib": GIB, "mib": MIB, "kib": KIB, "tb": 10**12, "gb": 10**9, "mb": 10**6, "kb": 10**3}
_SIZE = re.compile(r"\s*(\d{1,15}(?:\.\d{1,15})?)(?:\s*([kmgt]i?b|b))?\s*", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"\s*\d+(?:\.\d+)?\s*", re.ASCII)


def parse_duration(value: object) -> timedelta:
    """Read `14d`, `30s`, `1h30m`, `500ms`, or a plain number of seconds; raise ValueError for anything else."""
    if isinstance(value, timedelta):
        return value
    try:
        span = _span(value)
    except OverflowError:
        span = timedelta.max
    if span is None:
        raise ValueError(f"is no duration: {shown(value)}")
    if span > _LONGEST:
        raise ValueError("is longer than any clock can tell")
    return span


def _span(value: object) -> timedelta | None:
    if isinstance(value, str) and _SPAN_SHOWN.fullmatch(value):
        return sum((float(n) * _SPANS[unit] for n, unit in _SPAN.findall(value)), timedelta())
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return timedelta(seconds=float(value))
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return timedelta(seconds=value)
    return None


def show_duration(span: timedelta) -> str:
    """Write a span as `parse_duration` reads it, in the largest units that are exact."""
    left, text = span, ""
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, _SPANS[unit])
        text += f"{count}{unit}" if count else ""
    return text + (f"{left.microseconds / 1000:g}ms" if left else "") or "0s"


def parse_interval(value: object) -> timedelta:
    """Read a span, or `off`, which is a span of zero; raise ValueError for anything else."""
    return timedelta() if isinstance(value, str) and value.strip().lower() == "off" else parse_duration(value)


def show_interval(span: timedelta) -> str:
    """Write a span as `parse_interval` reads it."""
    return show_duration(span) if span else "off"


def parse_size(value: object) -> int:
    """Read `2GiB` (1024), `64KB` (1000), or a plain number of bytes; raise ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"is no size: {shown(value)}")
    size = float(found[1]) * _SIZES.get((found[2] or "b").lower(), 1)
    if size != int(size):
        raise ValueError(f"is no whole number of bytes: {shown(value)}")
    return int(size)


def show_size(size: int) -> str:
    """Write a size as `parse_size` reads it, in the largest unit that is exact."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        count, rest = divmod(size, _SIZES[unit.lower()])
        if count and not rest:
            return f"{count}{unit}"
    return f"{size}B"


def parse_rate(value: object) -> int:
    """Read `16KiB/s`, or a plain number of bytes a second; raise ValueError for anything else."""
    if isinstance(value, str):
        if not value.rstrip().endswith("/s"):
            raise ValueError(f"is no rate (a size and /s): {shown(value)}")
        value = value.rstrip().removesuffix("/s")
    return parse_size(value)


_WINDOW = re.compile(r"(?:([a-z]+)-)?([01]?\d|2[0-3]):([0-5]\d),(\S+)", re.ASCII | re.IGNORECASE)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_BANDWIDTH = re.compile(r"([\d.]+)(b|([kmgt])(i?b)?)(?:/s)?", re.ASCII | re.IGNORECASE)


def parse_bandwidth(value: object) -> Timetable:
    """Read `10MiB`, `off`, or a timetable such as `08:00,512KiB Sat-10:00,off`; raise ValueError for anything else.

    `/s` may follow a rate, and `M` is `MiB`, as rclone has it; entries are set apart by spaces or semicolons.
    A bare number is refused: rclone would take it for KiB.
    """
    if isinstance(value, Timetable):
        return value
    entries = re.split(r"[\s;]+", value.strip(" ;\t\n")) if isinstance(value, str) else [""]
    if len(entries) == 1 and "," not in entries[0]:
        return Timetable((Window(0, _bandwidth(entries[0], value)),))
    windows = tuple(_windows(entries))
    if len({(window.day, window.minute) for window in windows}) < len(windows):
        raise ValueError("names a time twice")
    return Timetable(windows)


def _windows(entries: list[str]) -> Iterator[Window]:
    for entry in entries:
        found = _WINDOW.fullmatch(entry)
        if found is None:
            raise ValueError(f"is no timetable (HH:MM,RATE or Mon-HH:MM,RATE): {shown(entry)}")
        yield Window(int(found[2]) * 60 + int(found[3]), _bandwidth(found[4], entry), _weekday(found[1]))


def _weekday(name: str | None) -> int | None:
    if name is None:
        return None
    for number, day in enumerate(_WEEKDAYS):
        if name.lower() in {day, day[:3]}:
            return number
    raise ValueError(f"names no day of the week: {shown(name)}")


def _bandwidth(text: str, whole: object) -> int | None:
    if text.lower() == "off":
        return None
    found = _BANDWIDTH.fullmatch(text)
    if found is None:
        raise ValueError(f"is no bandwidth (a size with its unit, or off): {shown(whole)}")
    rate = parse_size(found[1] + found[2] + ("iB" if found[3] and not found[4] else ""))
    if rate < KIB:
        raise ValueError(f"must be 1KiB a second or more, or off: {shown(whole)}")
    return rate


def show_bandwidth(timetable: Timetable) -> str:
    """Write a timetable as `parse_bandwidth` reads it."""
    if timetable.windows == (Window(0, timetable.windows[0].rate),):
        return _show_rate(timetable.windows[0].rate)
    return " ".join(
        f"{'' if window.day is None else DAYS[window.day] + '-'}{window.minute // 60:02}:{window.minute % 60:02},"
        f"{_show_rate(window.rate)}"
        for window in timetable.windows
    )


def _show_rate(rate: int | None) -> str:
    return "off" if rate is None else f"{show_size(rate)}/s"


def parse_count(value: object) -> int:
    """Read a whole number; raise ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,18}\s*", value, re.ASCII):
        return int(value)
    raise ValueError(f"is no whole number: {shown(value)}")


def parse_concurrency(value: object) -> int | str:
    """Read a whole number or `auto`; raise ValueError for anything else."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    try:
        return parse_count(value)
    except ValueError:
        raise ValueError(f"is neither a whole number nor auto: {shown(value)}") from None


def parse_list(value: object) -> object:
    """Read `a, b` as a list; leave what is no text alone."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def parse_pairs(value: object) -> object:
    """Read `a=b, c=d` as a mapping; leave what is no text alone; raise ValueError for an item without `=`."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not equals for _, equals, _ in pairs):
        raise ValueError("is no list of name=value, joined by commas")
    return {name.strip(): text.strip() for name, _, text in pairs}


def parse_tables(value: object) -> object:
    """Read a JSON array of objects as tables; leave what is no text alone; raise ValueError, echoing none of it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "[]")
    except (ValueError, RecursionError):
        raise ValueError("is no JSON array of objects") from None


def shown(value: object) -> str:
    """Return a value as it may stand in a message: short, and in printable ASCII."""
    return ascii(value)[:60]
