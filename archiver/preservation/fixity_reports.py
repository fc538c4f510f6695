"""The sealed reports of checks in the bucket: one a day that had any, each naming the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from archiver.core.errors import ArchiverError, LedgerFault
from archiver.core.fixity_report import (
    LARGEST,
    NAMED_MOST,
    ChainFault,
    Check,
    FixityReport,
    ReportBroken,
    ReportChain,
    Sealed,
    Standing,
    checks_of,
    read_report,
    report_of,
)
from archiver.core.keys import fixity_day, fixity_key, fixity_prefix, fixity_schema_key
from archiver.core.reading import ObjectLong
from archiver.ports.archive import Archive
from archiver.ports.fixity_records import Checks, Faults
from archiver.ports.runtime import Checkpoint, Clock, EventLog, unobserved
from archiver.ports.store import ObjectStore


@dataclass(frozen=True, slots=True)
class FixityReports:
    """Writes the report of a day, once. Safe beside other processes on the same ledger.

    Checkpoints: fixity.report_put, fixity.report_noted.
    """

    checks: Checks
    faults: Faults
    store: ObjectStore
    archive: Archive
    ensure: Callable[[], None]
    """Sees to it that the store writes as it can."""
    prefix: str
    version: str
    schema: Callable[[], bytes]
    clock: Clock
    oldest_check: Callable[[], datetime | None] = lambda: None
    checkpoint: Checkpoint = unobserved

    def write(self) -> Sealed | None:
        """Put the report of today, if there were checks since the last one; None where there is nothing to put.

        Checks that end after the day's report are in that of the next day. Where one stands already that another
        process has put, or we before we died, the ledger takes what it covers from it. Raises ArchiverError,
        LedgerFault.
        """
        now = self.clock().astimezone(UTC)
        day = now.date()
        last = self.checks.last_report()
        if (last is not None and last.day == day) or not self.checks.unreported():
            return None
        before = newest_before(self.archive, self.prefix, day)
        if before is not None and (last is None or last.day < before.day):
            self._note(before, self._covered(before.report), now)
        checks = self.checks.unreported()
        if not checks:
            return None
        self.ensure()
        standing = Standing(self.faults.counts(), self.faults.standing(NAMED_MOST), self.oldest_check())
        previous = None if before is None else before.sealed
        ours = report_of(day, checks, standing, previous=previous, version=self.version, now=now)
        if before is None:
            self.store.put_document(fixity_schema_key(self.prefix), self.schema(), same=lambda _: True)
        return self._put(day, ours, checks, now)

    def _put(self, day: date, ours: bytes, checks: Sequence[Check], now: datetime) -> Sealed:
        """Return the report that stands after this."""
        standing = [ours]

        def keep(theirs: bytes) -> bool:
            standing.append(theirs)
            return True

        self.store.put_document(fixity_key(self.prefix, day), ours, same=keep)
        self.checkpoint("fixity.report_put")
        stands = StandingReport.of(day, standing[-1])
        self._note(stands, checks if stands.data == ours else self._covered(stands.report), now)
        self.checkpoint("fixity.report_noted")
        return stands.sealed

    def _note(self, stands: StandingReport, covered: Sequence[Check], now: datetime) -> None:
        self.checks.reported(stands.sealed, [each.number for each in covered], now=now)

    def _covered(self, report: FixityReport | None) -> Sequence[Check]:
        """Return the checks of our ledger that a report covers: none unless it tells of all of them."""
        if report is None:
            return ()
        checks = [each for each in self.checks.unreported() if each.ended_at <= report.until]
        return checks if checks_of(checks) == report.checks else ()


@dataclass(frozen=True, slots=True)
class StandingReport:
    """A report as it stands in the bucket."""

    day: date
    data: bytes
    report: FixityReport | None
    """None where it is broken."""

    @classmethod
    def of(cls, day: date, data: bytes) -> StandingReport:
        """Return what stands as the report of that day."""
        try:
            return cls(day, data, read_report(data))
        except ReportBroken:
            return cls(day, data, None)

    @property
    def sealed(self) -> Sealed:
        """Its place in the chain."""
        return Sealed(self.day, "" if self.report is None else self.report.seal)


def newest_before(archive: Archive, prefix: str, day: date) -> StandingReport | None:
    """Return the newest report of an earlier day; raises ArchiverError.

    One of a later day was written while a clock was wrong, and is left out.
    """
    days = [each for each in _days(archive, prefix) if each < day]
    return StandingReport.of(max(days), _read(archive, prefix, max(days))) if days else None


def chain_faults(archive: Archive, prefix: str, known: Sequence[Sealed] = ()) -> Iterator[ChainFault]:
    """Read all reports, and yield which are gone or changed; raises ArchiverError.

    `known`: those that the ledger remembers. Without them nobody can miss the newest.
    """
    chain = ReportChain()
    for day in _days(archive, prefix):
        chain.add(day, _read(archive, prefix, day))
    yield from chain.found(known)


def _days(archive: Archive, prefix: str) -> Iterator[date]:
    for each in archive.objects(fixity_prefix(prefix)):
        if (day := fixity_day(prefix, each.key)) is not None:
            yield day


def _read(archive: Archive, prefix: str, day: date) -> bytes:
    """Return a report's bytes; none where it is too long to be one, or went meanwhile."""
    try:
        found = archive.document(fixity_key(prefix, day), limit=LARGEST)
    except ObjectLong:
        return b""
    return b"" if found is None else found.data


@dataclass(slots=True)
class ReportSchedule:
    """Sees to it that checks are reported; to be called again and again. One that fails is tried again."""

    reports: FixityReports
    may: Callable[[], bool]
    """Returns whether the store may be used now."""
    log: EventLog

    def __call__(self) -> Sealed | None:
        """Put the report of today, if it is due, and return it."""
        if not self.may():
            return None
        try:
            sealed = self.reports.write()
        except (ArchiverError, LedgerFault) as error:
            self.log.warning("fixity.report_failed", reason=str(error), hint=error.hint)
            return None
        if sealed is not None:
            key = fixity_key(self.reports.prefix, sealed.day)
            self.log.info("fixity.reported", key=key, seal=sealed.seal)
        return sealed
