"""The figures of the overview: those of `status` and of the metrics, from the same questions to the ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from archiver.core.attention import QueueStanding
from archiver.core.fixity_standing import FixityStanding
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Dependency, Pause, Subject
from archiver.core.outlook import Outlook, outlook
from archiver.core.reports import Overview, Process
from archiver.core.slices import Standing
from archiver.core.states import ENDED_BADLY, StemState, TaskState
from archiver.ports.plots import Plots, Series

DAY = timedelta(days=1)

T = TypeVar("T")


class Around(Protocol):
    """All that stands around the ledger's own figures."""

    def queue(self) -> QueueStanding:
        """Return how the queue file stands."""

    def fixity(self, now: datetime, slices: Sequence[Standing]) -> FixityStanding:
        """Return how the archive stands by all checks so far, of which these slices are a part."""

    def slices(self, now: datetime) -> Sequence[Standing]:
        """Return how each slice stands that is read again; none where none is."""

    def processes(self, now: datetime) -> Sequence[tuple[Process, bool]]:
        """Return who works on the ledger, each with whether it lives."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All that the overview shows, of one moment."""

    now: datetime
    overview: Overview
    outlook: Outlook
    queue: QueueStanding
    is_queue_overdue: bool
    fixity: FixityStanding
    slices: Sequence[Standing]
    processes: Sequence[tuple[Process, bool]]
    archived: Sequence[tuple[datetime, int]]
    """Tasks by the hour, of the last day."""
    accounts: Sequence[AccountName]

    @property
    def total(self) -> int:
        """All tasks."""
        return sum(self.overview.tasks.values())

    @property
    def safe(self) -> int:
        """Tasks that are archived."""
        return self.overview.tasks.get(TaskState.ARCHIVED, 0)

    @property
    def open(self) -> int:
        """Tasks that have not ended."""
        return self.overview.tasks.get(TaskState.QUEUED, 0) + self.overview.tasks.get(TaskState.LISTED, 0)

    @property
    def lost(self) -> int:
        """Tasks that ended without all of their audio, for whatever cause."""
        return sum(self.overview.tasks.get(state, 0) for state in ENDED_BADLY)

    @property
    def stored(self) -> int:
        """Stems in the store."""
        return self.overview.stems.get(StemState.STORED, 0)

    @property
    def need(self) -> int:
        """Tasks that need a person."""
        return sum(self.overview.needs.values())

    @property
    def alive(self) -> Sequence[Process]:
        """The processes that work on the ledger now."""
        return [process for process, lives in self.processes if lives]

    @property
    def dependencies(self) -> Sequence[tuple[str, str, Pause | None]]:
        """Each dependency's name, which account or host it is, and its pause; those that work have none."""
        paused = {pause.subject: pause for pause in self.overview.pauses if not pause.over(self.now)}
        rows: list[tuple[str, str, Pause | None]] = []
        held = next((each for each in paused.values() if each.held and each.dependency is Dependency.PROVIDER), None)
        rows += [
            ("Provider", f"account {name}", held or paused.get(Subject(Dependency.PROVIDER, name)))
            for name in self.accounts or (DEFAULT_ACCOUNT,)
        ]
        origins = [(each.host or "all", each) for each in paused.values() if each.dependency is Dependency.ORIGIN]
        rows += [("Audio host", name, pause) for name, pause in origins] or [("Audio hosts", "", None)]
        rows.append(("Store", "", paused.get(Subject(Dependency.STORE))))
        return rows


@dataclass(frozen=True, slots=True)
class Source:
    """The places that figures come from."""

    overview: Callable[[datetime], tuple[Overview, Series]]
    """With the stems that are not stored yet."""
    plots: Plots
    around: Around
    poll: timedelta
    accounts: Sequence[AccountName]

    def look(self, now: datetime) -> Figures:
        """Return the figures of this moment; raise LedgerFault."""
        overview, backlog = self.overview(now)
        queue, slices = self.around.queue(), self.around.slices(now)
        return Figures(
            now=now,
            overview=overview,
            outlook=outlook(backlog, overview.stems_an_hour, now),
            queue=queue,
            is_queue_overdue=queue.is_overdue(now, self.poll),
            fixity=self.around.fixity(now, slices),
            slices=slices,
            processes=self.around.processes(now),
            archived=self.plots.archived(since=now - DAY),
            accounts=self.accounts,
        )


@dataclass(frozen=True, slots=True)
class _Made(Generic[T]):
    """Something that is made, or was, at a mark and a time."""

    mark: str
    at: datetime
    since: object
    future: Future[T] = field(default_factory=Future)


class Kept(Generic[T]):
    """Keeps what was made last, by its mark. Who asks while something is made anew waits for it.

    After their patience they get what was made last, if that is no older than `lasts`. Safe for many threads.
    """

    def __init__(self, lasts: timedelta = timedelta()) -> None:
        self._lasts = lasts
        self._lock = threading.Lock()
        self._last: _Made[T] | None = None
        self._next: _Made[T] | None = None

    def of(
        self, mark: str, now: datetime, make: Callable[[], T], *, since: object = None, patience: float | None = None
    ) -> T:
        """Return what was made at this mark, or make it; raises what `make` does.

        Who has patience (in seconds) gets what was made last once it is over, unless that was at another `since`.
        """
        while True:
            last, its = self._at(mark, now, make, since)
            may_last = last is not None and last.since == since and timedelta() <= now - last.at < self._lasts
            if last is not None and patience is not None and may_last and not wait([its.future], patience).done:
                return last.future.result()
            found = its.future.result()
            if its.mark == mark:
                return found

    def _at(self, mark: str, now: datetime, make: Callable[[], T], since: object) -> tuple[_Made[T] | None, _Made[T]]:
        """Return what was made last, and what to wait for."""
        with self._lock:
            if self._last is not None and self._last.mark == mark:
                return None, self._last
            if self._next is None:
                self._next = _Made(mark, now, since)
                threading.Thread(target=self._make, args=(self._next, make), name="figures", daemon=True).start()
            return self._last, self._next

    def _make(self, its: _Made[T], make: Callable[[], T]) -> None:
        try:
            made = make()
        except BaseException as fault:  # noqa: BLE001 - whoever waits raises it
            with self._lock:
                self._next = None
            its.future.set_exception(fault)
            return
        with self._lock:
            self._last, self._next = its, None
        its.future.set_result(made)
