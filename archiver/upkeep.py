"""The service's regular chores beside the path: intake, reaping the dead, watching deadlines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from archiver.core.errors import ArchiverError, QueueUnreadable
from archiver.core.model import Intake, TaskId
from archiver.ports import Checkpoint, Clock, EventLog, Ledger, ObjectStore, Queue, UploadList, unobserved

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
        cursor = self.ledger.cursor(self.path)
        intake = self.queue.read(cursor)
        if intake.cursor == cursor:
            return False
        self.checkpoint("queue.read")
        accept(intake, source="queue", ledger=self.ledger, now=self.clock(), log=self.log)
        self.progress()
        return True


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


def free_leases(*, ledger: Ledger, alive: Alive, clock: Clock, log: EventLog) -> None:
    """Give back at once what dead processes held, however long their leases would have lasted."""
    for owner in ledger.release_dead(alive, now=clock()):
        log.info("owner.reaped", owner=owner)


def abort_uploads(*, ledger: Ledger, store: ObjectStore, alive: Alive, log: EventLog) -> None:
    """Abort the multipart uploads that dead processes left open; what cannot be aborted now waits for the next time."""
    for key, upload_id in ledger.uploads_of_dead(alive):
        try:
            store.abort(key, upload_id)
        except ArchiverError as error:
            log.info("upload.abort_failed", key=key, reason=f"{error.code}: {error}")
            return
        ledger.upload_closed(key, upload_id)
        log.info("upload.aborted", key=key)


def abort_strays(*, ledger: Ledger, store: UploadList, prefix: str, log: EventLog) -> None:
    """Abort uploads to tasks of ours that nobody works on: whoever made them never learned or kept their id.

    Such are left when a process dies, or an answer is lost, just as the store has made an upload. What
    belongs to a task that the ledger does not know is somebody else's, and is left alone.
    """
    try:
        # Listed before the leases are looked at: whoever begins an upload holds its task already.
        for key, upload_id, _ in list(store.uploads(prefix)):
            row = ledger.show(TaskId(key.removeprefix(prefix).partition("/")[0]))
            if row is not None and row.leased_until is None:
                store.abort(key, upload_id)
                log.info("upload.aborted", key=key)
    except ArchiverError as error:
        log.info("upload.abort_failed", key=prefix, reason=f"{error.code}: {error}")


@dataclass(slots=True)
class DeadlineWatch:
    """Raises the alarm when tasks come near their deadline."""

    ledger: Ledger
    clock: Clock
    at_risk: timedelta
    log: EventLog
    _said: tuple[int, int] = field(default=(0, 0), init=False)

    def __call__(self) -> None:
        """Log `deadline.at_risk` and `deadline.forecast` whenever what they count changes."""
        overview = self.ledger.overview(now=self.clock(), at_risk=self.at_risk)
        at_risk, late = overview.at_risk_count, overview.forecast_late or 0
        said, self._said = self._said, (at_risk, late)
        if at_risk != said[0]:
            first = overview.at_risk[0] if overview.at_risk else None
            report = self.log.error if first is not None else self.log.info
            report(
                "deadline.at_risk",
                tasks=at_risk,
                first_task_id=first and first.task_id,
                first_deadline=first and first.deadline.isoformat(),
                reason=first and first.reason,
            )
        if late != said[1]:
            report = self.log.error if late else self.log.info
            report("deadline.forecast", stems_expiring=late, stems_an_hour=overview.stems_an_hour)
