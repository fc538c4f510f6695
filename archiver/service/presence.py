"""Presence: what this process does, written down for `status`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from archiver.core.errors import LedgerFault
from archiver.ports.ledger import Processes
from archiver.ports.runtime import Clock

EVERY = timedelta(seconds=10)
"""The least time between two notes."""


CLOCK_OFF = timedelta(minutes=1)
"""The clock of a machine that keeps its time is off by less."""


def clock_off(ahead: timedelta) -> str:
    """Return what is said of a wall clock that is so far ahead of the provider's; nothing where it hardly is."""
    if abs(ahead) < CLOCK_OFF:
        return ""
    where = "ahead of" if ahead > timedelta() else "behind"
    return f"its clock is {timedelta(seconds=round(abs(ahead).total_seconds()))} {where} the provider's"


@dataclass(slots=True)
class Presence:
    """Writes down that this process is at work, since when, and what it does.

    It is for people to look at: where the ledger fails, those who work with it tell, and this waits for its next note.
    """

    processes: Processes
    owner: str
    role: str
    place: str
    pid: int
    clock: Clock
    doing: Callable[[], str]
    _begun: bool = field(default=False, init=False)
    _noted_at: datetime | None = field(default=None, init=False)
    _looked_at: datetime | None = field(default=None, init=False)
    _fault: str = field(default="", init=False)

    def begin(self) -> None:
        """Write down that the process has begun."""
        with suppress(LedgerFault):
            self.processes.begin(self.owner, role=self.role, place=self.place, pid=self.pid, now=self.clock())
            self._begun = True

    def looked(self, fault: str) -> None:
        """Note a look at the queue file, and why it could not be read."""
        news = fault != self._fault or self._looked_at is None
        self._looked_at, self._fault = self.clock(), fault
        self.note(at_once=news)

    def note(self, *, at_once: bool = False) -> None:
        """Write down what the process does, if that was not done within EVERY."""
        now = self.clock()
        if not at_once and self._noted_at is not None and abs(now - self._noted_at) < EVERY:
            return
        self._noted_at = now
        if not self._begun:
            self.begin()
        with suppress(LedgerFault):
            self.processes.note(self.owner, doing=self.doing(), looked_at=self._looked_at, fault=self._fault, now=now)

    def end(self) -> None:
        """Write down that it ended in order."""
        with suppress(LedgerFault):
            self.processes.end(self.owner, now=self.clock())
