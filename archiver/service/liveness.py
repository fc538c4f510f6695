"""Liveness: each loop of the service, each task and each transfer must show progress as often as promised."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from archiver.core.errors import Stuck
from archiver.core.model import StemName, TaskId
from archiver.core.transfer import HANGS, Activity
from archiver.ports.runtime import EventLog

SILENT_AT_MOST = timedelta(minutes=5)
"""The time without a byte after which a task or a transfer is given up: no wait on a network is so long."""

HEEDED_WITHIN = timedelta(minutes=5)
"""The time that what was given up may take to end; after it the whole process counts as hung."""


class Liveness:
    """Knows which loops are late. Safe to share between threads.

    Fed by work that was done, never by a timer: the watchdog, `/healthz` and the alerts all ask it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.tasks: TaskWatch | None = None
        """The watch over tasks and transfers, where there is one."""
        self._clock = clock
        self._lock = threading.Lock()
        self._within: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def expect(self, name: str, within: timedelta) -> None:
        """Expect `name` to show progress at least once in `within`, from now on."""
        with self._lock:
            self._within[name] = within.total_seconds()
            self._last[name] = self._clock()

    def progress(self, name: str) -> None:
        """Note that `name` has just done a round of its work."""
        # Without the lock: every block that comes in or leaves passes here, and one name more or less is seen anyway.
        self._last[name] = self._clock()

    def late(self) -> Mapping[str, float]:
        """Return the loops that are late, and the tasks that do not heed being given up.

        Each with the seconds since its last progress.
        """
        now = self._clock()
        with self._lock:
            silent = {name: now - self._last[name] for name in self._within}
            late = {name: seconds for name, seconds in silent.items() if seconds > self._within[name]}
        return late if self.tasks is None else {**late, **self.tasks.late()}

    def stuck(self) -> Mapping[str, float]:
        """Return the tasks and transfers that were given up and have not ended yet, each with its silence."""
        return {} if self.tasks is None else self.tasks.stuck()

    def give_up(self) -> None:
        """Give up the tasks and transfers that were silent for too long."""
        if self.tasks is not None:
            self.tasks.give_up()


@dataclass(slots=True, eq=False)
class _Activity:
    """The work of one thread at one task, or at one stem of it."""

    task_id: TaskId
    stem: StemName | None
    clock: Callable[[], float]
    moved: float
    waits: int = 0
    stops: list[Callable[[], object]] = field(default_factory=list)
    given_up: bool = False
    writes_since: float | None = None
    """When it began to write a task's documents, while it does."""
    tried: bool = False
    """True where a try at them failed before."""

    def silence(self) -> float:
        return 0.0 if self.waits else self.clock() - self.moved

    def give_up(self) -> None:
        self.given_up = True
        for stop in tuple(self.stops):
            with suppress(OSError):
                stop()

    @property
    def name(self) -> str:
        return f"task {self.task_id}" if self.stem is None else f"transfer {self.task_id}/{self.stem}"


class _Here(threading.local):
    activity: _Activity | None = None


class TaskWatch:
    """Watches each task and each transfer by itself; satisfies `archiver.ports.runtime.Watch`.

    A block is a plain write: no lock, a third of a microsecond. `progress` hears of it too.
    """

    def __init__(
        self,
        log: EventLog,
        clock: Callable[[], float] = time.monotonic,
        *,
        progress: Callable[[], None] = lambda: None,
        within: timedelta = SILENT_AT_MOST,
        heeded_within: timedelta = HEEDED_WITHIN,
    ) -> None:
        self._log = log
        self._clock = clock
        self._progress = progress
        self._within = within.total_seconds()
        self._late_after = (within + heeded_within).total_seconds()
        self._lock = threading.Lock()
        self._activities: set[_Activity] = set()
        self._here = _Here()

    # --- the Watch

    def progress(self) -> None:
        """See Watch."""
        self._progress()
        activity = self._here.activity
        if activity is not None:
            now = self._clock()
            if activity.given_up:
                silent, activity.moved, activity.given_up = now - activity.moved, now, False
                raise Stuck(f"nothing moved for {silent:.0f} s")
            activity.moved = now

    @contextmanager
    def at_work(self, task_id: TaskId, stem: StemName | None = None) -> Iterator[Activity]:
        """See Watch."""
        outer, activity = self._here.activity, _Activity(task_id, stem, self._clock, self._clock())
        with self._lock:
            self._activities.add(activity)
        self._here.activity = activity
        try:
            yield activity
        finally:
            self._here.activity = outer
            with self._lock:
                self._activities.remove(activity)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """See Watch."""
        activity = self._here.activity
        if activity is None:
            yield
            return
        activity.waits += 1
        try:
            yield
        finally:
            activity.moved = self._clock()
            activity.waits -= 1

    @contextmanager
    def writing(self, *, tried: bool) -> Iterator[None]:
        """See Watch."""
        activity = self._here.activity
        if activity is None:
            yield
            return
        activity.writes_since, activity.tried = self._clock(), tried
        try:
            yield
        finally:
            activity.writes_since = None

    @contextmanager
    def interruptible(self, stop: Callable[[], object]) -> Iterator[None]:
        """See Watch."""
        activity = self._here.activity
        if activity is None:
            yield
            return
        activity.stops.append(stop)
        try:
            yield
        finally:
            activity.stops.remove(stop)

    # --- the dispatcher's side

    def held_up(self, room: int | None, soon: float) -> int:
        """Return how many tasks the store holds up by keeping silent about their documents.

        Where others wait, all but `room` of these that were silent for longer than `soon` (seconds) are given up, the
        longest first. Each once: tried again, it may take its time, beside others.
        """
        silent = [each for each in self._at_work() if each.writes_since is not None and each.silence() >= HANGS]
        if room is not None and len(silent) > room:
            late = [each for each in silent if not each.tried and each.silence() > soon]
            for activity in sorted(late, key=_Activity.silence, reverse=True)[: len(silent) - room]:
                activity.give_up()
        return len(silent)

    def oldest_writing(self) -> float:
        """Return the seconds for which the documents of a task are being written, of those that take longest."""
        since = [each.writes_since for each in self._at_work() if each.writes_since is not None]
        return self._clock() - min(since) if since else 0.0

    # --- the supervisor's side

    def give_up(self) -> None:
        """Give up every task and transfer that was silent for too long; call this every few seconds."""
        for activity in self._at_work():
            silent = activity.silence()
            if activity.given_up or silent <= self._within:
                continue
            self._log.error("task.stuck", task_id=activity.task_id, stem=activity.stem, silent_seconds=round(silent))
            activity.give_up()

    def stuck(self) -> Mapping[str, float]:
        """Return what was given up and has not ended yet, each with the seconds since it last moved."""
        now = self._clock()
        return {each.name: now - each.moved for each in self._at_work() if each.given_up}

    def late(self) -> Mapping[str, float]:
        """Return of these what does not heed it."""
        return {name: silent for name, silent in self.stuck().items() if silent > self._late_after}

    def _at_work(self) -> list[_Activity]:
        with self._lock:
            return list(self._activities)
