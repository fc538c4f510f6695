"""One transfer among others: how fast it is, whether it ends soon, how long it may take, and what a fair share is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from typing import Protocol

SLICE = 5.0
"""Seconds that a transfer runs before its rate is judged; the rate is that of the last SLICE, or of twice as long."""
SOON = 60.0
"""Seconds within which a transfer ends soon: it is not worth breaking off; ..."""
SOON_AT_LEAST = 10.0
"""... beside a quicker host, one of a slow host does within this, ..."""
SOON_TIMES = 8
"""... or so many times what the quickest takes for a whole file."""
CRAWL = 300.0
"""Seconds that are still to go for one that crawls: it may keep a worker only while none is wanted elsewhere."""
HANGS = 2.0
"""Seconds without an answer after which a transfer only holds a thread: others may have one beside it."""
GIVES_WAY = 600.0
"""Seconds for which one that was broken off because it is slow goes last."""
MUCH = 1024 * 1024
"""Bytes beyond which hashing and moving a file keep more than one core busy."""
LEAST_LIMIT = timedelta(minutes=10)
"""The time that every file may take, however near its deadline is."""


class Activity(Protocol):
    """The work of one thread at a transfer."""

    def silence(self) -> float:
        """Return the seconds without a byte, in or out; 0 while it waits for what is watched itself."""

    def give_up(self) -> None:
        """Have what it waits for end, and a failed try with it."""


@dataclass(slots=True, eq=False)
class Transfer:
    """One stem's way through the pool: for whom it counts, and how far it is. Times are seconds of the pool's clock."""

    deadline: datetime
    host: str = ""
    account: str = ""
    task: str = ""
    stem: str = ""
    length: int | None = None
    """Bytes that it will be; None while nobody has said."""
    size: int = 0
    """Bytes that came since it began, or began anew."""
    first_begun: float | None = None
    begun: float | None = None
    """None while it waits."""
    answered: bool = False
    """True once its origin has answered with a body."""
    broken_off: bool = False
    """True: it is to end with its next block, and to wait again for its turn."""
    dropped: bool = False
    """True: it is to end with its next block, and its task with it."""
    tried: bool = False
    """True where a try at it failed before."""
    activity: Activity | None = None
    """The work at it, while there is any."""
    gave_way_at: float = -inf
    """When it was last broken off because it is slow, be it within its share."""
    _before: tuple[float, int] = field(default=(0.0, 0), repr=False)
    _mark: tuple[float, int] = field(default=(0.0, 0), repr=False)

    def begin(self, now: float) -> None:
        """Begin, or begin anew."""
        self.begun = now
        self.first_begun = now if self.first_begun is None else self.first_begun
        self.broken_off = False
        self.announce(None, now)
        self.answered = False

    def announce(self, length: int | None, now: float) -> None:
        """Note how many bytes are to come from now on."""
        self.length, self.size, self.answered = length, 0, True
        self._before = self._mark = (now, 0)

    def count(self, size: int, now: float) -> None:
        """Note that a block came."""
        self.size += size
        if now - self._mark[0] >= SLICE:
            self._before, self._mark = self._mark, (now, self.size)

    def hangs(self, now: float) -> bool:
        """Return whether it waits for its origin, for a fresh link or for the store, and nothing moves."""
        if self.begun is None:
            return False
        return self.silence() >= HANGS or (not self.answered and now - self.begun >= HANGS)

    def is_whole(self) -> bool:
        """Return whether all its bytes have come: only the store keeps it."""
        return self.answered and self.length is not None and self.size >= self.length

    def silence(self) -> float:
        """Return the seconds for which no byte of it has come or left."""
        activity = self.activity
        return 0.0 if activity is None else activity.silence()

    def give_up(self) -> None:
        """Have it end as a failed try."""
        activity = self.activity
        if activity is not None:
            activity.give_up()

    def gives_way(self, now: float) -> bool:
        """Return whether others go first, however urgent it is."""
        return now - self.gave_way_at < GIVES_WAY

    def seconds_left(self, now: float) -> float:
        """Return how long it will take at its present rate; nothing while that cannot be told yet.

        One of unknown length is taken to last as long again as it did so far.
        """
        if self.begun is None or now - self.begun < SLICE:
            return 0.0
        if self.length is None:
            return now - self.begun
        since, size = self._before
        if now - since < SLICE:
            return 0.0
        rate = (self.size - size) / (now - since)
        return (self.length - self.size) / rate if rate > 0 else inf


@dataclass(frozen=True, slots=True)
class Moving:
    """A transfer that is under way, as people see it."""

    task: str
    stem: str
    size: int
    """Bytes that came by now."""
    length: int | None
    """Bytes that it will be; None while nobody has said."""
    seconds: float
    """Since it began, or began anew."""


def time_limit(size: int, min_rate: float, left: timedelta | None) -> timedelta | None:
    """Return how long a file of `size` bytes may take in all, None for any time.

    Its size at the minimum rate, and no longer than until its deadline, which is `left` away (None: not known), or
    past. LEAST_LIMIT is always allowed.
    """
    limits = [] if left is None else [left]
    if min_rate > 0:
        limits.append(timedelta(seconds=min(size / min_rate, 1e9)))
    return max(LEAST_LIMIT, min(limits)) if limits else None


def max_min_share(demands: Iterable[int], capacity: int) -> float:
    """Return the most that one may have where `capacity` is shared fairly; infinite where there is enough for all."""
    left, wanting = capacity, sorted(demands)
    for number, demand in enumerate(wanting):
        share = left / (len(wanting) - number)
        if demand > share:
            return share
        left -= demand
    return inf
