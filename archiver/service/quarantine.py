"""Quarantine: names the tasks at which processes died."""

from __future__ import annotations

from dataclasses import dataclass, field

from archiver.core.reports import Quarantined
from archiver.ports.ledger import Reports
from archiver.ports.runtime import EventLog


@dataclass(slots=True)
class QuarantineWatch:
    """Names each quarantined task once, and again after each further death."""

    reports: Reports
    log: EventLog
    _logged: frozenset[Quarantined] = field(default=frozenset(), init=False)

    def __call__(self) -> None:
        """Log `task.quarantined` for those that are new."""
        standing = self.reports.quarantined()
        for task in standing:
            if task not in self._logged:
                again = task.not_before and task.not_before.isoformat()
                self.log.error("task.quarantined", task_id=task.task_id, deaths=task.deaths, again_at=again)
        self._logged = frozenset(standing)
