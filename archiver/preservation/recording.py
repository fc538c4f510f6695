"""A check, written down: what it finds as it goes on, and itself once it ends, whole or broken off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from archiver.core.fixity import Judged
from archiver.core.fixity_report import Check
from archiver.core.levels import Level
from archiver.ports.fixity_records import Checks
from archiver.ports.runtime import Clock, EventLog
from archiver.preservation.fault_book import FaultBook
from archiver.preservation.verification import Verification


@dataclass(frozen=True, slots=True)
class Recording:
    """Writes one verification down. For one use."""

    work: Verification
    book: FaultBook
    checks: Checks
    clock: Clock
    received: Callable[[], int] = lambda: 0
    """Bytes that were read so far."""
    log: EventLog | None = None

    def of(self, results: Iterator[Judged]) -> Iterator[Judged]:
        """Yield what the verification yields, in whatever way that ends; raises as it does, and LedgerFault."""
        self.work.book = self.book
        begun, is_whole = self.clock(), False
        try:
            yield from results
            is_whole = True
        finally:
            self.book.close(is_whole=is_whole)
            check = self._check(self.work.level, begun, is_whole=is_whole)
            self.checks.add(check)
            self._say(check)

    def _say(self, check: Check) -> None:
        if self.log is not None:
            facts = {"check": check.level.value, "whole": check.is_whole, "objects": check.objects}
            seconds = (check.ended_at - check.begun_at).total_seconds()
            found = {"faults": self.work.totals.faults, "bytes": check.bytes, "seconds": round(seconds, 3)}
            self.log.info("fixity.checked", **facts, **found)

    def _check(self, level: Level, begun: datetime, *, is_whole: bool) -> Check:
        totals = self.work.totals
        return Check(
            level,
            begun,
            max(begun, self.clock()),
            dict(totals.verdicts),
            tasks=totals.tasks,
            bytes=self.received(),
            is_whole=is_whole,
        )
