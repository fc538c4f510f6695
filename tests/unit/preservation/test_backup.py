"""Backups into the bucket: when they are taken, and what happens where they cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archiver.core.backup import BackupReader, BackupSummary, Scope
from archiver.core.errors import AccessRefused, Interrupted, KeyTaken, LedgerFault, StoreBusy
from archiver.core.keys import backup_key, backup_time
from archiver.preservation.backup import BackupSchedule, BucketBackup, newest_backup
from tests.fakes.events import Events
from tests.fakes.object_store import FakeStore, MemoryJournal
from tests.fakes.time import Clock
from tests.fixtures.ledgers import ready_ledger, take_in, tid
from tests.house import Ledger

HOUR = 3600.0
PREFIX = "stems/"


@dataclass
class Site:
    """A ledger, a bucket, and a process that takes backups of the one into the other."""

    ledger: Ledger
    folder: Path
    clock: Clock = field(default_factory=Clock)
    store: FakeStore = field(default_factory=FakeStore)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    log: Events = field(default_factory=Events)
    usable: bool = True
    ensured: int = 0

    def backup(self) -> BucketBackup:
        return BucketBackup(
            self.ledger.backups, self.store, self.journal, self._ensure, PREFIX, "0.2.0", self.clock, str(self.folder)
        )

    def schedule(self, backup: BucketBackup | None = None) -> BackupSchedule:
        return BackupSchedule(
            backup or self.backup(),
            timedelta(hours=1),
            lambda: self.usable,
            lambda: newest_backup(self.store.archive, PREFIX),
            self.clock,
            self.log,
        )

    def after(self, schedule: BackupSchedule, **span: float) -> list[str]:
        """The backups in the bucket once that time has passed, by the minute."""
        until = self.clock.now + timedelta(**span)
        while self.clock.now < until:
            self.clock.forward(minutes=1)
            schedule()
        return sorted(self.store.objects)

    def _ensure(self) -> None:
        self.ensured += 1


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with closing(ready_ledger(tmp_path)) as ledger:
        take_in(ledger, 1)
        yield Site(ledger, tmp_path)


def test_key_is_that_of_its_time_and_tells_it_again() -> None:
    at = datetime(2026, 11, 27, 3, tzinfo=UTC)
    assert backup_key(PREFIX, at) == "stems/_archive/ledger/2026-11-27T03-00-00Z.jsonl.gz"
    assert backup_time(PREFIX, backup_key(PREFIX, at)) == at
    for strange in ("", "2026", "2026-11-27T03-00-00Z.jsonl.gz/x", "2026-13-27T03-00-00Z.jsonl.gz"):
        assert backup_time(PREFIX, f"{PREFIX}_archive/ledger/{strange}") is None


def test_first_backup_is_taken_a_minute_after_the_start_and_holds_what_is_open(site: Site) -> None:
    schedule = site.schedule()
    schedule()
    assert site.store.objects == {}
    [key] = site.after(schedule, minutes=1)
    assert key == "stems/_archive/ledger/2026-11-01T00-01-00Z.jsonl.gz"
    reader = BackupReader([site.store.objects[key]])
    assert [values[0] for table, values in reader.rows() if table == "tasks"] == [tid(1)]
    assert reader.head.scope is Scope.OPEN
    assert site.ensured == 1
    [told] = site.log.of("backup.taken")
    assert (told["key"], told["rows"], told["bytes"]) == (key, 1, len(site.store.objects[key]))
    assert site.store.content_types[key] == "application/gzip"


def test_backup_is_taken_every_hour_where_something_changed_and_else_counts_as_taken(site: Site) -> None:
    schedule = site.schedule()
    assert len(site.after(schedule, minutes=1)) == 1
    assert len(site.after(schedule, hours=5)) == 1
    assert schedule.age == 0
    take_in(site.ledger, 2)
    assert len(site.after(schedule, minutes=59)) == 1
    assert schedule.age == HOUR - 60
    assert len(site.after(schedule, minutes=1)) == 2
    assert len(site.log.of("backup.taken")) == 2


@pytest.mark.parametrize(
    "error", [StoreBusy("down"), AccessRefused("no"), LedgerFault("away", "wait"), OSError(28, "full")]
)
def test_backup_that_fails_is_told_and_tried_again_in_five_minutes_while_its_age_grows(
    site: Site, error: Exception
) -> None:
    if isinstance(error, StoreBusy | AccessRefused):
        site.store.fail("put", error, times=2)
        schedule = site.schedule()
    else:
        schedule = site.schedule(
            BucketBackup(
                _Failing(site.ledger, [error, error]),
                site.store,
                site.journal,
                lambda: None,
                PREFIX,
                "0.2.0",
                site.clock,
            )
        )
    assert site.after(schedule, minutes=6) == []
    assert schedule.age == 6 * 60
    assert len(site.log.of("backup.failed")) == 2
    assert len(site.after(schedule, minutes=5)) == 1
    assert schedule.age == 0
    assert len(site.after(schedule, minutes=59)) == 1


def test_backup_that_is_given_up_as_the_process_ends_is_no_failure(site: Site) -> None:
    backups = _Failing(site.ledger, [Interrupted()])
    schedule = site.schedule(BucketBackup(backups, site.store, site.journal, lambda: None, PREFIX, "0.2.0", site.clock))
    assert site.after(schedule, minutes=1) == []
    assert site.log.of("backup.failed") == []
    assert len(site.after(schedule, minutes=5)) == 1


@dataclass
class _Failing:
    """Backups of a ledger that cannot be read, or have no room on the disk, so many times."""

    ledger: Ledger
    errors: list[Exception]

    def write(
        self,
        scope: Scope,
        out: Callable[[bytes], object],
        *,
        now: datetime,
        version: str,
        rest: Callable[[], object] = lambda: None,
    ) -> BackupSummary:
        if self.errors:
            raise self.errors.pop()
        return self.ledger.backups.write(scope, out, now=now, version=version, rest=rest)


def test_paused_store_is_left_alone(site: Site) -> None:
    schedule, site.usable = site.schedule(), False
    assert site.after(schedule, hours=2) == []
    assert (schedule.age, site.log.seen) == (2 * HOUR, [])
    site.usable = True
    assert len(site.after(schedule, minutes=1)) == 1


def test_age_after_a_start_is_that_of_the_newest_backup_in_the_bucket(site: Site) -> None:
    site.after(site.schedule(), minutes=1)
    site.store.objects[f"{PREFIX}_archive/ledger/zzz"] = b"of somebody else"
    site.clock.forward(hours=30)
    site.store.fail("put", StoreBusy("down"), times=1)
    schedule = site.schedule()
    site.after(schedule, minutes=1)
    assert schedule.age == 30 * HOUR + 60
    site.after(schedule, minutes=5)
    assert schedule.age == 0


def test_clock_that_was_set_back_puts_no_backup_off(site: Site) -> None:
    schedule = site.schedule()
    site.after(schedule, minutes=1)
    take_in(site.ledger, 2)
    site.clock.forward(days=-3)
    assert len(site.after(schedule, minutes=1)) == 2
    assert schedule.age == 0


def test_name_that_another_process_has_taken_leads_to_the_next(site: Site) -> None:
    key = backup_key(PREFIX, site.clock())
    site.store.objects[key] = b"another's"
    assert site.backup().take().key == backup_key(PREFIX, site.clock() + timedelta(seconds=1))
    for second in range(5):
        site.store.objects[backup_key(PREFIX, site.clock() + timedelta(seconds=second))] = b"another's"
    with pytest.raises(KeyTaken):
        site.backup().take()


def test_large_backup_goes_in_parts_that_are_written_down(site: Site) -> None:
    site.store.single_put_max = 100
    key = site.backup().take().key
    assert [upload for upload, _ in site.journal.ever] == [key]
    assert site.journal.open == []
    assert BackupReader([site.store.objects[key]]).check().rows["tasks"] == 1
