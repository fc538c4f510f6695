"""The fields of an HTTP answer that mean the same whoever answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

PORTS = {"https": 443, "http": 80}

LONGEST = 366 * 24 * 3600.0
"""Seconds; a Retry-After that names more, or a date beyond any, is taken for so many."""

_FIRST, _END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

_CODINGS = frozenset(
    (
        *("gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress", "dcb", "dcz"),
        *("exi", "pack200-gzip", "aes128gcm"),
    )
)
"""Content codings that are registered, with the older names of two."""
_CODING_LENGTH = 32
_CODINGS_MOST = 64

_FAR_DATE = re.compile(r"(?:[A-Za-z]{3,9}, ?)?[0-9]{1,2}[ -][A-Za-z]{3}[ -][0-9]{5,} [0-9:]{4,8}(?: [A-Z0-9+-]{1,5})?")
"""A date of a year that no datetime holds."""
_DIGITS_OF_LONGEST = 8
_LONGEST_DATE = 100
"""Characters; what is longer is no date."""


def content_codings(headers: Mapping[str, str]) -> list[str]:
    """Return the codings that the body is in (RFC 9110, 8.4), in lower case.

    `identity`, `none`, `UTF-8`, `aws-chunked` and the like are left out: no coding is registered by such a name, so the
    bytes come as they are. `headers` answers to lower-case names.
    """
    named = headers.get("content-encoding", "").lower().split(",", _CODINGS_MOST)
    return [coding for each in named if (coding := each.strip()[:_CODING_LENGTH]) in _CODINGS]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After names (RFC 9110, 10.2.3), LONGEST at most; None where it names none.

    `headers` answers to lower-case names. A date is measured against the answer's own Date, so our clock does not
    matter.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        digits = value.lstrip("0")
        return min(float(digits or 0), LONGEST) if len(digits) <= _DIGITS_OF_LONGEST else LONGEST
    if _FAR_DATE.fullmatch(value):
        return LONGEST
    at, now = date_of(value), date_of(headers.get("date", ""))
    return None if at is None or now is None else min(max(0.0, (at - now).total_seconds()), LONGEST)


def time_named(headers: Mapping[str, str]) -> datetime | None:
    """Return what Date says that the time is; None where it says none, or one that no working clock shows."""
    date = date_of(headers.get("date", ""))
    return date if date is not None and _FIRST <= date < _END else None


def date_of(value: str) -> datetime | None:
    """Return an HTTP date (RFC 9110, 5.6.7) in UTC where it names no zone; None for all else."""
    if len(value) > _LONGEST_DATE:
        return None
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, LookupError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
