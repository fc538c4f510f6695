import math
from datetime import UTC, datetime

import pytest

from archiver.core.http import date_of, retry_after

TEN = "Mon, 23 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("7", "", 7.0),
        (" 120 ", TEN, 120.0),
        ("0", "", 0.0),
        ("9" * 9, "", 999_999_999.0),
        ("1" + "0" * 9, "", math.inf),
        ("9" * 5000, "", math.inf),
        ("Mon, 23 Nov 2026 10:01:30 GMT", TEN, 90.0),
        ("Mon, 23 Nov 2026 10:01:30 -0000", TEN, 90.0),
        ("Mon, 23 Nov 2026 09:00:00 GMT", TEN, 0.0),
        ("Mon, 23 Nov 2026 10:01:30 GMT", "", None),
        ("Mon, 23 Nov 2026 10:01:30 GMT", "now", None),
        ("soon", TEN, None),
        ("-5", TEN, None),
        ("1e9", TEN, None),
        ("\N{SUPERSCRIPT TWO}", TEN, None),
        ("", TEN, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_answers_own_clock(
    value: str, date: str, seconds: float | None
) -> None:
    assert retry_after({"retry-after": value, "date": date}) == seconds


def test_retry_after_of_an_answer_without_the_field_is_none() -> None:
    assert retry_after({}) is None


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (TEN, datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("Mon, 23 Nov 2026 10:00:00 -0000", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("Mon, 23 Nov 99999999999 10:00:00 GMT", None),
        ("2026-11-23", None),
    ],
)
def test_date_is_read_in_utc(value: str, moment: datetime | None) -> None:
    assert date_of(value) == moment
