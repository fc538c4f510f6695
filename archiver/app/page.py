"""The page, composed: a ledger that is only read, a bucket that is opened when it is asked for, and the door."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from archiver.adapters.ledger import SqlLedger
from archiver.adapters.sounds import SoundFiles, SoundsApart
from archiver.app.clock import utc_now
from archiver.app.extras import extra
from archiver.app.rotation import Reload, Renewals, Rotation, Tune
from archiver.app.standing import fixity_standing, queue_standing, seen_processes
from archiver.core.attention import QueueStanding
from archiver.core.errors import SettingsFault, StorePaused
from archiver.core.fixity_standing import FixityStanding
from archiver.core.reports import Process
from archiver.core.slices import Course, Standing
from archiver.logs import mask, set_level
from archiver.ports.archive import BrowsedArchive
from archiver.ports.runtime import EventLog
from archiver.preservation.fetching import Fetching
from archiver.service.supervision import Hangup
from archiver.settings import KEYS, Settings
from archiver.settings.key_file import read_key
from archiver.web.asgi import AsgiServer
from archiver.web.listener import Limits

with extra("the page", "page"):
    from archiver.app.operations import CommandOperations
    from archiver.web.page.addresses import LOOPBACK, Hosts
    from archiver.web.page.application import application, links
    from archiver.web.page.doings import Doings
    from archiver.web.page.figures import Source
    from archiver.web.page.parts import Parts, Words
    from archiver.web.page.rendering import Pages
    from archiver.web.page.safety import Door, Guarded
    from archiver.web.page.sessions import Sessions
    from archiver.web.page.sounding import Soundings

LIMITS = Limits(body=1 << 20)
_TOKEN_MIN = 16


@dataclass(frozen=True, slots=True)
class Served:
    """The page at work."""

    url: str
    """Where it is, as a browser on this machine asks for it; ends in a slash."""
    link: str
    """The link that lets one browser in, once. A secret."""
    renewals: Renewals
    """By each the page's token, or the store's credentials and certificates, are read anew."""


@contextmanager
def serving(
    settings: Settings,
    log: EventLog,
    *,
    ledger: SqlLedger,
    archive: Callable[[], BrowsedArchive] | None = None,
    config: Path | None = None,
) -> Iterator[Served]:
    """Serve the page of these settings, which stand in `config`, while this lasts.

    Raises SettingsFault where it may not, or cannot, listen. Without an `archive` the bucket of the settings is opened
    once it is asked for.
    """
    address = settings.page.address()
    if address is None:
        raise SettingsFault("page.listen is empty: name an address of this machine, such as 127.0.0.1:9466")
    sessions = Sessions(utc_now, _token(settings))
    renewed: dict[str, Callable[[], None]] = {"token of the page": lambda: sessions.rely_on(_token(settings))}
    with ExitStack() as stack:
        opens = archive or _opens_archive(settings, log, stack, renewed)
        parts = _parts(settings, config, log, ledger, opens, stack)
        hosts = Hosts(settings.page.hosts)
        door = Door(hosts, sessions, parts.pages, _stores(settings, opens))
        try:
            server = AsgiServer(Guarded(application(parts), door), *address, log=log, limits=LIMITS)
        except OSError as error:
            raise SettingsFault(
                f"page.listen: {settings.page.listen} cannot be listened on: {error.strerror}"
            ) from None
        stack.enter_context(closing(server))
        hosts.port = int(server.address.rpartition(":")[2])
        url = _url(settings, hosts.port)
        yield Served(url, f"{url}enter#{sessions.link_token()}", renewed)


_ELSEWHERE = ("callback.", "download.allowed_hosts", "http.", "notify.", "provider.api_key", "provider.requests")
"""Beginnings of settings that the page does not use itself: the commands that it starts read them."""


def rotation_of(
    settings: Settings, served: Served, hangup: Hangup, read: Callable[[], Settings], log: EventLog
) -> Rotation:
    """Return what lets token, credentials and certificates change while the page is served."""
    tunes: dict[str, Tune] = {key: lambda _: None for key in KEYS if key.startswith(_ELSEWHERE)}
    tunes["log.level"] = lambda new: set_level(new.log.level)
    return Rotation.of(Reload(settings, read, tunes, log, served.renewals), hangup)


@contextmanager
def reading(settings: Settings, log: EventLog, ledger: SqlLedger) -> Iterator[Parts]:
    """Give the parts of the page's views while this lasts, to be read without serving."""
    with ExitStack() as stack:
        yield _parts(settings, None, log, ledger, _opens_archive(settings, log, stack, {}), stack)


def _parts(
    settings: Settings,
    config: Path | None,
    log: EventLog,
    ledger: SqlLedger,
    archive: Callable[[], BrowsedArchive],
    stack: ExitStack,
) -> Parts:
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


def operates(settings: Settings) -> bool:
    """Return whether the page has actions: as set, else on loopback alone."""
    return settings.page.actions == "operate" if settings.page.actions else _is_on_loopback(settings)


def _is_on_loopback(settings: Settings) -> bool:
    host = (settings.page.address() or ("", 0))[0]
    try:
        return host in LOOPBACK or ip_address(host).is_loopback
    except ValueError:
        return False


def _token(settings: Settings) -> str:
    """Return the token of page.token_file, empty without one; raise SettingsFault where it is needed or faulty."""
    file = settings.page.token_file
    if not _is_on_loopback(settings) and not (file and settings.page.hosts):
        raise SettingsFault(
            f"page.listen: {settings.page.listen} is not loopback: put a proxy with TLS before the page, "
            "name it in page.hosts, and set page.token_file"
        )
    if file is None:
        return ""
    try:
        token = read_key(file, guarded=False)
    except ValueError as error:
        raise SettingsFault(f"page.token_file: {error}") from None
    if len(token) < _TOKEN_MIN:
        raise SettingsFault(f"page.token_file: names a file whose token is shorter than {_TOKEN_MIN} characters")
    mask({token})
    return token


def _url(settings: Settings, port: int) -> str:
    if not _is_on_loopback(settings):
        return f"https://{settings.page.hosts[0]}/"
    host = (settings.page.address() or ("127.0.0.1", 0))[0]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _opens_archive(
    settings: Settings, log: EventLog, stack: ExitStack, renewed: dict[str, Callable[[], None]]
) -> Callable[[], BrowsedArchive]:
    """Return what opens the bucket at its first call: its libraries take more memory than all the rest.

    From then on `renewed` has what opens it anew.
    """
    lock, opened = threading.Lock(), list[BrowsedArchive]()

    def archive() -> BrowsedArchive:
        from archiver.app.store import open_store  # noqa: PLC0415 - loads the store's libraries

        with lock:
            if not opened:
                store = stack.enter_context(closing(open_store(settings, log)))
                renewed["credentials and certificates of the store"] = store.renew
                opened.append(store.archive)
            return opened[0]

    return archive


def _stores(settings: Settings, archive: Callable[[], BrowsedArchive]) -> Sequence[str]:
    """Return the origin that audio comes from beside the page's own; raise SettingsFault where no link can be made."""
    if settings.page.audio == "proxy":
        return ()
    try:
        link = urlsplit(archive().link(settings.store.prefix + "vocal.mp3", name="vocal.mp3", seconds=1))
    except StorePaused as fault:
        raise SettingsFault(f"page.audio: presigned links cannot be made: {fault}") from None
    return (f"{link.scheme}://{link.netloc}",)


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
