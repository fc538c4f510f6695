"""Faults, checks and reports of fixity, as either ledger keeps them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from archiver.core.fixity import Fixity, Judged
from archiver.core.fixity_faults import LONGEST_WORDS, FaultState, FixityFault
from archiver.core.fixity_report import Check, Sealed
from archiver.core.levels import Level
from archiver.core.manifest_read import read_manifest
from archiver.core.rebuilt import rebuilt
from archiver.core.slices import Checked, Course, slice_of
from archiver.core.whole_task import WholeTask
from tests.contracts.test_ledger_rounds import end_all_but
from tests.fixtures.archived import manifest, stem_of
from tests.fixtures.ledgers import LEASE, NOW, tid
from tests.house import Ledger

LATER = NOW + timedelta(days=1)
DAY = date(2026, 11, 27)


def gone(number: int, kind: Fixity = Fixity.MISSING) -> Judged:
    return Judged(f"p/{tid(number)}/vocal.mp3", kind, tid(number), "40 bytes", "nothing")


def archived(number: int, accepted_at: datetime) -> WholeTask:
    stem = stem_of("vocal", b"bytes", key=f"p/{tid(number)}/vocal.mp3")
    sealed = manifest([stem], task=tid(number), accepted_at=accepted_at.isoformat())
    return rebuilt(read_manifest(sealed), f"p/{tid(number)}/")


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def keys(*found: Judged) -> set[str]:
    return {each.key for each in found}


def test_fault_is_kept_as_it_was_found_until_a_later_check_closes_it(ledger: Ledger) -> None:
    assert (ledger.faults.standing(), ledger.faults.counts()) == ([], {})
    one, other = gone(1), gone(2, Fixity.MISMATCH)
    assert ledger.faults.note([one, other], now=NOW) == keys(one, other)
    assert ledger.faults.standing() == [
        FixityFault(one.key, Fixity.MISSING, tid(1), NOW, "40 bytes", "nothing"),
        FixityFault(other.key, Fixity.MISMATCH, tid(2), NOW, "40 bytes", "nothing"),
    ]
    assert ledger.faults.counts() == {Fixity.MISSING: 1, Fixity.MISMATCH: 1}
    ledger.faults.close([one.key, "p/of-nobody"], now=LATER)
    assert [fault.key for fault in ledger.faults.standing()] == [other.key]
    assert ledger.faults.counts() == {Fixity.MISMATCH: 1}
    assert ledger.faults.note([], now=NOW) == set()
    ledger.faults.close([], now=NOW)


def test_fault_that_is_found_again_keeps_its_time_and_another_kind_of_it_is_new(ledger: Ledger) -> None:
    ledger.faults.note([gone(1)], now=NOW)
    assert ledger.faults.note([gone(1)], now=LATER) == set()
    assert [fault.seen for fault in ledger.faults.standing()] == [NOW]
    worse = gone(1, Fixity.MISMATCH)
    assert ledger.faults.note([worse], now=LATER) == keys(worse)
    assert [(fault.kind, fault.seen) for fault in ledger.faults.standing()] == [(Fixity.MISMATCH, LATER)]


def test_fault_that_comes_back_after_it_was_closed_is_new(ledger: Ledger) -> None:
    ledger.faults.note([gone(1)], now=NOW)
    ledger.faults.close(keys(gone(1)), now=NOW)
    assert ledger.faults.note([gone(1)], now=LATER) == keys(gone(1))
    [fault] = ledger.faults.standing()
    assert (fault.seen, fault.state, fault.closed_at) == (LATER, FaultState.OPEN, None)


def test_words_of_a_fault_are_cut_and_the_oldest_come_first(ledger: Ledger) -> None:
    long = Judged("p/\u202e odd \U0001f3b5 key", Fixity.UNKNOWN, "", "x" * 9999, "y" * 9999)
    ledger.faults.note([gone(2)], now=LATER)
    ledger.faults.note([long], now=NOW)
    first, second = ledger.faults.standing()
    assert (first.key, len(first.expected), len(first.found)) == (long.key, LONGEST_WORDS, LONGEST_WORDS)
    assert second.key == gone(2).key
    assert ledger.faults.standing(1) == [first]


MANY = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 99997)
INSERT INTO faults (key, kind, task_id, seen, expected, found, state)
SELECT 'q/' || n, kind, task_id, seen, expected, found, state FROM faults, numbers
"""


def test_100_000_faults_are_kept_and_those_that_are_kept_can_still_change(ledger: Ledger) -> None:
    ledger.faults.note([gone(0)], now=NOW)
    with ledger.db.write() as db:
        db.exec_driver_sql(MANY)
    assert len(ledger.faults.note([gone(number) for number in range(1, 5)], now=NOW)) == 2
    assert ledger.faults.note([gone(9)], now=NOW) == set()
    worse = Judged(gone(0).key, Fixity.MISMATCH, tid(0))
    assert ledger.faults.note([worse], now=LATER) == keys(worse)
    assert ledger.faults.counts() == {Fixity.MISSING: 99_999, Fixity.MISMATCH: 1}


def test_oldest_check_is_that_of_the_slice_that_was_not_read_for_the_longest_time(ledger: Ledger) -> None:
    accepted = {1: NOW - timedelta(days=9), 2: NOW - timedelta(days=8)}
    mark = ledger.rebuilds.begin(now=NOW)
    ledger.rebuilds.take([archived(number, at) for number, at in accepted.items()], mark, mark)
    ledger.rebuilds.end(mark)
    assert ledger.checks.oldest(now=LATER) is None
    begun = ledger.rounds.begin(Course.READ, now=NOW)
    assert ledger.checks.oldest(now=LATER) == accepted[1]
    end_all_but(ledger, begun, {slice_of(tid(2))})
    with ledger.db.write() as db:
        db.exec_driver_sql(f"UPDATE slices SET ended_at = {micros(LATER)} WHERE ended_at IS NOT NULL")
    assert ledger.checks.oldest(now=LATER) == accepted[2]
    while (held := ledger.rounds.take(Course.READ, owner="us", now=NOW, lease=LEASE, round_=begun)) is not None:
        ledger.rounds.finish(held, Checked(), now=NOW)
    assert ledger.checks.oldest(now=LATER) == NOW
    assert ledger.checks.oldest(now=NOW - timedelta(days=1)) == NOW - timedelta(days=1)


def test_archive_of_nothing_has_no_oldest_check(ledger: Ledger) -> None:
    ledger.rounds.begin(Course.READ, now=NOW)
    assert ledger.checks.oldest(now=NOW) is None


def test_checks_wait_for_their_report_and_are_then_forgotten(ledger: Ledger) -> None:
    assert (ledger.checks.unreported(), ledger.checks.reports(), ledger.checks.last_report()) == ([], [], None)
    read = Check(Level.READ, NOW, LATER, {Fixity.OK: 12, Fixity.MISMATCH: 1}, tasks=1, bytes=2**40, slices=1)
    listed = Check(Level.LIST, NOW, LATER, {Fixity.OK: 14}, tasks=2, is_whole=False)
    ledger.checks.add(read)
    ledger.checks.add(listed)
    first, second = ledger.checks.unreported()
    assert (first.level, first.begun_at, first.ended_at, first.verdicts) == (Level.READ, NOW, LATER, read.verdicts)
    assert (first.tasks, first.bytes, first.slices, first.is_whole, first.objects) == (1, 2**40, 1, True, 13)
    assert (second.level, second.is_whole) == (Level.LIST, False)
    ledger.checks.reported(Sealed(DAY, "sha256:ab"), [first.number], now=NOW)
    assert ledger.checks.unreported() == [second]
    ledger.checks.reported(Sealed(DAY, "sha256:ab"), [first.number], now=LATER)
    ledger.checks.reported(Sealed(DAY - timedelta(days=1), "sha256:cd"), [], now=NOW)
    assert ledger.checks.reports() == [Sealed(DAY - timedelta(days=1), "sha256:cd"), Sealed(DAY, "sha256:ab")]
    assert ledger.checks.last_report() == Sealed(DAY, "sha256:ab")
    assert ledger.checks.unreported() == [second]


def test_acknowledged_fault_counts_apart_until_it_is_found_otherwise(ledger: Ledger) -> None:
    one, other = gone(1), gone(2)
    ledger.faults.note([one, other], now=NOW)
    assert ledger.faults.acknowledge(["p/of-nobody", ""], now=LATER) == []
    assert [each.key for each in ledger.faults.acknowledge([one.key, other.task_id], now=LATER)] == [one.key, other.key]
    assert ledger.faults.acknowledge([one.key], now=LATER) == []
    assert ledger.faults.acknowledged() == ledger.faults.counts() == {Fixity.MISSING: 2}
    assert [fault.acknowledged_at for fault in ledger.faults.standing()] == [LATER, LATER]
    assert ledger.faults.note([one, other], now=LATER) == set()
    assert ledger.faults.acknowledged() == {Fixity.MISSING: 2}
    worse, otherwise = replace(one, verdict=Fixity.MISMATCH), replace(other, found="something else")
    assert ledger.faults.note([worse, otherwise], now=LATER) == keys(worse, otherwise)
    assert (ledger.faults.acknowledged(), len(ledger.faults.standing())) == ({}, 2)


def test_acknowledged_fault_that_was_mended_and_comes_again_is_news(ledger: Ledger) -> None:
    ledger.faults.note([gone(1)], now=NOW)
    ledger.faults.acknowledge(keys(gone(1)), now=NOW)
    ledger.faults.close(keys(gone(1)), now=NOW)
    assert ledger.faults.acknowledged() == {}
    assert ledger.faults.acknowledge(keys(gone(1)), now=NOW) == []
    assert ledger.faults.note([gone(1)], now=LATER) == keys(gone(1))
    assert (ledger.faults.acknowledged(), ledger.faults.counts()) == ({}, {Fixity.MISSING: 1})
