"""The page's views, composed: made once somebody asks for one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from archiver.adapters.ledger import SqlLedger
from archiver.adapters.sounds import SoundFiles, SoundsApart
from archiver.app.clock import utc_now
from archiver.app.operations import CommandOperations
from archiver.app.page import opens_archive, operates
from archiver.app.standing import fixity_standing, queue_standing, seen_processes
from archiver.core.attention import QueueStanding
from archiver.core.fixity_standing import FixityStanding
from archiver.core.reports import Process
from archiver.core.slices import Course, Standing
from archiver.ports.archive import BrowsedArchive
from archiver.ports.runtime import EventLog
from archiver.preservation.fetching import Fetching
from archiver.settings import Settings
from archiver.web.asgi import Application
from archiver.web.page.addresses import Hosts
from archiver.web.page.application import application, links
from archiver.web.page.doings import Doings
from archiver.web.page.figures import Source
from archiver.web.page.parts import Parts, Words
from archiver.web.page.rendering import Pages
from archiver.web.page.safety import Door, Guarded
from archiver.web.page.sessions import Sessions
from archiver.web.page.sounding import Soundings


def guarded(parts: Parts, hosts: Hosts, sessions: Sessions, stores: Sequence[str]) -> Application:
    """Return the application of these parts behind its door; audio may come from the origins of `stores` too."""
    return Guarded(application(parts), Door(hosts, sessions, parts.pages, stores))


@contextmanager
def reading(settings: Settings, log: EventLog, ledger: SqlLedger) -> Iterator[Parts]:
    """Give the parts of the page's views while this lasts, to be read without serving."""
    with ExitStack() as stack:
        yield parts_of(settings, None, log, ledger, opens_archive(settings, log, stack, {}), stack)


def parts_of(
    settings: Settings,
    config: Path | None,
    log: EventLog,
    ledger: SqlLedger,
    archive: Callable[[], BrowsedArchive],
    stack: ExitStack,
) -> Parts:
    """Return the parts of the views; what they open is closed with the stack."""
    words = _words(settings)
    place = f"{words.bucket} / {words.prefix}" if words.prefix else words.bucket
    pages = Pages(links(operates=words.operates), {"place": place, "operates": words.operates})
    fetches = _fetches(settings, ledger, archive, stack)
    return Parts(
        utc_now,
        log,
        words,
        pages,
        ledger.reports,
        archive,
        _figures(settings, ledger),
        fetches,
        ledger.listings,
        Doings(utc_now, log),
        CommandOperations(settings, config) if words.operates else None,
        _soundings(settings, fetches, log, stack),
    )


def _words(settings: Settings) -> Words:
    return Words(
        bucket=settings.store.bucket,
        prefix=settings.store.prefix,
        at_risk=settings.schedule.at_risk,
        retention=settings.provider.retention,
        poll=settings.queue.poll_interval,
        within=settings.verify.within,
        audio=settings.page.audio,
        operates=operates(settings),
    )


def _soundings(
    settings: Settings, fetches: Callable[[], Fetching], log: EventLog, stack: ExitStack
) -> Soundings | None:
    """Return what measures audio; None where nothing may be kept of it, or its decoder is not installed."""
    if not settings.page.cache or not SoundsApart.is_installed():
        return None
    beside = settings.ledger_file() or settings.queue.path
    soundings = Soundings(SoundFiles(beside.parent / "page", settings.page.cache), fetches, log)
    stack.callback(soundings.close)
    return soundings


def _figures(settings: Settings, ledger: SqlLedger) -> Source:
    at_risk, retention = settings.schedule.at_risk, settings.provider.retention
    return Source(
        overview=lambda now: ledger.plots.overview(now=now, at_risk=at_risk, retention=retention),
        plots=ledger.plots,
        around=LedgerSurroundings(settings, ledger),
        poll=settings.queue.poll_interval,
        accounts=list(settings.provider.request_rates()),
    )


@dataclass(frozen=True, slots=True)
class LedgerSurroundings:
    """An Around of these settings."""

    settings: Settings
    ledger: SqlLedger

    def queue(self) -> QueueStanding:
        """See Around."""
        return queue_standing(self.settings, self.ledger)

    def fixity(self, now: datetime, slices: Sequence[Standing]) -> FixityStanding:
        """See Around."""
        return fixity_standing(self.settings, self.ledger, now, slices)

    def slices(self, now: datetime) -> Sequence[Standing]:
        """See Around."""
        return self.ledger.rounds.standings(Course.READ, now=now)

    def processes(self, now: datetime) -> Sequence[tuple[Process, bool]]:
        """See Around."""
        seen = seen_processes(self.settings, self.ledger.reports.processes(), now)
        return [(each.process, each.alive) for each in seen]


def _fetches(
    settings: Settings, ledger: SqlLedger, archive: Callable[[], BrowsedArchive], stack: ExitStack
) -> Callable[[], Fetching]:
    """Return what opens the way for whole reads at its first call."""
    lock, opened = threading.Lock(), list[Fetching]()

    def fetches() -> Fetching:
        from archiver.adapters.downloader.throttle import Throttle  # noqa: PLC0415 - loads the downloader
        from archiver.app.listening import Leftover, fetching  # noqa: PLC0415 - and the store's libraries

        with lock:
            if not opened:
                throttle = Throttle(Leftover(settings.download.bandwidth, ledger.objects.stored_bytes))
                stack.callback(throttle.stop)
                opened.append(fetching(archive(), throttle))
            return opened[0]

    return fetches
