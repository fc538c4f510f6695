"""Intake: takes new ids into the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from archiver.core.errors import QueueUnreadable
from archiver.core.intake import Intake
from archiver.core.model import DEFAULT_ACCOUNT
from archiver.ports.ledger import Intakes
from archiver.ports.runtime import Checkpoint, Clock, EventLog, unobserved
from archiver.ports.work import Queue


@dataclass(slots=True)
class QueueIntake:
    """Takes what was appended to the queue file into the ledger."""

    queue: Queue
    path: str
    intakes: Intakes
    clock: Clock
    log: EventLog
    checkpoint: Checkpoint = unobserved
    progress: Callable[[], None] = lambda: None
    """Called after each batch: a million lines take a while, and that is no standstill."""
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
        cursor = self.intakes.cursor(self.path)
        intake = self.queue.read(cursor)
        if intake.cursor == cursor:
            return False
        self.checkpoint("queue.read")
        accept(intake, source="queue", intakes=self.intakes, now=self.clock(), log=self.log)
        self.progress()
        return True


def accept(intake: Intake, *, source: str, intakes: Intakes, now: datetime, log: EventLog) -> None:
    """Take one batch in and log what came of it."""
    for task_id in intakes.take_in(intake, source=source, now=now):
        account = intake.accounts.get(task_id, DEFAULT_ACCOUNT)
        log.info("queue.accepted", task_id=task_id, account=account, source=source)
    for reject in intake.rejects:
        log.warning("queue.rejected", path=reject.path, offset=reject.offset, line=reject.excerpt, reason=reject.reason)
    if intake.restarted:
        log.warning("queue.restarted", reason=intake.restarted, source=source)
