"""Intake: takes new ids into the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from archiver.core.intake import Cursor, Intake
from archiver.core.model import DEFAULT_ACCOUNT
from archiver.ports.ledger import Intakes
from archiver.ports.runtime import Checkpoint, Clock, EventLog, unobserved
from archiver.ports.work import Queue, QueueUnreadable

_Tail: TypeAlias = "tuple[Cursor | None, int]"
"""A last line without its newline: where it begins, and its size."""


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
    looked: Callable[[str], None] = lambda _: None
    """Called after each look at the file, with the reason why it could not be read, or nothing."""
    every: timedelta = timedelta(seconds=30)
    """The time from one poll to the next, whatever the file looks like."""
    _stamp: object = field(default=None, init=False)
    _complaint: str = field(default="", init=False)
    _tail: _Tail | None = field(default=None, init=False)
    """The last line without its newline, as it was seen last."""
    _since: datetime = field(default=datetime.min.replace(tzinfo=UTC), init=False)
    """When it was first seen so."""
    _taken: _Tail | None = field(default=None, init=False)
    """The same of the one that was taken as it is."""

    def __call__(self) -> None:
        """Read until nothing new is left; a file that cannot be read is warned about once and waited for.

        A last line without its newline is taken as it is once it has stood still from one poll to the next; should
        it grow later, it is read again whole.
        """
        self._stamp = self.queue.stamp()
        try:
            while (unfinished := self._step()) is None:
                pass
            self._take_tail((self.intakes.cursor(self.path), unfinished) if unfinished else None)
        except QueueUnreadable as error:
            if str(error) != self._complaint:
                self.log.warning("queue.unreadable", path=self.path, error=str(error), hint=error.hint)
            self._complaint = str(error)
        else:
            self._complaint = ""
        self.looked(self._complaint)

    def has_changed(self) -> bool:
        """Return whether the file looks different than at the last read."""
        return self.queue.stamp() != self._stamp

    def _take_tail(self, tail: _Tail | None) -> None:
        now = self.clock()
        if tail is None or tail != self._tail:
            self._tail, self._since = tail, now
        elif tail != self._taken and not self._since <= now < self._since + self.every / 2:
            self._step(final=True)
            self._taken = tail

    def _step(self, *, final: bool = False) -> int | None:
        """Take one batch in; None while there may be more, else the bytes of a last line without its newline."""
        cursor = self.intakes.cursor(self.path)
        intake = self.queue.read(cursor, final=final)
        if intake.cursor == cursor and not intake.ids and not intake.rejects:
            return intake.unfinished
        self.checkpoint("queue.read")
        accept(intake, source="queue", intakes=self.intakes, now=self.clock(), log=self.log)
        self.progress()
        return None


def accept(intake: Intake, *, source: str, intakes: Intakes, now: datetime, log: EventLog) -> Intake:
    """Take one batch in, log what came of it, and return what was taken in: a kind that is known already stays."""
    if named := intake.named_kinds():
        intake = intake.keeping(intakes.kinds(list(named)))
    for task_id in intakes.take_in(intake, source=source, now=now):
        account = intake.accounts.get(task_id, DEFAULT_ACCOUNT)
        log.info("queue.accepted", task_id=task_id, account=account, source=source)
    for reject in intake.rejects:
        place = {"path": reject.path, "offset": reject.offset, "number": reject.line}
        log.warning("queue.rejected", **place, line=reject.excerpt, reason=reject.reason)
    if intake.restarted:
        report = log.info if intake.old == "read to its end" else log.warning
        report("queue.restarted", reason=intake.restarted, source=source, old_file=intake.old)
    return intake
