"""The values of fields, in every spelling."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import pytest

from archiver.core.records.fields import code_of, id_of, moment_of, object_of
from archiver.core.records.record import record_of
from tests.unit.core.records.readers import SEPARATED, response


@pytest.mark.parametrize(
    "value",
    [
        1753782854000,
        1753782854,
        1753782854.0,
        "1753782854000",
        "1753782854",
        " 1753782854000 ",
        "2025-07-29T09:54:14.000Z",
        "2025-07-29T09:54:14+00:00",
        "2025-07-29T17:54:14+08:00",
        "2025-07-29T09:54:14",
        "2025-07-29 09:54:14",
    ],
)
def test_time_in_every_spelling_is_the_same_moment(value: object) -> None:
    record = record_of({"createTime": value, "completeTime": value})
    assert record.created_at == record.completed_at == SEPARATED
    assert record.created_at is not None
    assert record.created_at.utcoffset() == timedelta(0)


def test_time_without_zone_is_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "XYZ-8")
        time.tzset()
        record = record_of({"createTime": "2025-07-29 09:54:14"})
    time.tzset()
    assert record.created_at == SEPARATED


def test_time_keeps_its_milliseconds() -> None:
    assert record_of({"create_time": 1753782854123}).created_at == SEPARATED + timedelta(milliseconds=123)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "soon",
        True,
        0,
        -1,
        1,
        1e300,
        10**30,
        "9" * 39,
        "9" * 4000,
        [],
        {},
        "١٧٥٣٧٨٢٨٥٤",
        "1999-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        float("nan"),
        float("inf"),
    ],
)
def test_time_that_makes_no_sense_is_none(value: object) -> None:
    assert record_of({"createTime": value}).created_at is None


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (413, 413),
        ("531", 531),
        (500.0, 500),
        (0, None),
        ("0", None),
        (200, None),
        (None, None),
        (False, None),
        (10**30, None),
        ("many", None),
        (float("nan"), None),
    ],
)
def test_error_code(value: object, code: int | None) -> None:
    assert record_of({"errorCode": value}).error_code == code


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (194.92, 194.92),
        (3, 3.0),
        (0.5, 0.5),
        (0, None),
        (-1, None),
        (True, None),
        ("3", 3.0),
        (" 194.92 ", 194.92),
        ("0", None),
        ("-3", None),
        ("1e3", None),
        ("nan", None),
        (None, None),
        (float("inf"), None),
        (float("nan"), None),
        (10**400, None),
    ],
)
def test_duration_is_finite_and_positive(value: object, seconds: float | None) -> None:
    item = {"audio_url": "https://a.test/x.mp3", "duration": value}
    (stem,) = record_of(response(originData=[item])).stems
    assert stem.duration == seconds


def test_code_below_a_million_is_one_and_a_million_is_none() -> None:
    assert [code_of(each) for each in (999_999, -999_999, 1_000_000, -1_000_000)] == [999_999, -999_999, None, None]


def test_number_of_64_bits_is_an_id_and_a_larger_one_is_none() -> None:
    assert [id_of(each) for each in (2**64 - 1, 2**64)] == ["18446744073709551615", ""]


def test_time_of_40_characters_is_read_and_one_of_41_is_none() -> None:
    assert moment_of("2025-07-29T09:54:14".ljust(40)) == SEPARATED
    assert moment_of("2025-07-29T09:54:14".ljust(41)) is None


def test_json_is_taken_out_of_five_strings_and_no_further() -> None:
    def within(strings: int) -> str:
        text = json.dumps({"a": 1})
        for _ in range(strings - 1):
            text = json.dumps(text)
        return text

    assert [object_of(within(strings)) for strings in (5, 6)] == [{"a": 1}, {}]
