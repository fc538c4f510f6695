"""The whole archive listed and held against the ledger every so often; to be called again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from archiver.core.errors import ArchiverError, Interrupted, LeaseLost, LedgerFault
from archiver.core.fixity import Fixity
from archiver.core.levels import Level
from archiver.core.slices import Checked, Course, SliceLease
from archiver.ports.fixity import Rounds
from archiver.ports.runtime import Clock, EventLog
from archiver.preservation.rolling import LEASE, is_within, say_broken_off

FIRST: Final = timedelta(minutes=5)
"""The time from the start of a process to its first list: a start has more urgent things to do."""
AGAIN: Final = timedelta(hours=1)
"""The time after which it is tried again, where store or ledger failed, or another process is at it."""
_RENEWED_EVERY: Final = timedelta(minutes=1)


@dataclass(slots=True)
class DailyList:
    """Lists the archive whenever the last whole list, of any process, was begun `every` ago; none goes on twice."""

    rounds: Rounds
    owner: str
    every: timedelta
    check: Callable[[Callable[[], None]], Mapping[Fixity, int]]
    """Lists once, and returns the objects that it judged by verdict; calls what it is given again and again."""
    may: Callable[[], bool]
    """Returns whether the store may be used now."""
    clock: Clock
    log: EventLog
    _due: datetime = field(init=False)
    _renewed: datetime | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Begin to count."""
        self._due = self.clock() + FIRST

    def __call__(self) -> None:
        """List, if that is due."""
        now = self.clock()
        # A clock that was set back must not put it off for long.
        if now < self._due <= now + self.every or not self.may():
            return
        self._due = now + min(AGAIN, self.every)
        try:
            if (held := self._taken(now)) is not None:
                self._list(held)
        except (Interrupted, LeaseLost):
            return
        except (ArchiverError, LedgerFault) as error:
            say_broken_off(self.log, Level.LIST, error)

    def _taken(self, now: datetime) -> SliceLease | None:
        newest = self.rounds.newest(Course.DAILY)
        if newest is not None and newest.ended_at is not None and is_within(newest.begun_at, now, self.every):
            self._due = newest.begun_at + self.every
            return None
        round_ = self.rounds.begin(Course.DAILY, now=now)
        held = self.rounds.take(Course.DAILY, owner=self.owner, now=now, lease=LEASE, round_=round_, listing=True)
        if held is None:
            self.rounds.end(round_, now=now)
        self._renewed = now
        return held

    def _list(self, held: SliceLease) -> None:
        verdicts = self.check(self._renew)
        now = self.clock()
        self.rounds.finish(held, Checked(sum(verdicts.values()), 0, dict(verdicts)), now=now)
        newest = self.rounds.newest(Course.DAILY)
        if newest is not None:
            self.rounds.end(newest, now=now)

    def _renew(self) -> None:
        now = self.clock()
        if not is_within(self._renewed, now, _RENEWED_EVERY):
            self.rounds.renew(self.owner, now=now, lease=LEASE)
            self._renewed = now
