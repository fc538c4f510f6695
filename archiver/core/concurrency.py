"""How many transfers at one time a host is given, found by trying.

With as many under way as are let, throughput and latency are two sides of one thing: what comes a second is
their number over the time that each takes. So throughput alone is looked at. While more transfers bring
more, more are let; where they bring no more the host is full, and the rest would only wait there; where
fewer bring as much, fewer are let. Both are tried in turn, again and again, for a host changes. One that
says that it is too busy is given less at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FIRST = 4
"""Transfers that a host nobody knows yet is given."""
GROWTH, CUT = 4, 5
"""A step adds a quarter or takes a fifth away, each the other's reverse."""
WORTH = 0.3
"""The part of what a step changes at best that throughput must change by for the step to count as felt."""
COLLAPSED = 0.7
"""A host that brings less than this part of what it did, with as many, takes longer for each: it has too many."""
WINDOW = 1.0
"""Seconds that are measured at least."""
ROUNDS = 3
"""Pieces of each transfer that are measured, after one that began under another limit."""
FEWEST = 16
"""Pieces that are measured at least."""
HOLD = 4
"""Windows between two trials."""
PATIENCE = 10.0
"""Seconds in which one answer of `too busy` for each GRUMBLES transfers is let pass."""
GRUMBLES = 8


Why = Literal["trial", "trial failed", "busy", "slower"]


@dataclass(frozen=True, slots=True)
class Change:
    """The limit was changed."""

    before: int
    after: int
    why: Why


class Limit:
    """How many transfers at one time are let, from 1 to `most`.

    Times are seconds of one clock that only goes forward. Not to be shared between threads without a lock.
    """

    def __init__(self, most: int, now: float, *, first: int = FIRST) -> None:
        self.level = min(first, most)
        self._most = most
        self._trial_from: int | None = None
        self._usual: float | None = None
        """Bytes a second that come at the level, before a trial."""
        self._upwards = self._doubling = True
        self._hold = 0
        self._refused_at, self._refusals = now, 0
        self._since, self._bytes, self._pieces = now, 0, 0

    def moved(self, size: int, now: float) -> Change | None:
        """Note that a piece of `size` bytes was moved; judges once there are enough."""
        self._pieces += 1
        if self._pieces <= self.level:
            self._since = now
            return None
        self._bytes += size
        if self._pieces - self.level < max(FEWEST, ROUNDS * self.level) or now - self._since < WINDOW:
            return None
        rate = self._bytes / (now - self._since)
        self._restart(now)
        return self._judge(rate, now)

    def slack(self, now: float) -> None:
        """Note that fewer were under way than are let: what came meanwhile says nothing of the limit."""
        self._restart(now)

    def refused(self, active: int, now: float) -> Change | None:
        """Note that the host said it is too busy, with so many under way.

        Nothing follows while that is more than are let: the last change has yet to take effect.
        """
        if active > self.level:
            return None
        self._refusals = 1 if now - self._refused_at > PATIENCE else self._refusals + 1
        if self._refusals == 1:
            self._refused_at = now
        if self._refusals <= self.level // GRUMBLES:
            return None
        tried = self._trial_from if self._upwards else None
        after = max(1, self.level // 2) if tried is None else tried
        self._upwards, self._doubling, self._hold = tried is None, after == 1, HOLD
        return self._cut(after, "busy", now)

    def bound(self, most: int, now: float) -> None:
        """Let no more than `most` from now on."""
        self._most = most
        if self.level > most:
            self._cut(most, "trial", now)

    def _judge(self, rate: float, now: float) -> Change | None:
        if self._trial_from is not None:
            return self._next_trial(rate, now) if self._worked(rate, self._trial_from) else self._go_back(now)
        if self._usual is not None and rate < COLLAPSED * self._usual:
            self._upwards, self._doubling, self._hold = False, False, 0
            return self._cut(max(1, self.level // 2), "slower", now)
        self._usual = rate if self._usual is None else (3 * self._usual + rate) / 4
        self._hold -= 1
        return self._next_trial(self._usual, now) if self._hold <= 0 else None

    def _worked(self, rate: float, before: int) -> bool:
        """Say whether more transfers brought more, or fewer as much."""
        return self._usual is None or rate >= self._usual * (1 + WORTH * (self.level / before - 1))

    def _next_trial(self, usual: float, now: float) -> Change | None:
        self._usual = usual
        step = self.level if self._doubling else max(1, self.level // GROWTH)
        target = min(self._most, self.level + step) if self._upwards else max(1, self.level - max(1, self.level // CUT))
        if target == self.level:
            self._trial_from = None
            self._turn()
            return None
        self._trial_from = self.level
        return self._set(target, "trial", now)

    def _go_back(self, now: float) -> Change | None:
        before = self._trial_from or self.level
        self._trial_from = None
        if self._doubling:
            self._doubling, self._hold = False, 0
        else:
            self._turn()
        return self._set(before, "trial failed", now)

    def _turn(self) -> None:
        self._upwards, self._doubling, self._hold = not self._upwards, False, HOLD

    def _cut(self, level: int, why: Why, now: float) -> Change | None:
        self._trial_from = self._usual = None
        self._refusals = 0
        return self._set(level, why, now)

    def _set(self, level: int, why: Why, now: float) -> Change | None:
        before, self.level = self.level, level
        self._restart(now)
        return Change(before, level, why) if level != before else None

    def _restart(self, now: float) -> None:
        self._since, self._bytes, self._pieces = now, 0, 0
