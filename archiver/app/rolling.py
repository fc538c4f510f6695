"""The checks that the service makes by itself, composed: the archive listed every day, and every object read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from archiver.adapters.object_store.buffers import BufferBudget
from archiver.app.assembly import Parts
from archiver.app.store import open_store
from archiver.core.errors import Interrupted
from archiver.core.fixity import Fixity
from archiver.core.fixity_faults import FixityFault, is_of_slice
from archiver.core.fixity_pace import SHARE_BESIDE_DEADLINES, readers
from archiver.core.levels import Level
from archiver.core.model import Dependency, Subject
from archiver.core.slices import SliceLease
from archiver.ports.archive import Archive, Bandwidth
from archiver.preservation.daily_list import DailyList
from archiver.preservation.fault_book import FaultBook
from archiver.preservation.fetching import BLOCK, Fetching
from archiver.preservation.looking import Looking
from archiver.preservation.proving import Allowance, Proving
from archiver.preservation.recording import Recording
from archiver.preservation.rolling import Limits, RollingRead
from archiver.preservation.slice_reading import SliceReading
from archiver.preservation.verification import Verification

_NO_LIMIT = float("inf")
Count = Callable[[Mapping[Fixity, int]], None]
"""Counts objects that were judged, by verdict."""


@dataclass(frozen=True, slots=True)
class Watching:
    """Words and questions of a job of the daemon while it goes on."""

    progress: Callable[[], None]
    asked: Callable[[], bool]
    """Returns whether the process is to end."""
    count: Count


def daily_list(parts: Parts, watching: Watching) -> Callable[[], object]:
    """Return what lists the archive every `verify.list_every`, as it is set at the time."""
    adapters, clock = parts.adapters, parts.machine.clock

    def check(renew: Callable[[], None]) -> Mapping[Fixity, int]:
        def look() -> None:
            renew()
            _look(watching)

        work = _verification(parts, Level.LIST, adapters.throttle, watching)
        work.look = look
        book = FaultBook(adapters.ledger.faults, Level.LIST, clock, parts.log)
        for _ in Recording(work, book, adapters.ledger.checks, clock, log=parts.log).of(work.run()):
            pass
        watching.count(work.totals.verdicts)
        return work.totals.verdicts

    rounds, terms = adapters.ledger.rounds, parts.terms
    every = terms.settings.verify.list_every
    listing = DailyList(rounds, adapters.owner, every, check, _usable(parts), clock, parts.log)

    def job() -> None:
        listing.every = terms.settings.verify.list_every
        if listing.every:
            listing()

    return job


def rolling_read(parts: Parts, watching: Watching, pressing: Callable[[], bool]) -> Callable[[], object]:
    """Return what reads every object again within `verify.within`, or else notes that it is not promised.

    It reads nothing while work is `pressing`.
    """
    adapters, machine, terms = parts.adapters, parts.machine, parts.terms
    rounds = adapters.ledger.rounds
    work = _verification(parts, Level.READ, _Both(terms.own, adapters.throttle), watching)

    def book(held: SliceLease) -> FaultBook:
        return FaultBook(adapters.ledger.faults, Level.READ, machine.clock, parts.log, partial(_covers, held))

    reading = SliceReading(work, rounds, book, adapters.ledger.checks, machine.clock, watching.count)

    is_usable = _usable(parts)

    def may() -> bool:
        return is_usable() and not pressing()

    def begun(within: timedelta) -> RollingRead:
        limits = Limits(within, partial(_rate, parts), lambda: adapters.ledger.objects.holdings().bytes)
        return RollingRead(rounds, adapters.owner, limits, reading.steps, may, machine.clock, parts.log)

    return RollingJob(lambda: terms.settings.verify.within, begun, partial(rounds.keep_since, None))


@dataclass(slots=True)
class RollingJob:
    """Reads the archive again while that is set; to be called again and again."""

    within: Callable[[], timedelta]
    begun: Callable[[timedelta], RollingRead]
    """Returns one that begins to read."""
    off: Callable[[], object]
    """Notes that it is not promised."""
    _reading: RollingRead | None = None

    def __call__(self) -> None:
        """Read what is due."""
        within = self.within()
        if not within:
            self._reading = None
            self.off()
            return
        if self._reading is None:
            self._reading = self.begun(within)
        self._reading.change(within)
        self._reading()


def _covers(held: SliceLease, fault: FixityFault) -> bool:
    """Return whether a walk from where the slice was left on looks at the object."""
    return is_of_slice(fault, held.number) and (fault.task_id, fault.key) > (held.place.task, held.place.key)


def _rate(parts: Parts) -> float:
    """Return the bytes a second that may be read now: while tasks are in flight a fifth of what all may."""
    local = parts.machine.local()
    timetables = parts.terms.settings.verify.bandwidth, parts.terms.settings.download.bandwidth
    own, shared = (_NO_LIMIT if rate is None else rate for rate in (each.rate_at(local) for each in timetables))
    return min(own, shared / SHARE_BESIDE_DEADLINES if parts.dispatcher.working else shared)


def _usable(parts: Parts) -> Callable[[], bool]:
    return partial(parts.breakers.is_usable, Subject(Dependency.STORE))


def _look(watching: Watching) -> None:
    watching.progress()
    if watching.asked():
        raise Interrupted


def _verification(parts: Parts, level: Level, bandwidth: Bandwidth, watching: Watching) -> Verification:
    settings, adapters, machine = parts.settings, parts.adapters, parts.machine
    archive, prefix = adapters.store.archive, settings.store.prefix

    @contextmanager
    def fresh() -> Iterator[Archive]:
        with closing(open_store(settings, parts.log, machine)) as store:
            yield store.archive

    def received(_: int) -> None:
        watching.progress()

    buffers = BufferBudget(readers(settings.download.most_transfers) * BLOCK)
    fetching = Fetching(archive, buffers, bandwidth, machine.sleep, watching.asked, received)
    looking = Looking(archive, adapters.ledger.objects, Proving(fetching, fresh), prefix, level, Allowance())
    parallel = readers(settings.download.most_transfers)
    return Verification(archive, adapters.ledger.objects, looking, prefix, level, parallel, partial(_look, watching))


@dataclass(frozen=True, slots=True)
class _Both:
    """Two limits on what comes in, both kept."""

    own: Bandwidth
    shared: Bandwidth

    @property
    def on(self) -> bool:
        """See Bandwidth."""
        return self.own.on or self.shared.on

    def take(self, most: int) -> int:
        """See Bandwidth."""
        mine = self.own.take(most) if self.own.on else most
        share = self.shared.take(mine) if self.shared.on else mine
        if share < mine:
            self.own.give_back(mine - share)
        return share

    def give_back(self, size: int) -> None:
        """See Bandwidth."""
        self.own.give_back(size)
        self.shared.give_back(size)
