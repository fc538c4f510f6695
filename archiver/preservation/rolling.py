"""Every object read again within a span: slice after slice, a few objects a call; to be called again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from archiver.core.errors import ArchiverError, Interrupted, LeaseLost, LedgerFault
from archiver.core.fixity_pace import due_slices, is_any_due, pace_of, unhurried
from archiver.core.levels import Level
from archiver.core.slices import SLICES, Checked, Course, Round, SliceLease
from archiver.ports.fixity import Rounds
from archiver.ports.runtime import Clock, EventLog

FIRST: Final = timedelta(minutes=5)
"""The time from the start of a process to its first read: a start has more urgent things to do."""
AGAIN: Final = timedelta(minutes=20)
"""The time after which it is gone on with, where store or ledger failed, or nothing was to be read."""
LEASE: Final = timedelta(minutes=15)
AT_ONCE: Final = timedelta(seconds=30)
"""The time that one call goes on for, but for the object under way."""
LONGEST_PAUSE: Final = AGAIN
CATCH_UP: Final = timedelta(minutes=10)
"""The time by which it may be behind its pace, and make up for it at once."""
SHARE_OF_PAUSES: Final = 16
"""One part in so many of the span is spent between slices: most of a small archive's are empty."""
_RECKONED_EVERY: Final = timedelta(minutes=1)
_COUNTED_EVERY: Final = timedelta(days=1)
_RENEWED_EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is to be read, and how quickly that may be."""

    within: timedelta
    """The span in which every object is read."""
    bandwidth: Callable[[], float]
    """Returns the bytes a second that may be read now."""
    total: Callable[[], int]
    """Counts the bytes of all objects; may raise LedgerFault."""


@dataclass(slots=True)
class RollingRead:
    """Reads the slice that was read the longest time ago, an object after the other, with pauses between them.

    The pauses keep the pace by which every slice is read in time. One connection is used.
    """

    rounds: Rounds
    owner: str
    limits: Limits
    steps: Callable[[SliceLease], Iterator[int]]
    """Reads a slice: the bytes of each object, once its verdict is written down."""
    may: Callable[[], bool]
    """Returns whether the store may be used for this now; may raise LedgerFault."""
    clock: Clock
    log: EventLog
    _due: datetime = field(init=False)
    _walk: Iterator[int] | None = field(default=None, init=False)
    _round: Round | None = field(default=None, init=False)
    _since: datetime | None = field(default=None, init=False)
    _total: int = field(default=0, init=False)
    _rate: float = field(default=0.0, init=False)
    """Bytes a second."""
    _is_any_due: bool = field(default=True, init=False)
    _reckoned: datetime | None = field(default=None, init=False)
    _counted: datetime | None = field(default=None, init=False)
    _renewed: datetime | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Begin to count."""
        self._due = self.clock() + FIRST

    def change(self, within: timedelta) -> None:
        """Read within that span from now on."""
        if within != self.limits.within:
            self.limits, self._reckoned = replace(self.limits, within=within), None

    def __call__(self) -> None:
        """Read what is due."""
        now = self.clock()
        try:
            if self._since is None:
                self._since = self.rounds.keep_since(now)
            self._renew(now)
            until = now + AT_ONCE
            # A clock that was set back must not put it off for long.
            while not now < self._due <= now + AGAIN and now < until and self.may():
                self._go_on(now)
                now = self.clock()
        except (Interrupted, LeaseLost):
            self._walk = None
        except (ArchiverError, LedgerFault) as error:
            self._walk, self._due = None, now + AGAIN
            say_broken_off(self.log, Level.READ, error)

    def _go_on(self, now: datetime) -> None:
        self._reckon(now)
        if self._walk is None:
            self._begin(now)
            return
        self._renew(now)
        size = next(self._walk, None)
        if size is None:
            self._walk = None
            self._pause(now, self.limits.within / SLICES / SHARE_OF_PAUSES)
        else:
            self._pause(now, timedelta(seconds=min(size / self._rate, LONGEST_PAUSE.total_seconds())))

    def _pause(self, now: datetime, span: timedelta) -> None:
        self._due = max(min(self._due, now), now - CATCH_UP) + span

    def _begin(self, now: datetime) -> None:
        if self._round is None:
            self._round = self.rounds.begin(Course.READ, now=now)
        held = None
        if self._is_any_due:
            held = self.rounds.take(Course.READ, owner=self.owner, now=now, lease=LEASE, round_=self._round)
        if held is not None:
            self._walk, self._renewed = self.steps(held), now
        elif self._is_any_due and self._is_ended(self._round, now):
            self._round = self._reckoned = None
        else:
            self._due, self._round = now + AGAIN, None

    def _is_ended(self, round_: Round, now: datetime) -> bool:
        """End the round, unless another process has a slice of it; the listing is left to whoever lists every day."""
        listing = self.rounds.take(Course.READ, owner=self.owner, now=now, lease=LEASE, round_=round_, listing=True)
        if listing is not None:
            self.rounds.finish(listing, Checked(), now=now)
        return self.rounds.end(round_, now=now)

    def _reckon(self, now: datetime) -> None:
        """Find out the pace anew, every so often."""
        if is_within(self._reckoned, now, _RECKONED_EVERY):
            return
        if not is_within(self._counted, now, _COUNTED_EVERY):
            self._total, self._counted = self.limits.total(), now
        standings, within = self.rounds.standings(Course.READ, now=now), self.limits.within
        dues = due_slices(standings, total=self._total, since=self._since or now, within=within, now=now)
        self._rate = pace_of(unhurried(dues, within, now), now, self.limits.bandwidth()) or 1.0
        newest = self.rounds.newest(Course.READ)
        is_old = newest is not None and newest.begun_at <= now - within / 2
        self._is_any_due = (
            is_old or not standings or is_any_due((each for each in standings if not each.was_unread), within, now)
        )
        self._reckoned = now

    def _renew(self, now: datetime) -> None:
        if self._walk is not None and not is_within(self._renewed, now, _RENEWED_EVERY):
            self.rounds.renew(self.owner, now=now, lease=LEASE)
            self._renewed = now


def is_within(at: datetime | None, now: datetime, span: timedelta) -> bool:
    """Return whether `at` is less than `span` ago; False for a time to come, which a clock that was set back made."""
    return at is not None and at <= now < at + span


def say_broken_off(log: EventLog, level: Level, error: ArchiverError | LedgerFault) -> None:
    """Say that a check of the service could not go on."""
    code = f"{error.code}: " if isinstance(error, ArchiverError) else ""
    log.warning("fixity.broken_off", check=level.value, reason=f"{code}{error}", hint=error.hint)
