"""The ledger trimmed once a day, a batch at a time; to be called again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from archiver.core.errors import ArchiverError, LedgerFault
from archiver.core.trimming import Trims
from archiver.ports.runtime import Clock, EventLog
from archiver.preservation.trimming import Trim

EVERY: Final = timedelta(days=1)
FIRST: Final = timedelta(minutes=5)
"""The time from the start of a process to its first batch: a start has more urgent things to do."""
AGAIN: Final = timedelta(hours=1)
"""The time after which it is tried again, where store or ledger failed."""
NAMED: Final = 20
"""Tasks that are named in the log with why they were left alone, of each round."""


@dataclass(slots=True)
class TrimSchedule:
    """Trims what ended longer ago than `older`: one batch a call, until all is done, and again the next day."""

    begin: Callable[[], Trim]
    """Returns a trim that has done nothing yet."""
    older: timedelta
    may: Callable[[], bool]
    """Returns whether the store may be used now."""
    clock: Clock
    log: EventLog
    _due: datetime = field(init=False)
    _round: Iterator[Trims] | None = field(default=None, init=False)
    _sum: Trims = field(default_factory=Trims, init=False)

    def __post_init__(self) -> None:
        """Begin to count."""
        self._due = self.clock() + FIRST

    def __call__(self) -> None:
        """Trim one batch, if one is due."""
        now = self.clock()
        # A clock that was set back must not put it off for long.
        if (self._round is None and now < self._due <= now + EVERY) or not self.may():
            return
        if self._round is None:
            self._round, self._sum = self.begin().batches(now - self.older), Trims()
        try:
            self._sum = next(self._round)
        except StopIteration:
            self._end(now, EVERY)
        except (ArchiverError, LedgerFault) as error:
            code = f"{error.code}: " if isinstance(error, ArchiverError) else ""
            self.log.warning("trim.failed", reason=f"{code}{error}", hint=error.hint)
            self._end(now, AGAIN)

    def _end(self, now: datetime, again: timedelta) -> None:
        trims, self._round, self._due = self._sum, None, now + again
        for left in trims.named[:NAMED]:
            self.log.warning("trim.left_alone", task_id=left.task_id, reason=left.reason)
        if trims.tasks or trims.left:
            self.log.info(
                "trim.done",
                tasks=trims.tasks,
                rows=trims.rows,
                left=trims.left,
                requests=trims.requests,
                seconds=round(trims.seconds, 3),
            )
