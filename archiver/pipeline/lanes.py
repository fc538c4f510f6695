"""The order of transfers: fair shares of hosts, accounts and tasks, and inside a share the most urgent one first."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import inf
from typing import Generic, TypeAlias, TypeVar

from archiver.core.concurrency import Change, Limit
from archiver.core.transfer import SOON, SOON_AT_LEAST, SOON_TIMES, Transfer, max_min_share

STORE = "the store"
"""The store's name among hosts; no host's name has a space."""
HOSTS_KNOWN = 64
"""Lanes that are remembered while nothing is in them."""
SLOW_REMEMBERED = 600.0
"""Seconds for which a host counts as slow after a slow transfer from it, ..."""
QUICK_REMEMBERED = 60.0
"""... but for so many after one that came quickly."""

Item = TypeVar("Item")
Kind: TypeAlias = tuple[str | None, str]
"""A kind of parties that share: hosts, accounts, tasks; of all transfers (None), or of one host's."""
Party: TypeAlias = tuple[Kind, str]
Whose: TypeAlias = tuple[str, str, str]
"""Host, account and task of a transfer."""


@dataclass(slots=True)
class Lane:
    """One host: its limit, and how quick it is."""

    limit: Limit | None
    """None for as many as there are threads."""
    active: int = 0
    waiting: int = 0
    slow_at: float = -inf
    quick_at: float = -inf
    took: float = inf
    """Seconds that the last whole file took, ..."""
    took_at: float = -inf
    """... and when it came."""
    look_at: float = -inf
    """The latest time for which a task was put off."""

    @property
    def is_full(self) -> bool:
        """True while its host shall have no more."""
        return self.limit is not None and self.active >= self.limit.level

    def is_slow(self, now: float) -> bool:
        """Return whether what came from the host of late came slowly, all of it."""
        return now - self.slow_at < SLOW_REMEMBERED and now - self.quick_at > QUICK_REMEMBERED


class Lanes(Generic[Item]):
    """Transfers that wait or run, by whom they count for, and the limits. Needs a lock where threads share it.

    Where it adapts, the store and each host have a limit that finds itself (see archiver.core.concurrency),
    and `most` bounds each; else `most` run at one time over all hosts.
    """

    def __init__(self, most: int, *, adapts: bool, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._order = itertools.count()
        self._lanes: dict[str, Lane] = {}
        self._buckets: dict[Whose, list[tuple[datetime, int, Transfer, Item]]] = {}
        self._demand: defaultdict[Kind, Counter[str]] = defaultdict(Counter)
        self._active: Counter[Party] = Counter()
        self._shares: dict[Kind, float] = {}
        """Shares as they are now, once somebody has asked."""
        self._store: Limit | None = None
        self.running: dict[Transfer, None] = {}
        self.hanging: Collection[Transfer] = ()
        """Those that run and have no answer, as of the last look."""
        self.beside = 0
        """The number that may run beside them."""
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
        return bool(self._buckets)

    def lane(self, host: str) -> Lane:
        """Return what is known of the host."""
        return self._lanes.get(host) or Lane(None)

    # --- the order

    def put(self, transfer: Transfer, item: Item) -> None:
        """Let `item` wait for its turn."""
        self._known(transfer.host).waiting += 1
        transfer.begun = None
        bucket = self._buckets.setdefault(_whose(transfer), [])
        heapq.heappush(bucket, (transfer.deadline, next(self._order), transfer, item))
        self._note_demand(transfer, 1)

    def _known(self, host: str) -> Lane:
        if host not in self._lanes:
            if len(self._lanes) >= HOSTS_KNOWN:
                self._lanes = {name: lane for name, lane in self._lanes.items() if lane.waiting or lane.active}
            self._lanes[host] = Lane(self._fitted(None))
        return self._lanes[host]

    def take(self) -> tuple[Transfer, Item] | None:
        """Begin the next transfer of those whose host has room, one within its shares first; `end` is to follow."""
        self._shares.clear()
        full = {host for host, lane in self._lanes.items() if lane.is_full}
        if full and self.hanging:
            full -= self._with_room(Counter(transfer.host for transfer in self.hanging))
        ready = [whose for whose in self._buckets if whose[0] not in full]
        if len(self.running) >= self.level:
            tasks = {transfer.task for transfer in self.hanging}
            ready = [whose for whose in ready if whose[2] not in tasks]
        taken = None
        if ready:
            taken = self._pop(ready[0] if len(ready) == 1 else min(ready, key=self._turns()))
            self._begin(taken[0])
        self._note_slack(idle=not ready)
        return taken

    def _with_room(self, hanging: Counter[str]) -> set[str]:
        """Return the hosts that have room beside those that hang, at most as many again."""
        limits = {host: self._lanes[host].limit for host in hanging if host in self._lanes}
        return {
            host
            for host, limit in limits.items()
            if limit is not None and self._lanes[host].active - min(hanging[host], limit.level) < limit.level
        }

    def _turns(self) -> Callable[[Whose], tuple[object, ...]]:
        """Return the key by which a bucket is chosen, as all stands now."""
        now, slow_hosts = self._clock(), self._slow_hosts()

        def turn(whose: Whose) -> tuple[object, ...]:
            deadline, order, head, _ = self._buckets[whose][0]
            slow = whose[0] in slow_hosts
            tried = slow and head.first_begun is not None
            return (head.gives_way(now), slow, *self._beyond(whose), tried, deadline, order)

        return turn

    def _slow_hosts(self) -> Collection[str]:
        """Return the hosts that are slow, once half of all threads are at such hosts."""
        now = self._clock()
        slow = {host for host, lane in self._lanes.items() if lane.is_slow(now)}
        at_them = sum(each.host in slow for each in self.running) if slow else 0
        return slow if at_them >= self.level // 2 else ()

    def _pop(self, whose: Whose) -> tuple[Transfer, Item]:
        bucket = self._buckets[whose]
        _, _, transfer, item = heapq.heappop(bucket)
        if not bucket:
            del self._buckets[whose]
        self._lanes[transfer.host].waiting -= 1
        return transfer, item

    def _begin(self, transfer: Transfer) -> None:
        transfer.begin(self._clock())
        self.running[transfer] = None
        self._lanes[transfer.host].active += 1
        self._active.update(_parties(*_whose(transfer)))

    def end(self, transfer: Transfer) -> bool:
        """Note that what was taken is no longer under way; return whether it came whole and quickly."""
        lane, now = self._lanes[transfer.host], self._clock()
        lane.active -= 1
        del self.running[transfer]
        _take_away(self._active, _parties(*_whose(transfer)))
        self._note_demand(transfer, -1)
        whole = transfer.size > 0 and transfer.size >= (transfer.length or 0)
        if not whole or transfer.broken_off or transfer.begun is None:
            return False
        lane.took, lane.took_at = now - transfer.begun, now
        quick = lane.took <= self.soon(now)
        if quick:
            lane.quick_at = now
        return quick

    def soon(self, now: float) -> float:
        """Return within how many seconds one of a slow host ends soon, by what the quickest host takes of late."""
        took = (lane.took for lane in self._lanes.values() if now - lane.took_at <= QUICK_REMEMBERED)
        return min(SOON, max(SOON_AT_LEAST, SOON_TIMES * min(took, default=inf)))

    def withdraw(self, task: str) -> list[tuple[Transfer, Item]]:
        """Take out what waits of the task, and return it."""
        gone: list[tuple[Transfer, Item]] = []
        for whose in [whose for whose in self._buckets if whose[2] == task]:
            while whose in self._buckets:
                gone.append(self._pop(whose))
                self._note_demand(gone[-1][0], -1)
        return gone

    def all_waiting(self) -> list[Transfer]:
        """Return what waits, in the order of its turns as they are now."""
        self._shares.clear()
        buckets = sorted(self._buckets, key=self._turns())
        return [entry[2] for whose in buckets for entry in sorted(self._buckets[whose], key=lambda each: each[:2])]

    # --- shares

    def _note_demand(self, transfer: Transfer, change: int) -> None:
        self._shares.clear()
        for kind, name in _parties(*_whose(transfer)):
            its = self._demand[kind]
            its[name] += change
            if not its[name]:
                del its[name]
                if not its:
                    del self._demand[kind]

    def _share(self, kind: Kind) -> float:
        """Return the share of each party of that kind; of one host's only where the host is limited."""
        if kind not in self._shares:
            self._shares[kind] = self._share_now(kind)
        return self._shares[kind]

    def _share_now(self, kind: Kind) -> float:
        host = kind[0]
        capacity = self.level
        if host is not None:
            limit = self._lanes[host].limit
            if limit is None:
                return inf
            capacity = min(capacity, limit.level)
        demands = self._demand[kind].values()
        return max_min_share(demands, capacity) if len(demands) > 1 else inf

    def beyond(self, transfer: Transfer, others: Counter[Party] | None = None) -> tuple[bool, ...]:
        """Return for each kind whether the party would have more than its share with this one, and `others`, begun.

        Everybody may have one.
        """
        return self._beyond(_whose(transfer), others)

    def _beyond(self, whose: Whose, others: Counter[Party] | None = None) -> tuple[bool, ...]:
        # Asked of each bucket before each transfer: a call for each party would be the dearest thing of a small file.
        active, shares, found = self._active, self._shares, []
        for party in _parties(*whose):
            count = active.get(party, 0) + (0 if others is None else others[party]) + 1
            share = shares.get(party[0])
            found.append(count > 1 and count > (self._share(party[0]) if share is None else share))
        return tuple(found)

    def has_surplus(self, transfer: Transfer, others: Counter[Party]) -> tuple[bool, ...]:
        """Return for each kind whether the party of this one, which runs, has its share without it."""
        return tuple(
            self._active.get(party, 0) + others[party] - 1 >= self._share(party[0])
            for party in _parties(*_whose(transfer))
        )

    def counted(self, transfers: Collection[Transfer], sign: int) -> Counter[Party]:
        """Return what these add to (or take from) each party."""
        counts: Counter[Party] = Counter()
        for transfer in transfers:
            for party in _parties(*_whose(transfer)):
                counts[party] += sign
        return counts

    # --- what is learned of hosts

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
                limit, active = self._store, len(self.running)
            elif name in self._lanes:
                limit, active = self._lanes[name].limit, self._lanes[name].active
            else:
                continue
            if limit is not None:
                yield name, limit, active


def _whose(transfer: Transfer) -> Whose:
    return transfer.host, transfer.account, transfer.task


@lru_cache(maxsize=1024)
def _parties(host: str, account: str, task: str) -> tuple[Party, ...]:
    return (
        ((None, "host"), host),
        ((None, "account"), account),
        ((None, "task"), task),
        ((host, "account"), account),
        ((host, "task"), task),
    )


def _take_away(counts: Counter[Party], parties: Collection[Party]) -> None:
    for party in parties:
        counts[party] -= 1
        if not counts[party]:
            del counts[party]
