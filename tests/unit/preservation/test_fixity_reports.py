"""Reports of checks in the bucket: one a day that had any, whoever writes it and wherever that ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from archiver.core.errors import LedgerFault, StoreBusy
from archiver.core.fixity import Fixity, Judged
from archiver.core.fixity_report import Check, Sealed, read_report
from archiver.core.keys import fixity_day, fixity_key
from archiver.core.levels import Level
from archiver.ports.runtime import Checkpoint, unobserved
from archiver.preservation.fixity_reports import FixityReports, ReportSchedule, chain_faults
from tests.fakes.events import Events
from tests.fakes.object_store import FakeStore
from tests.fakes.time import Clock
from tests.fixtures.fixity_reports import check_report
from tests.fixtures.ledgers import ready_ledger
from tests.house import Ledger

PREFIX = "stems/"
FOLDER = f"{PREFIX}_archive/fixity/"


class Killed(BaseException):
    """The end of the process."""


@dataclass
class Site:
    """A ledger, a bucket, and processes that report the checks of the one into the other."""

    ledger: Ledger
    clock: Clock = field(default_factory=Clock)
    store: FakeStore = field(default_factory=FakeStore)
    log: Events = field(default_factory=Events)
    usable: bool = True
    ensured: int = 0

    def reports(self, checkpoint: Checkpoint = unobserved, ledger: Ledger | None = None) -> FixityReports:
        its = ledger or self.ledger
        return FixityReports(
            its.checks,
            its.faults,
            self.store,
            self.store.archive,
            self._ensure,
            PREFIX,
            "0.2.0",
            lambda: b"{}",
            self.clock,
            lambda: self.clock.now - timedelta(days=7),
            checkpoint,
        )

    def check(self, ok: int = 5, ledger: Ledger | None = None, **counts: Any) -> None:  # noqa: ANN401 - of Check
        now = self.clock.now
        check = Check(Level.READ, now - timedelta(minutes=5), now, {Fixity.OK: ok}, **counts)
        (ledger or self.ledger).checks.add(check)

    def days(self) -> list[str]:
        return sorted(key.removeprefix(FOLDER) for key in self.store.objects if key.startswith(FOLDER))

    def objects(self) -> int:
        """How many objects all reports say were judged."""
        said = [json.loads(data) for key, data in self.store.objects.items() if key.startswith(FOLDER)]
        return sum(each["objects"] for report in said for each in report["checks"])

    def chain(self) -> dict[date, str]:
        known = self.ledger.checks.reports()
        return {each.day: each.why for each in chain_faults(self.store.archive, PREFIX, known)}

    def _ensure(self) -> None:
        self.ensured += 1


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with closing(ready_ledger(tmp_path)) as ledger:
        yield Site(ledger)


def test_key_is_that_of_its_day_and_tells_it_again() -> None:
    day = date(2026, 11, 27)
    assert fixity_key(PREFIX, day) == "stems/_archive/fixity/2026-11-27.json"
    assert fixity_day(PREFIX, fixity_key(PREFIX, day)) == day
    for strange in ("", "2026-11-27", "2026-11-27.json/x", "2026-13-27.json", "2026-11-27.json\n", "20261127.json"):
        assert fixity_day(PREFIX, FOLDER + strange) is None


def test_day_without_checks_has_no_report_and_asks_the_store_nothing(site: Site) -> None:
    site.store.fail("objects", StoreBusy("asked"))
    assert site.reports().write() is None
    assert (site.store.objects, site.ensured) == ({}, 0)


def test_first_report_stands_beside_its_schema_and_tells_what_was_found(site: Site) -> None:
    site.check(ok=7, tasks=1, bytes=400, slices=1)
    site.ledger.faults.note([Judged("p/x", Fixity.MISSING, "t", "40 bytes", "nothing")], now=site.clock.now)
    sealed = site.reports().write()
    assert set(site.store.objects) == {f"{FOLDER}2026-11-01.json", f"{PREFIX}_archive/fixity-1.schema.json"}
    said = json.loads(site.store.objects[f"{FOLDER}2026-11-01.json"])
    check_report(said)
    assert sealed == Sealed(date(2026, 11, 1), said["seal"])
    assert (said["archiver"], said["previous"], said["checks"][0]["objects"]) == ("0.2.0", None, 7)
    assert said["oldest_check"] == "2026-10-25T00:00:00+00:00"
    assert [fault["key"] for fault in said["faults"]["named"]] == ["p/x"]
    assert site.ledger.checks.unreported() == []
    assert site.ensured == 1


def test_there_is_one_report_a_day_and_what_comes_later_is_in_the_next(site: Site) -> None:
    for hour in range(72):
        if hour // 24 != 1:
            site.check(ok=1)
        site.reports().write()
        site.clock.forward(hours=1)
    site.check(ok=1)
    site.reports().write()
    assert site.days() == ["2026-11-01.json", "2026-11-02.json", "2026-11-03.json", "2026-11-04.json"]
    assert site.objects() == 49
    assert site.chain() == {}
    assert [site.store.written[f"{FOLDER}{day}"] for day in site.days()] == [1] * 4


@pytest.mark.parametrize("number", range(3))
def test_report_that_was_taken_away_or_changed_is_named(site: Site, number: int) -> None:
    for _ in range(3):
        site.check()
        site.reports().write()
        site.clock.forward(days=1)
    key = FOLDER + site.days()[number]
    whole = site.store.objects[key]
    site.store.objects[key] = whole.replace(b'"objects": 5', b'"objects": 6', 1)
    assert site.chain() == {date(2026, 11, number + 1): "its seal is not that of its content"}
    del site.store.objects[key]
    [(day, why)] = site.chain().items()
    assert (day, "it is gone" in why) == (date(2026, 11, number + 1), True)


@pytest.mark.parametrize("later", [timedelta(), timedelta(days=1), timedelta(days=9)])
@pytest.mark.parametrize("step", ["fixity.report_put", "fixity.report_noted"])
def test_process_that_dies_between_bucket_and_ledger_reports_nothing_twice(
    site: Site, step: str, later: timedelta
) -> None:
    def die(reached: str) -> None:
        if reached == step:
            raise Killed

    site.check(ok=3)
    with pytest.raises(Killed):
        site.reports(die).write()
    stood = dict(site.store.objects)
    site.clock.forward(minutes=1)
    site.check(ok=4)
    site.clock.now += later
    site.reports().write()
    assert {key: site.store.objects[key] for key in stood} == stood
    site.clock.forward(days=1)
    site.reports().write()
    assert (site.objects(), site.ledger.checks.unreported(), site.chain()) == (7, [], {})


def test_second_writer_of_a_day_leaves_the_first_ones_report_and_its_own_checks_to_the_next_day(site: Site) -> None:
    site.check(ok=3)

    def between(method: str, key: str) -> None:
        if method == "put_document" and key.endswith("-01.json"):
            site.store.before = lambda _method, _key: None
            site.check(ok=4)
            site.reports().write()

    site.store.before = between
    mine = site.reports().write()
    assert site.days() == ["2026-11-01.json"]
    assert mine == site.ledger.checks.last_report()
    assert site.objects() == 7
    site.clock.forward(days=1)
    site.check(ok=1)
    site.reports().write()
    assert (site.objects(), site.ledger.checks.unreported(), site.chain()) == (8, [], {})


def test_report_of_another_ledger_is_left_and_its_checks_are_not_taken_for_ours(tmp_path: Path, site: Site) -> None:
    (tmp_path / "other").mkdir()
    with closing(ready_ledger(tmp_path / "other")) as other:
        site.check(ok=100, ledger=other)
        site.reports(ledger=other).write()
        site.check(ok=3)
        site.reports().write()
        assert (site.objects(), len(site.ledger.checks.unreported())) == (100, 1)
        site.clock.forward(days=1)
        site.reports().write()
        assert (site.objects(), site.ledger.checks.unreported(), site.chain()) == (103, [], {})


def test_ledger_that_was_lost_goes_on_with_the_chain_of_the_bucket(tmp_path: Path, site: Site) -> None:
    site.check()
    first = site.reports().write()
    site.clock.forward(days=1)
    (tmp_path / "new").mkdir()
    with closing(ready_ledger(tmp_path / "new")) as new:
        site.check(ledger=new)
        site.reports(ledger=new).write()
    assert first is not None
    assert read_report(site.store.objects[f"{FOLDER}2026-11-02.json"]).previous == first
    assert site.chain() == {}


@pytest.mark.parametrize("theirs", [b"{}", b"x" * (5 << 20)])
def test_broken_report_is_left_and_the_next_one_names_its_day(site: Site, theirs: bytes) -> None:
    site.store.objects[f"{FOLDER}2026-10-31.json"] = theirs
    site.check()
    site.reports().write()
    assert read_report(site.store.objects[f"{FOLDER}2026-11-01.json"]).previous == Sealed(date(2026, 10, 31), "")
    assert site.store.objects[f"{FOLDER}2026-10-31.json"] == theirs
    assert set(site.chain()) == {date(2026, 10, 31)}


def test_report_of_a_clock_that_ran_ahead_hides_none_of_the_days_before_it(site: Site) -> None:
    now = site.clock.now
    site.clock.now = datetime(2036, 5, 1, tzinfo=UTC)
    site.check()
    site.reports().write()
    site.clock.now = now
    for _ in range(2):
        site.check()
        site.reports().write()
        site.clock.forward(days=1)
    assert site.days() == ["2026-11-01.json", "2026-11-02.json", "2036-05-01.json"]
    assert site.chain() == {}


def test_schedule_tries_again_what_failed_says_so_and_leaves_a_paused_store_alone(site: Site) -> None:
    schedule = ReportSchedule(site.reports(), lambda: site.usable, site.log)
    site.check()
    site.usable = False
    schedule()
    assert (site.log.seen, site.days()) == ([], [])
    site.usable = True
    site.store.fail("put_document", StoreBusy("down"))
    schedule()
    assert [fields["reason"] for fields in site.log.of("fixity.report_failed")] == ["down"]
    schedule()
    [said] = site.log.of("fixity.reported")
    assert said["key"] == f"{FOLDER}2026-11-01.json"
    schedule()
    assert (len(site.log.seen), site.ensured) == (2, 2)


def test_ledger_that_fails_stops_no_other_job(site: Site) -> None:
    site.check()

    def away(_step: str) -> None:
        raise LedgerFault("away", "wait")

    ReportSchedule(site.reports(away), lambda: True, site.log)()
    assert [fields["hint"] for fields in site.log.of("fixity.report_failed")] == ["wait"]


@pytest.mark.parametrize(("length", "faults"), [(4 << 20, 0), ((4 << 20) + 1, 1)])
def test_report_is_read_up_to_4_mib(site: Site, length: int, faults: int) -> None:
    site.check()
    site.reports().write()
    [day] = site.days()
    site.store.objects[FOLDER + day] = site.store.objects[FOLDER + day].ljust(length)
    assert len(site.chain()) == faults
