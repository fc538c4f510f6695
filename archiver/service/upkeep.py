"""The service's regular chores beside the path: intake, reaping the dead, watching deadlines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from archiver.core.errors import ArchiverError, QueueUnreadable
from archiver.core.model import DEFAULT_ACCOUNT, Intake, TaskId
from archiver.ports.ledger import Alive, Ledger
from archiver.ports.runtime import Checkpoint, Clock, EventLog, unobserved
from archiver.ports.store import ObjectStore, UploadList
from archiver.ports.work import Jobs, Queue


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
        account = intake.accounts.get(task_id, DEFAULT_ACCOUNT)
        log.info("queue.accepted", task_id=task_id, account=account, source=source)
    for reject in intake.rejects:
        log.warning("queue.rejected", path=reject.path, offset=reject.offset, line=reject.excerpt, reason=reject.reason)
    if intake.restarted:
        log.warning("queue.restarted", reason=intake.restarted, source=source)
    return len(new)


def free_leases(*, ledger: Ledger, alive: Alive, clock: Clock, log: EventLog) -> None:
    """Give back at once what dead processes held, however long their leases would have lasted."""
    for owner in ledger.release_dead(alive, now=clock()):
        log.info("lease.expired", owner=owner)


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


_AGAIN = (timedelta(seconds=10), timedelta(seconds=30), timedelta(minutes=1))
"""After how long a task that was woken is woken again: the record may come a little later than the callback."""

_CALLED_AT_MOST = 10_000


@dataclass(slots=True)
class _Call:
    due: datetime
    tries: int = 0


@dataclass(slots=True)
class Waking:
    """Brings forward tasks that the provider called about: each at most once in ten seconds, whoever calls."""

    ledger: Ledger
    clock: Clock
    log: EventLog
    add_unknown: bool
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _calls: dict[TaskId, _Call] = field(default_factory=dict, init=False)

    def heard(self, task_id: TaskId) -> None:
        """Note that the task is done; returns at once. One call too many is dropped: it is polled all the same."""
        with self._lock:
            if len(self._calls) < _CALLED_AT_MOST:
                self._calls.setdefault(task_id, _Call(self.clock()))

    def __call__(self) -> None:
        """Make due what was called about; take in, or name in the log, what nobody knows; raise LedgerFault."""
        now = self.clock()
        with self._lock:
            # A time far ahead was noted before the clock was set back.
            due = [name for name, call in self._calls.items() if call.due <= now or call.due > now + 2 * _AGAIN[-1]]
            spent = [name for name in due if self._calls[name].tries == len(_AGAIN)]
            for name in spent:
                del self._calls[name]
        fresh = [name for name in due if name not in spent]
        if not fresh:
            return
        known = self.ledger.known(fresh)
        self._meet_unknown([name for name in fresh if name not in known], now)
        woken = set(self.ledger.wake(fresh, now=now))
        with self._lock:
            for name in fresh:
                self._after(name, now, woken=name in woken)

    def _meet_unknown(self, unknown: Sequence[TaskId], now: datetime) -> None:
        if self.add_unknown and unknown:
            accept(Intake(ids=tuple(unknown)), source="callback", ledger=self.ledger, now=now, log=self.log)
            return
        for task_id in unknown:
            self.log.info("callback.unknown", task_id=task_id)

    def _after(self, task_id: TaskId, now: datetime, *, woken: bool) -> None:
        call = self._calls[task_id]
        if call.tries == 0:
            self.log.info("callback.heard", task_id=task_id, woken=woken)
        call.due, call.tries = now + _AGAIN[call.tries], call.tries + 1
        if not woken:
            # Nothing is left to wake; what was noted goes on keeping the next call at its distance.
            call.tries = len(_AGAIN)


@dataclass(frozen=True, slots=True)
class Rescue:
    """Puts back the jobs of workers that were killed, froze or were cut off."""

    jobs: Jobs
    log: EventLog

    def __call__(self) -> None:
        """Put them back; raise LedgerFault."""
        for task_id in self.jobs.rescue():
            self.log.warning("job.rescued", task_id=task_id)


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
