"""Deadlines: raises the alarm before audio expires."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from archiver.ports.ledger import RETENTION, Claims, Reports
from archiver.ports.runtime import Clock, EventLog


@dataclass(slots=True)
class DeadlineWatch:
    """Raises the alarm when tasks come near their deadline."""

    reports: Reports
    clock: Clock
    at_risk: timedelta
    log: EventLog
    retention: timedelta = RETENTION
    _logged: tuple[int, int] = field(default=(0, 0), init=False)

    def __call__(self) -> None:
        """Log `deadline.at_risk` and `deadline.forecast` whenever what they count changes."""
        overview = self.reports.overview(now=self.clock(), at_risk=self.at_risk, retention=self.retention)
        at_risk, late = overview.at_risk_count, overview.forecast_late or 0
        before, self._logged = self._logged, (at_risk, late)
        if at_risk != before[0]:
            first = overview.at_risk[0] if overview.at_risk else None
            report = self.log.error if first is not None else self.log.info
            report(
                "deadline.at_risk",
                tasks=at_risk,
                first_task_id=first and first.task_id,
                first_deadline=first and first.deadline.isoformat(),
                reason=first and first.reason,
            )
        if late != before[1]:
            report = self.log.error if late else self.log.info
            report("deadline.forecast", stems_expiring=late, stems_an_hour=overview.stems_an_hour)


@dataclass(frozen=True, slots=True)
class Pressing:
    """Work that presses: what can wait leaves it the line."""

    claims: Claims
    owner: str
    clock: Clock

    def __call__(self) -> bool:
        """Return whether stems wait for their turn, however far their deadlines are.

        Nobody knows of the outage to come: what is put off until after it may expire in it. What waits for a paused
        dependency, for its next try, or past its deadline, presses nobody. Raises LedgerFault.
        """
        return self.claims.next_deadline(self.owner, now=self.clock()) is not None
