"""The report of a day: sealed, one after the other; what is taken away or changed is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.fixity import FAULTS, Fixity
from archiver.core.fixity_faults import FixityFault
from archiver.core.fixity_report import (
    LARGEST,
    NAMED_MOST,
    Check,
    ReportBroken,
    ReportChain,
    Sealed,
    Standing,
    read_report,
    report_of,
)
from archiver.core.levels import Level
from archiver.core.manifest import seal_of
from tests.fixtures.fixity_reports import check_report
from tests.fixtures.ledgers import NOW

DAY = date(2026, 11, 27)
SOUND = Standing({}, (), NOW - timedelta(days=30))
READ = Check(Level.READ, NOW, NOW + timedelta(hours=1), {Fixity.OK: 10, Fixity.MISMATCH: 1}, 1, 500, 2)
LISTED = Check(Level.LIST, NOW - timedelta(hours=1), NOW, {Fixity.OK: 14}, 2, is_whole=False)


def report(day: date = DAY, previous: Sealed | None = None, *checks: Check, standing: Standing = SOUND) -> bytes:
    return report_of(day, checks or (READ, LISTED), standing, previous=previous, version="1.2.3", now=NOW)


def resealed(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(data)
    change(document)
    document["seal"] = f"sha256:{seal_of(document)}"
    return json.dumps(document).encode()


def chain(days: int) -> dict[date, bytes]:
    """A report a day, but for every third."""
    found: dict[date, bytes] = {}
    previous = None
    for number in range(days):
        if number % 3 != 2:
            day = DAY + timedelta(days=number)
            found[day] = report(day, previous, replace(READ, bytes=number))
            previous = Sealed(day, read_report(found[day]).seal)
    return found


def faults_of(reports: Mapping[date, bytes], *known: Sealed) -> dict[date, str]:
    work = ReportChain()
    for day, data in reports.items():
        work.add(day, data)
    return {each.day: each.why for each in work.found(known)}


def test_report_tells_the_sums_of_each_level_and_is_as_its_schema_has_it() -> None:
    said = json.loads(report(DAY, None, READ, LISTED, replace(READ, slices=3)))
    check_report(said)
    listed, read = said["checks"]
    assert (listed["level"], listed["checks"], listed["broken_off"], listed["slices"]) == ("list", 1, 1, 0)
    assert (read["level"], read["checks"], read["broken_off"], read["slices"]) == ("read", 2, 0, 5)
    assert (read["tasks"], read["objects"], read["bytes_read"]) == (2, 22, 1000)
    assert {verdict: count for verdict, count in read["verdicts"].items() if count} == {"ok": 20, "mismatch": 2}
    assert (said["date"], said["archiver"], said["previous"]) == ("2026-11-27", "1.2.3", None)
    assert (said["since"], said["until"]) == (LISTED.begun_at.isoformat(), READ.ended_at.isoformat())
    assert said["oldest_check"] == (NOW - timedelta(days=30)).isoformat()
    assert json.loads(report(standing=replace(SOUND, oldest_check=None)))["oldest_check"] is None


def test_report_names_the_first_faults_and_counts_all_within_its_bound() -> None:
    faults = [FixityFault("k" * 1000, Fixity.MISSING, "t" * 128, NOW, "\u202e" * 500, "é" * 500) for _ in range(1500)]
    data = report(standing=Standing({Fixity.MISSING: 1500, Fixity.UNKNOWN: 2}, faults, None))
    said = json.loads(data)["faults"]
    check_report(json.loads(data))
    assert (len(said["named"]), said["not_named"]) == (NAMED_MOST, 502)
    assert said["open"] == {kind.value: 0 for kind in Fixity if kind in FAULTS} | {"missing": 1500, "unknown": 2}
    assert len(data) < 2 * LARGEST
    assert data.isascii()


def test_report_is_read_as_it_was_written() -> None:
    before = Sealed(DAY - timedelta(days=3), "sha256:" + "ab" * 32)
    read = read_report(report(DAY, before))
    assert (read.day, read.until, read.previous) == (DAY, READ.ended_at, before)
    assert read_report(report(DAY, Sealed(before.day, ""))).previous == Sealed(before.day, "")


@given(st.data())
def test_report_of_which_a_character_was_changed_is_broken(data: st.DataObject) -> None:
    whole = report().decode()
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.characters(min_codepoint=32, max_codepoint=126).filter(lambda each: each != whole[at]))
    changed = (whole[:at] + other + whole[at + 1 :]).encode()
    try:
        same = json.loads(changed) == json.loads(whole)
    except ValueError:
        same = False
    if not same:
        with pytest.raises(ReportBroken):
            read_report(changed)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        resealed(report(), lambda document: document.update(previous="x")),
        resealed(report(), lambda document: document.update(date="yesterday")),
        resealed(report(), lambda document: document.pop("checks")),
        resealed(report(), lambda document: document.update(until=None)),
        resealed(report(), lambda document: document.update(previous={"date": "2026-01-01", "seal": 5})),
    ],
)
def test_bytes_that_are_no_report_are_broken_whoever_sealed_them(data: bytes) -> None:
    with pytest.raises(ReportBroken):
        read_report(data)


def test_whole_chain_has_no_fault_and_begins_anywhere() -> None:
    assert faults_of({}) == {}
    assert faults_of(chain(9)) == {}


@pytest.mark.parametrize("number", range(5))
def test_report_that_was_taken_away_is_named_also_the_last_where_the_ledger_knows_it(number: int) -> None:
    reports = chain(7)
    day = list(reports)[number]
    known = [Sealed(each, read_report(data).seal) for each, data in reports.items()]
    del reports[day]
    is_last = number == 4
    assert set(faults_of(reports)) == (set() if is_last else {day})
    assert set(faults_of(reports, *known)) == {day}
    assert "gone" in faults_of(reports, *known)[day]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("sealed", [False, True])
def test_report_that_was_changed_is_named_also_where_it_was_sealed_anew(number: int, *, sealed: bool) -> None:
    reports = chain(7)
    day = list(reports)[number]
    known = [Sealed(each, read_report(data).seal) for each, data in reports.items()]
    forged = resealed(reports[day], lambda document: document["faults"]["open"].update(missing=9))
    reports[day] = forged if sealed else reports[day].replace(b'"missing": 0', b'"missing": 9', 1)
    is_unseen = sealed and number == 4
    assert set(faults_of(reports)) == (set() if is_unseen else {day})
    assert set(faults_of(reports, *known)) == {day}


def test_report_under_the_name_of_another_day_is_named() -> None:
    reports = chain(2)
    reports[DAY + timedelta(days=9)] = reports[DAY]
    assert faults_of(reports) == {DAY + timedelta(days=9): "it is the report of 2026-11-27"}


def test_report_that_was_broken_when_its_successor_was_written_is_named_once() -> None:
    broken = b"{}"
    after = report(DAY + timedelta(days=1), Sealed(DAY, ""))
    assert faults_of({DAY: broken, DAY + timedelta(days=1): after}) == {DAY: "its seal is not that of its content"}
    assert "gone" in faults_of({DAY + timedelta(days=1): after})[DAY]
