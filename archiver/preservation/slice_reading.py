"""One slice read to its end, and all that it shows written down: faults, the check, what was judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from archiver.core.fixity import Fixity
from archiver.core.fixity_report import Check
from archiver.core.slices import SliceLease
from archiver.ports.fixity import Rounds
from archiver.ports.fixity_records import Checks
from archiver.ports.runtime import Clock
from archiver.preservation.fault_book import FaultBook
from archiver.preservation.slice_walk import SliceWalk
from archiver.preservation.verification import Verification


@dataclass(frozen=True, slots=True)
class SliceReading:
    """Reads slices, one after the other."""

    work: Verification
    rounds: Rounds
    book: Callable[[SliceLease], FaultBook]
    """Returns where faults are written down that are found from the place of the lease on."""
    checks: Checks
    clock: Clock
    count: Callable[[Mapping[Fixity, int]], None] = lambda _: None
    """Counts objects that were judged, by verdict."""

    def steps(self, held: SliceLease) -> Iterator[int]:
        """Yield the bytes of each object once its verdict is written down; raises as SliceWalk.through."""
        book, checked, tasks = self.book(held), held.checked, set()
        walk = SliceWalk(self.work, self.rounds, book.keep, self.clock, lambda: book.close(is_whole=True))
        for step in walk.through(held):
            checked = step.checked
            tasks.add(step.task_id)
            self.count(Counter(each.verdict for each in step.found))
            yield step.bytes
        ended = max(held.begun_at, self.clock())
        verdicts, size = dict(checked.verdicts), checked.bytes
        self.checks.add(Check(self.work.level, held.begun_at, ended, verdicts, len(tasks), size, slices=1))
