"""The page, served: a ledger that is only read, a bucket and views that are made when they are asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from archiver.adapters.ledger import SqlLedger
from archiver.app.clock import utc_now
from archiver.app.extras import need
from archiver.app.rotation import FileWatch, Reload, Renewals, Rotation, Tune
from archiver.core.errors import SettingsFault, StorePaused
from archiver.logs import mask, set_level
from archiver.ports.archive import BrowsedArchive
from archiver.ports.runtime import EventLog
from archiver.service.supervision import Hangup
from archiver.settings import KEYS, Settings
from archiver.settings.key_file import read_key
from archiver.web.asgi import Application, AsgiServer, MadeOnce
from archiver.web.listener import Limits
from archiver.web.page.addresses import LOOPBACK, Hosts
from archiver.web.page.sessions import Sessions

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
    need("the page", "page", "starlette", "jinja2")
    address = settings.page.address()
    if address is None:
        raise SettingsFault("page.listen is empty: name an address of this machine, such as 127.0.0.1:9466")
    sessions = Sessions(utc_now, _token(settings))
    renewed: dict[str, Callable[[], None]] = {"token of the page": lambda: sessions.rely_on(_token(settings))}
    with ExitStack() as stack:
        opens, hosts = archive or opens_archive(settings, log, stack, renewed), Hosts(settings.page.hosts)
        stores = _stores(settings, opens)

        def views() -> Application:
            from archiver.app.page_views import guarded, parts_of  # noqa: PLC0415 - what nobody asks for takes 6 MB

            return guarded(parts_of(settings, config, log, ledger, opens, stack), hosts, sessions, stores)

        try:
            server = AsgiServer(MadeOnce(views), *address, log=log, limits=LIMITS)
        except OSError as error:
            raise SettingsFault(
                f"page.listen: {settings.page.listen} cannot be listened on: {error.strerror}"
            ) from None
        with closing(server):
            hosts.port = int(server.address.rpartition(":")[2])
            url = _url(settings, hosts.port)
            yield Served(url, f"{url}enter#{sessions.link_token()}", renewed)


_ELSEWHERE = ("callback.", "download.allowed_hosts", "http.", "notify.", "provider.api_key", "provider.requests")
"""Beginnings of settings that the page does not use itself: the commands that it starts read them."""


def rotation_of(
    settings: Settings, served: Served, hangup: Hangup, files: FileWatch, read: Callable[[], Settings], log: EventLog
) -> Rotation:
    """Return what lets token, credentials and certificates change while the page is served."""
    tunes: dict[str, Tune] = {key: lambda _: None for key in KEYS if key.startswith(_ELSEWHERE)}
    tunes["log.level"] = lambda new: set_level(new.log.level)
    return Rotation(hangup, files, Reload(settings, read, tunes, log, served.renewals))


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


def opens_archive(
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
