"""Rows of failures of one subject, and how many make an outage."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

FAILURES_TO_TRIP = 8
"""Tasks that failed in a row, which make an outage; ..."""

FEW_FAIL_FOR = timedelta(minutes=5)
"""... or so many failures of fewer tasks, where the row has lasted so long."""

FAULTY_FOR = timedelta(minutes=1)
"""A row of answers that none was as it should be makes an outage after so long: they are evidence, too."""


MANY_FAILURES = 4 * FAILURES_TO_TRIP
"""So many of FEW_TASKS, without any answer, make one after FAULTY_FOR: a few tasks may have many stems."""

FEW_TASKS = 3


@dataclass(slots=True)
class FailureRow:
    """Failures since the last evidence that the subject works."""

    began: datetime
    times: int = 0
    by: set[object] = field(default_factory=set)

    def add(self, by: object) -> None:
        """Count a failure of whoever is told apart by `by`."""
        self.times += 1
        if len(self.by) < FAILURES_TO_TRIP:
            self.by.add(by)

    def is_outage(self, now: datetime, *, faulty: bool) -> bool:
        """Return whether they are too many; `faulty`: each of them was an answer."""
        many, lasted = len(self.by) >= FAILURES_TO_TRIP, now - self.began
        if faulty:
            return many and lasted >= FAULTY_FOR
        if self.times >= MANY_FAILURES and len(self.by) >= FEW_TASKS and lasted >= FAULTY_FOR:
            return True
        return many or (self.times >= FAILURES_TO_TRIP and lasted >= FEW_FAIL_FOR)
