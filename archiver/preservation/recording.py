"""A check, written down: what it finds as it goes on, and itself once it ends, whole or broken off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from archiver.core.fixity import Judged
from archiver.core.fixity_report import Check
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
            check = self._check(begun, is_whole=is_whole)
            self.checks.add(check)
            if self.work.walking is not None:
                self.work.walking.end(is_whole=is_whole)
            self._say(check)

    def _say(self, check: Check) -> None:
        if self.log is not None:
            facts = {"check": check.level.value, "whole": check.is_whole, "objects": check.objects}
            seconds = (check.ended_at - check.begun_at).total_seconds()
            found = {"faults": self.work.totals.faults, "bytes": check.bytes, "seconds": round(seconds, 3)}
            self.log.info("fixity.checked", **facts, **found)

    def _check(self, begun: datetime, *, is_whole: bool) -> Check:
        """Return the check of what no earlier one covers: of a walk that is gone on with, its parts are told once."""
        totals, walking = self.work.totals, self.work.walking
        walk = None if walking is None else walking.walk
        verdicts, tasks = Counter(totals.verdicts), totals.tasks
        if walk is not None:
            verdicts.subtract(walk.reported.verdicts)
            tasks = max(tasks - walk.reported.tasks, 0)
            begun = begun if walk.reported.verdicts else min(begun, walk.begun_at)
        ended, counts = max(begun, self.clock()), {verdict: count for verdict, count in verdicts.items() if count > 0}
        return Check(self.work.level, begun, ended, counts, tasks=tasks, bytes=self.received(), is_whole=is_whole)
