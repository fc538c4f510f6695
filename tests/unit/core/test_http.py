from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archiver.core.http import content_codings, date_of, retry_after

TEN = "Mon, 23 Nov 2026 10:00:00 GMT"
YEAR = 366 * 86_400.0


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("7", "", 7.0),
        (" 120 ", TEN, 120.0),
        ("0", "", 0.0),
        ("31622399", "", YEAR - 1),
        ("31622401", "", YEAR),
        ("9" * 9, "", YEAR),
        ("9" * 5000, "", YEAR),
        ("0" * 5000 + "7", "", 7.0),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "", YEAR),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", TEN, YEAR),
        ("1 Jan " + "9" * 5000 + " 00:00", "", YEAR),
        ("Fri, 31 Dec 9999 23:59:59 -2359", TEN, YEAR),
        ("Mon, 01 Jan 0001 00:00:00 +2359", TEN, 0.0),
        ("Mon, 23 Nov 2026 10:01:30 GMT" + " " * 60_000 + "x", TEN, None),
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


words = st.sampled_from(
    [
        "Mon,",
        "Monday",
        "23",
        "Nov",
        "2026",
        "0",
        "-1",
        "9" * 12,
        "10:00:00",
        "24:61:61",
        "1:2",
        "GMT",
        "+9999",
        "-",
        ",",
        ":",
    ]
)
anything = st.text(max_size=80) | st.lists(words, max_size=8).map(" ".join) | st.lists(words, max_size=8).map("".join)


@given(value=anything, date=anything | st.just(TEN))
@example("Mon, 23 Nov 2026 10:00:00 +999999999999999999999", TEN)
@example(",", ",")
def test_any_text_is_a_bounded_wait_or_none(value: str, date: str) -> None:
    wait = retry_after({"retry-after": value, "date": date})
    assert wait is None or 0 <= wait <= YEAR
    moment = date_of(value)
    assert moment is None or moment.tzinfo is not None


def test_date_of_100_characters_is_read_and_one_of_101_is_none() -> None:
    assert date_of(TEN.ljust(100)) == datetime(2026, 11, 23, 10, tzinfo=UTC)
    assert date_of(TEN.ljust(101)) is None


def test_codings_are_looked_for_in_65_elements_and_no_further() -> None:
    assert content_codings({"content-encoding": "x," * 64 + "gzip"}) == ["gzip"]
    assert content_codings({"content-encoding": "x," * 65 + "gzip"}) == []
