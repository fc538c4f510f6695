"""The fields of an HTTP answer that mean the same whoever answers. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MOST_DIGITS = 9


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After names (RFC 9110, 10.2.3); None where it names none.

    `headers` answers to lower-case names. A date is measured against the answer's own Date, so our clock does not
    matter. A number of more than nine digits is infinite.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value) if len(value) <= _MOST_DIGITS else math.inf
    at, now = date_of(value), date_of(headers.get("date", ""))
    return None if at is None or now is None else max(0.0, (at - now).total_seconds())


def date_of(value: str) -> datetime | None:
    """Return an HTTP date (RFC 9110, 5.6.7) in UTC where it names no zone; None for all else."""
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
