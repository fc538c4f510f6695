"""The number of transfers that a host gets at one time, found by trying.

Under a full limit, throughput is the number of transfers over the time that each takes. So throughput alone is
measured. A trial with more transfers is kept while it brings more: beyond that the host is full, and the rest would
only wait there. A trial with fewer is kept where it brings as much. Both are made in turn and for ever, for a host
changes. A host that answers `too busy` gets fewer at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FIRST = 4
"""Transfers that an unknown host gets."""
GROWTH, CUT = 4, 5
"""A step adds a quarter or removes a fifth; each reverses the other."""
WORTH = 0.3
"""The part of a step's best possible effect that throughput must show for the step to count."""
COLLAPSED = 0.7
"""A host whose throughput falls below this part of its usual one, under the same limit, has too many."""
WINDOW = 1.0
"""Seconds that a measurement lasts at least."""
ROUNDS = 3
"""Pieces of each transfer that a measurement counts, after one that began under another limit."""
FEWEST = 16
"""Pieces that a measurement counts at least."""
REST = 4
"""Measurements between two trials."""
PATIENCE = 10.0
"""Seconds in which one answer of `too busy` is ignored for each TRANSFERS_A_REFUSAL transfers."""
TRANSFERS_A_REFUSAL = 8


Why = Literal["trial", "trial failed", "busy", "slower"]


@dataclass(frozen=True, slots=True)
class Change:
    """The limit was changed."""

    before: int
    after: int
    why: Why


class Limit:
    """The number of transfers at one time, from 1 to `most`.

    Times are seconds of one clock that only goes forward. Not to be shared between threads without a lock.
    """

    def __init__(self, most: int, now: float, *, first: int = FIRST) -> None:
        self.level = min(first, most)
        self._most = most
        self._trial_from: int | None = None
        self._usual: float | None = None
        """Bytes a second that come at the level, before a trial."""
        self._upwards = self._doubling = True
        self._rest = 0
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
        """Note that fewer were under way than the limit: their throughput does not measure it."""
        self._restart(now)

    def refused(self, active: int, now: float) -> Change | None:
        """Note that the host answered `too busy`, with so many under way.

        Ignored while more are under way than the limit: the last change has yet to take effect.
        """
        if active > self.level:
            return None
        self._refusals = 1 if now - self._refused_at > PATIENCE else self._refusals + 1
        if self._refusals == 1:
            self._refused_at = now
        if self._refusals <= self.level // TRANSFERS_A_REFUSAL:
            return None
        tried = self._trial_from if self._upwards else None
        after = max(1, self.level // 2) if tried is None else tried
        self._upwards, self._doubling, self._rest = tried is None, after == 1, REST
        return self._cut(after, "busy", now)

    def bound(self, most: int, now: float) -> None:
        """Bound the limit to `most` from now on."""
        self._most = most
        if self.level > most:
            self._cut(most, "trial", now)

    def _judge(self, rate: float, now: float) -> Change | None:
        if self._trial_from is not None:
            return self._next_trial(rate, now) if self._worked(rate, self._trial_from) else self._go_back(now)
        if self._usual is not None and rate < COLLAPSED * self._usual:
            self._upwards, self._doubling, self._rest = False, False, 0
            return self._cut(max(1, self.level // 2), "slower", now)
        self._usual = rate if self._usual is None else (3 * self._usual + rate) / 4
        self._rest -= 1
        return self._next_trial(self._usual, now) if self._rest <= 0 else None

    def _worked(self, rate: float, before: int) -> bool:
        """Return whether more transfers brought more, or fewer as much."""
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
            self._doubling, self._rest = False, 0
        else:
            self._turn()
        return self._set(before, "trial failed", now)

    def _turn(self) -> None:
        self._upwards, self._doubling, self._rest = not self._upwards, False, REST

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
