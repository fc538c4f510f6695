"""The service's regular chores beside the path: intake, reaping the dead, watching deadlines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from archiver.core.errors import ArchiverError, QueueUnreadable
from archiver.core.model import Intake
from archiver.ports import Checkpoint, Clock, EventLog, Ledger, ObjectStore, Queue, unobserved

Alive = Callable[[str], bool]


@dataclass(slots=True)
class QueueIntake:
    """Takes what was appended to the queue file into the ledger."""

    queue: Queue
    path: str
    ledger: Ledger
    clock: Clock
    log: EventLog
    checkpoint: Checkpoint = unobserved
    _complaint: str = field(default="", init=False)

    def __call__(self) -> None:
        """Read until nothing new is left; a file that cannot be read is warned about once and waited for."""
        try:
            while self._step():
                pass
        except QueueUnreadable as error:
            if str(error) != self._complaint:
                self.log.warning("queue.unreadable", path=self.path, error=str(error), hint=error.hint)
            self._complaint = str(error)
        else:
            self._complaint = ""

    def _step(self) -> bool:
        cursor = self.ledger.cursor(self.path)
        intake = self.queue.read(cursor)
        if intake.cursor == cursor:
            return False
        self.checkpoint("queue.read")
        accept(intake, source="queue", ledger=self.ledger, now=self.clock(), log=self.log)
        return bool(intake.ids or intake.rejects)


def accept(intake: Intake, *, source: str, ledger: Ledger, now: datetime, log: EventLog) -> int:
    """Take one batch in and log what came of it; return how many ids were new."""
    new = ledger.take_in(intake, source=source, now=now)
    for task_id in new:
        log.info("queue.accepted", task_id=task_id, source=source)
    for reject in intake.rejects:
        log.warning("queue.rejected", path=reject.path, offset=reject.offset, line=reject.excerpt, reason=reject.reason)
    if intake.restarted:
        log.warning("queue.restarted", reason=intake.restarted, source=source)
    return len(new)


def reap(*, ledger: Ledger, store: ObjectStore, alive: Alive, clock: Clock, log: EventLog) -> None:
    """Free what dead processes held: their leases at once, their unfinished multipart uploads after that."""
    for owner in ledger.release_dead(alive, now=clock()):
        log.info("owner.reaped", owner=owner)
    for key, upload_id in ledger.uploads_of_dead(alive):
        try:
            store.abort(key, upload_id)
        except ArchiverError as error:
            log.info("upload.abort_failed", key=key, reason=f"{error.code}: {error}")
            return
        ledger.upload_closed(key, upload_id)
        log.info("upload.aborted", key=key)


@dataclass(slots=True)
class DeadlineWatch:
    """Raises the alarm when tasks come near their deadline."""

    ledger: Ledger
    clock: Clock
    at_risk: timedelta
    log: EventLog
    _said: int = field(default=0, init=False)

    def __call__(self) -> None:
        """Log `deadline.at_risk` whenever the count of tasks at risk changes."""
        overview = self.ledger.overview(now=self.clock(), at_risk=self.at_risk)
        if overview.at_risk_count == self._said:
            return
        self._said = overview.at_risk_count
        first = overview.at_risk[0] if overview.at_risk else None
        report = self.log.error if first is not None else self.log.info
        report(
            "deadline.at_risk",
            tasks=overview.at_risk_count,
            first_task_id=first and first.task_id,
            first_deadline=first and first.deadline.isoformat(),
            reason=first and first.reason,
        )
