"""Which transfers are broken off, so that what others wait for does not wait for slow ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from archiver.core.transfer import CRAWL, SOON, Transfer
from archiver.pipeline.lanes import Lanes, Party

LOOK_EVERY = 1.0
"""Seconds between two looks at what runs."""
PUT_OFF = 30.0
"""Seconds for which a task is put off whose transfers crawl, ..."""
APART = 0.1
"""... so many apart for each host, so that there are at most ten such looks a second, however many wait, ..."""
LONGEST = 3600.0
"""... and at most this."""
FIRST_EXCHANGE = 10.0
"""Seconds until slow ones are exchanged again; doubles, to LONGEST, until a transfer comes quickly."""


@dataclass(slots=True)
class Exchange:
    """Says when slow ones give way to those of which nothing better is known: seldom, where that brings nothing."""

    due_at: float
    wait: float = FIRST_EXCHANGE

    def use(self, now: float) -> None:
        """Note that some gave way."""
        self.due_at, self.wait = now + self.wait, min(2 * self.wait, LONGEST)

    def renew(self, now: float) -> None:
        """Note that there is something better than what is slow."""
        self.due_at, self.wait = min(self.due_at, now), FIRST_EXCHANGE


class Preemption:
    """Breaks off slow transfers, by these rules, each where something waits that is within its shares.

    A party beyond its share gives up those that do not end soon. Of slow ones at most half of the threads are full
    while something waits that may come quickly, or, now and then, that was never begun. One that would not end before
    the deadline of what waits gives way to it, where that is the nearer one, or where it would not meet its own either.
    While tasks wait for a worker, those whose transfers crawl keep at most half of the workers.
    Needs the lock of `lanes` where threads share it.
    """

    def __init__(self, lanes: Lanes[Any], *, clock: Callable[[], float], wall: Callable[[], datetime]) -> None:
        self._lanes = lanes
        self._clock = clock
        self._wall = wall
        self._looked_at = clock()
        self._workers = 0
        """The number of workers while tasks wait for one; 0 while none does."""
        self._places = 0
        """The number of workers, once anybody has said so."""
        self._explored = False
        """True where, in this look, something slow gave way to what is not known to be better."""
        self._tasks, self._transfers = Exchange(clock()), Exchange(clock())

    def is_due(self, now: float) -> bool:
        """Return whether it is time for another look."""
        return now - self._looked_at >= LOOK_EVERY

    def look(self) -> None:
        """Break off what must be; at most once in LOOK_EVERY."""
        now = self._clock()
        if not self.is_due(now):
            return
        self._looked_at = now
        soon = self._lanes.soon(now)
        for transfer in self._lanes.running:
            if transfer.seconds_left(now) > soon:
                self._lanes.lane(transfer.host).slow_at = now
        if self._lanes.waiting:
            self._make_room(now)

    # --- room for what waits in the pool

    def _make_room(self, now: float) -> None:
        lanes = self._lanes
        stopping = [transfer for transfer in lanes.running if transfer.broken_off]
        free = lanes.level + lanes.beside - len(lanes.running) + len(stopping)
        changes = lanes.counted(stopping, -1)
        self._explored = False
        for waiting in lanes.all_waiting()[: lanes.level]:
            if any(lanes.beyond(waiting, changes)) and not self._may_be_quick(waiting, now):
                continue
            full = self._is_full(waiting.host, stopping)
            if full or free <= 0:
                victim = self._victim(waiting, changes, now, of_host=full)
                if victim is None:
                    continue
                victim.broken_off = True
                stopping.append(victim)
                changes.update(lanes.counted([victim], -1))
            else:
                free -= 1
            changes.update(lanes.counted([waiting], 1))
        if self._explored:
            self._transfers.use(now)

    def _may_be_quick(self, waiting: Transfer, now: float) -> bool:
        """Return whether it is to go before slow ones, which fill more than half of the threads, whatever its share."""
        if waiting.gives_way(now) or self._lanes.lane(waiting.host).is_slow(now):
            return False
        slow = [each for each in self._lanes.running if not each.broken_off and self._lasts(each, now)]
        return len(slow) > self._lanes.level // 2

    def _lasts(self, transfer: Transfer, now: float) -> bool:
        """Return whether what runs does not end soon."""
        slow = self._lanes.lane(transfer.host).is_slow(now)
        return transfer.seconds_left(now) > (self._lanes.soon(now) if slow else SOON)

    def _is_full(self, host: str, stopping: Collection[Transfer]) -> bool:
        lane = self._lanes.lane(host)
        return lane.limit is not None and lane.active - sum(each.host == host for each in stopping) >= lane.limit.level

    def _victim(self, waiting: Transfer, changes: Counter[Party], now: float, *, of_host: bool) -> Transfer | None:
        """Return the transfer to break off for this one; None where none is to be."""
        lasting = [
            transfer
            for transfer in self._lanes.running
            if not transfer.broken_off and self._lasts(transfer, now) and (not of_host or transfer.host == waiting.host)
        ]
        surplus = [transfer for transfer in lasting if any(self._lanes.has_surplus(transfer, changes))]
        if surplus:
            return max(surplus, key=lambda each: (self._lanes.has_surplus(each, changes), each.seconds_left(now)))
        return self._slow(waiting, lasting, now) or self._late(waiting, lasting, now)

    def _slow(self, waiting: Transfer, lasting: Collection[Transfer], now: float) -> Transfer | None:
        """Return the least urgent that is slow, where more than half of the threads are at such."""
        if len(lasting) <= self._lanes.level // 2 or waiting.gives_way(now):
            return None
        if self._lanes.lane(waiting.host).is_slow(now):
            if waiting.first_begun is not None or now < self._transfers.due_at:
                return None
            self._explored = True
        victim = max(lasting, key=lambda each: (each.deadline, each.seconds_left(now)))
        victim.gave_way_at = now
        return victim

    def _late(self, waiting: Transfer, lasting: Collection[Transfer], now: float) -> Transfer | None:
        """Return the slowest that ends too late for what waits, and is less urgent or hopeless."""
        time, quick = self._wall(), not self._lanes.lane(waiting.host).is_slow(now)
        room = (waiting.deadline - time).total_seconds()
        late = [
            transfer
            for transfer in lasting
            if 0 < room < transfer.seconds_left(now)
            and (waiting.deadline < transfer.deadline or (quick and _is_hopeless(transfer, now, time)))
        ]
        if not late:
            return None
        slowest = max(late, key=lambda each: each.seconds_left(now))
        if _is_hopeless(slowest, now, time):
            slowest.gave_way_at = now
        return slowest

    # --- room for what waits in the ledger

    def crowd(self, workers: int) -> list[Transfer]:
        """Note that tasks wait while all `workers` are busy (0: none wait); drop and return what ends with its task."""
        self._workers = workers
        now = self._clock()
        if not workers or now < self._tasks.due_at:
            return []
        crawling = self._crawling(now)
        spare = len(crawling) - workers // 2
        if spare <= 0:
            return []
        self._tasks.use(now)
        least_urgent = sorted(crawling, key=lambda its: max(each.deadline for each in its))[-spare:]
        dropped = [transfer for its in least_urgent for transfer in its]
        for transfer in dropped:
            transfer.broken_off = transfer.dropped = True
        return dropped

    def slow_tasks(self, workers: int) -> int:
        """Return how many tasks are at slow or silent hosts alone; they may have `workers` places beside others."""
        self._places, now = workers, self._clock()
        self._lanes.hanging = [transfer for transfer in self._lanes.running if transfer.hangs(now)]
        self._lanes.beside = min(self._lanes.level, len(self._lanes.hanging))
        self._give_up_silent(now)
        return self._slow_tasks(now)

    def _give_up_silent(self, now: float) -> None:
        """Give up those about which the store keeps silent, while others wait and more than half of the threads hang.

        Each once: tried again, it may take its time, beside others.
        """
        spare = len(self._lanes.hanging) - self._lanes.level // 2
        if spare <= 0 or not self._lanes.waiting:
            return
        soon = self._lanes.soon(now)
        silent = [each for each in self._lanes.hanging if each.is_whole() and not each.tried and each.silence() > soon]
        for transfer in sorted(silent, key=Transfer.silence, reverse=True)[:spare]:
            transfer.give_up()

    def _slow_tasks(self, now: float) -> int:
        quick: dict[str, bool] = {}
        for transfer in self._lanes.running:
            held_up = transfer.hangs(now) or self._lanes.lane(transfer.host).is_slow(now)
            quick[transfer.task] = quick.get(transfer.task, False) or not held_up
        return sum(not its for its in quick.values())

    def came_quickly(self) -> None:
        """Note that there is something better to do than what crawls."""
        self._tasks.renew(self._clock())
        self._transfers.renew(self._clock())

    def _crawling(self, now: float) -> list[list[Transfer]]:
        """Return the transfers of each task of which all that run crawl."""
        tasks: dict[str, list[Transfer]] = {}
        for transfer in self._lanes.running:
            tasks.setdefault(transfer.task, []).append(transfer)
        return [its for its in tasks.values() if all(each.seconds_left(now) > CRAWL for each in its)]

    def put_off(self, hosts: Collection[str], *, dropped: bool) -> timedelta | None:
        """Return how long a task with stems on these hosts alone is to wait; None: it may go on.

        One that was `dropped` always waits; any other where the hosts are slow, and such tasks are as many as there are
        workers, or, while tasks wait for one, those that crawl have their half.
        """
        now = self._clock()
        lanes = [self._lanes.lane(host) for host in hosts]
        if not dropped:
            if not all(lane.is_slow(now) for lane in lanes):
                return None
            crawls = self._workers and len(self._crawling(now)) >= self._workers // 2
            if not crawls and not 0 < self._places <= self._slow_tasks(now):
                return None
        first = min(lanes, key=lambda lane: lane.look_at)
        first.look_at = min(max(now + PUT_OFF, first.look_at + APART), now + LONGEST)
        return timedelta(seconds=first.look_at - now)


def _is_hopeless(transfer: Transfer, now: float, time: datetime) -> bool:
    """Return whether it would not end before its own deadline, at its present rate."""
    return transfer.seconds_left(now) > (transfer.deadline - time).total_seconds()
