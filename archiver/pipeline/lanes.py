"""The order of transfers: the most urgent one whose origin has room. One lane an origin's host."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from archiver.core.concurrency import Change, Limit

STORE = "the store"
"""The store's name among hosts; no host's name has a space."""
HOSTS_KNOWN = 64
"""Lanes that are remembered while nothing is in them."""

Item = TypeVar("Item")


@dataclass(slots=True)
class Lane(Generic[Item]):
    """The items that wait for one host, and the number under way."""

    limit: Limit | None
    """None for as many as there are threads."""
    waiting: list[tuple[datetime, int, Item]] = field(default_factory=list)
    active: int = 0

    @property
    def is_full(self) -> bool:
        """True while its host shall have no more."""
        return self.limit is not None and self.active >= self.limit.level


class Lanes(Generic[Item]):
    """Items by host and deadline, and the limits. Needs a lock where threads share it.

    Where it adapts, the store and each host have a limit that finds itself (see archiver.core.concurrency),
    and `most` bounds each; else `most` run at one time over all hosts.
    """

    def __init__(self, most: int, *, adapts: bool, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._order = itertools.count()
        self._lanes: dict[str, Lane[Item]] = {}
        self._store: Limit | None = None
        self.resize(most, adapts=adapts)

    def resize(self, most: int, *, adapts: bool) -> None:
        """Go by these from now on; a limit keeps what it learned as far as that still counts."""
        self.most, self.adapts = most, adapts
        self._store = self._fitted(self._store)
        for lane in self._lanes.values():
            lane.limit = self._fitted(lane.limit)

    def _fitted(self, limit: Limit | None) -> Limit | None:
        if not self.adapts:
            return None
        now = self._clock()
        if limit is None:
            return Limit(self.most, now)
        limit.bound(self.most, now)
        return limit

    @property
    def level(self) -> int:
        """The number that may run at one time over all hosts: as many as the store takes well."""
        return self.most if self._store is None else self._store.level

    @property
    def highest(self) -> int:
        """The number that may run at one time with the host that has the most."""
        levels = [lane.limit.level for lane in self._lanes.values() if lane.limit is not None]
        return max(levels, default=self.level)

    @property
    def waiting(self) -> bool:
        """True while anything waits, for a full host or not."""
        return any(lane.waiting for lane in self._lanes.values())

    def put(self, deadline: datetime, host: str, item: Item) -> None:
        """Let `item` wait for its host."""
        if host not in self._lanes:
            if len(self._lanes) >= HOSTS_KNOWN:
                self._lanes = {name: lane for name, lane in self._lanes.items() if lane.waiting or lane.active}
            self._lanes[host] = Lane(self._fitted(None))
        heapq.heappush(self._lanes[host].waiting, (deadline, next(self._order), item))

    def take(self) -> tuple[Lane[Item], Item] | None:
        """Begin the item with the earliest deadline of those whose host has room; `end` is to follow."""
        ready = (lane for lane in self._lanes.values() if lane.waiting and not lane.is_full)
        lane = min(ready, key=lambda each: each.waiting[0][:2], default=None)
        taken = None
        if lane is not None:
            lane.active += 1
            taken = lane, heapq.heappop(lane.waiting)[2]
        self._note_slack(idle=lane is None)
        return taken

    def end(self, lane: Lane[Item]) -> None:
        """Note that what was taken from `lane` is no longer under way."""
        lane.active -= 1

    def _note_slack(self, *, idle: bool) -> None:
        """Tell each limit that has room to spare: it is not what slows things, and learns nothing now."""
        now = self._clock()
        if idle and self._store is not None:
            self._store.slack(now)
        for lane in self._lanes.values():
            if lane.limit is not None and not lane.is_full:
                lane.limit.slack(now)

    def moved(self, host: str, size: int) -> Iterator[tuple[str, Change]]:
        """Note that bytes came from `host`; yield which limits change."""
        now = self._clock()
        for name, limit, _ in self._of(host, STORE):
            if change := limit.moved(size, now):
                yield name, change

    def refused(self, host: str) -> Iterator[tuple[str, Change]]:
        """Note that `host`, or STORE, is too busy; yield the limit that changes, if it does."""
        now = self._clock()
        for name, limit, active in self._of(host):
            if change := limit.refused(active, now):
                yield name, change

    def _of(self, *names: str) -> Iterator[tuple[str, Limit, int]]:
        for name in names:
            if name == STORE:
                limit, active = self._store, sum(lane.active for lane in self._lanes.values())
            elif name in self._lanes:
                limit, active = self._lanes[name].limit, self._lanes[name].active
            else:
                continue
            if limit is not None:
                yield name, limit, active
