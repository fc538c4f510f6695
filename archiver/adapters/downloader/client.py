"""The anonymous client of the CDN: guarded, verifying, resuming."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial

import httpx

from archiver.adapters.downloader.address import Guard, Reach
from archiver.adapters.downloader.answer import CookieAsked, Hiccup, expect_audio, fault, location_of
from archiver.adapters.downloader.body import VerifyingBody
from archiver.adapters.downloader.dialer import ConnectionOptions, Dialer, Network, Proxy
from archiver.adapters.downloader.limits import BodyLimits
from archiver.adapters.downloader.throttle import Throttle
from archiver.adapters.downloader.transport import IDLE_SECONDS, Response, SocketTransport
from archiver.adapters.downloader.url import Url
from archiver.adapters.http1 import Headers, Pool
from archiver.core.errors import AddressForbidden, ArchiverError, BodyShort, OriginBusy, OriginFaulty
from archiver.core.records.kinds.names import Media
from archiver.core.refusals import RedirectForbidden
from archiver.core.text import host_of
from archiver.ports.runtime import UNWATCHED, Checkpoint, Jitter, Watch, unobserved
from archiver.ports.transfer import Download, Received, Suspended, uncounted

REDIRECTS_MAX = 5
TRIES = 3
TRY_SECONDS = 10.0
"""No further try inside one `open` is begun later than this after the first."""
TRY_FIRST = 0.5
"""Seconds before the second try; doubles with each, spread by half either way."""

_REDIRECTS = {301, 302, 303, 307, 308}


class HttpDownloader:
    """Satisfies archiver.ports.transfer.Downloader; may be shared by threads.

    Sends nothing but Host, User-Agent, `Accept: */*`, `Accept-Encoding: identity` and, on resume, Range
    and If-Range: no cookie, no credential. Reads nothing from the environment but the system's
    certificates.

    Addresses are judged as archiver.adapters.downloader.address says. Through a proxy it is the proxy that
    resolves names: then literal addresses and localhost are still refused, names are not looked up.

    Checkpoints: download.opened, download.first_byte, download.mid_body (some bytes came, the end has
    not), download.body_done (the end is verified).
    """

    def __init__(
        self,
        *,
        user_agent: str,
        limits: BodyLimits,
        reach: Reach = Reach(),  # noqa: B008 - it is frozen
        connections: ConnectionOptions = ConnectionOptions(),  # noqa: B008 - it is frozen
        network: Network = Network(),  # noqa: B008 - it is frozen
        throttle: Throttle | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Jitter = random.random,
        on_failure: Callable[[str], None] = lambda _: None,
        checkpoint: Checkpoint = unobserved,
        watch: Watch = UNWATCHED,
    ) -> None:
        """Build a client that opens no connection yet.

        `user_agent` is sent as it is; default python agents are refused by the provider's CDN. Without a `throttle`
        the bandwidth has no limit. `clock` is monotonic, in seconds; `sleep` and `jitter` make the waits between
        tries. `on_failure` is called with a URL's host (see `host_of`) each time it did not answer as it should;
        `watch` hears of each block.
        Raises ValueError for an agent that no header can carry, and for a proxy of another kind.
        """
        if not user_agent or not (user_agent.isascii() and user_agent.isprintable()):
            raise ValueError("user_agent must be printable ASCII")
        self._headers = _fields({"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "identity"})
        self._limits = limits
        self._throttle = throttle or Throttle()
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._on_failure = on_failure
        self._checkpoint = checkpoint
        self._watch = watch
        self._guard = Guard(reach, resolve=network.resolve)
        self._transport = self._reaching(network, connections)

    def _reaching(self, network: Network, connections: ConnectionOptions) -> SocketTransport:
        proxy = Proxy(connections.proxy) if connections.proxy is not None else None
        dialer = Dialer(guard=self._guard, network=network, proxy=proxy, options=connections, clock=self._clock)
        pool = Pool(most=connections.most_idle, clock=self._clock, idle_seconds=IDLE_SECONDS)
        return SocketTransport(guard=self._guard, dialer=dialer, pool=pool, proxy=proxy)

    @contextmanager
    def open(self, url: str, received: Received = uncounted, *, media: Media = Media.AUDIO) -> Iterator[Download]:
        """GET `url`, judge status, address and first bytes, which must be of that media, and hand out the body.

        Calls `received` with the size of each block.
        Network failures, 408, 429 and 5xx are tried again, three times within ten seconds at most.
        Raises OriginBusy, LinkSpent, BodyNotAudio, BodyEmpty, BodyTooLarge or AddressForbidden.
        """
        try:
            body = self._begun(url, received, media)
            with self._handed_out(url, body):
                yield body
        except OriginBusy:
            self._on_failure(host_of(url))
            raise

    @contextmanager
    def _handed_out(self, url: str, body: VerifyingBody) -> Iterator[None]:
        try:
            with closing(body), self._watch.interruptible(body.interrupt):
                yield
        except Suspended as suspended:
            suspended.resume = partial(self._resume, url, body)
            raise

    @contextmanager
    def _resume(self, url: str, body: VerifyingBody, received: Received) -> Iterator[Download]:
        body.resumed(received)
        try:
            with self._handed_out(url, body):
                yield body
        except OriginBusy:
            self._on_failure(host_of(url))
            raise

    def _begun(self, url: str, received: Received, media: Media) -> VerifyingBody:
        """Begin; after a failure that this may mend again, TRIES times within TRY_SECONDS."""
        began, tries = self._clock(), 0
        while True:
            try:
                return self._begin(url, received, media)
            except (Hiccup, BodyShort) as error:
                tries, wait = tries + 1, self._wait(error, tries)
                if tries == TRIES or self._clock() - began + wait >= TRY_SECONDS:
                    raise
            self._on_failure(host_of(url))
            self._sleep(wait)

    def _wait(self, error: ArchiverError, before: int) -> float:
        spread: float = TRY_FIRST * 2**before * (0.5 + self._jitter())
        return max(spread, error.retry_after or 0.0)

    def _begin(self, url: str, received: Received, media: Media) -> VerifyingBody:
        response = self._get(url, {})
        try:
            expect_audio(response)
            self._checkpoint("download.opened")
            body = VerifyingBody(
                response,
                reopen=lambda extra: self._get(url, extra),
                limits=self._limits,
                throttle=self._throttle,
                clock=self._clock,
                sleep=self._sleep,
                checkpoint=self._checkpoint,
                watch=self._watch,
                received=received,
                media=media,
            )
            body.look()
        except BaseException:
            response.close()
            raise
        return body

    def _get(self, url: str, extra: Mapping[str, str]) -> Response:
        """Return the first answer that is no redirect; its status is not judged."""
        at, seen, cookie, headers = _parsed(url), set[Url](), False, self._headers + _fields(extra)
        for _ in range(REDIRECTS_MAX + 1):
            response = self._send(at, headers, redirected=bool(seen))
            if response.status_code not in _REDIRECTS or "location" not in response.headers:
                return response
            response.close()
            seen.add(at)
            cookie = cookie or "set-cookie" in response.headers
            at = _redirected(at, location_of(response))
            if cookie and at in seen:
                raise CookieAsked("a redirect to where it came from, with a cookie that is to be sent back")
        raise OriginFaulty(f"more than {REDIRECTS_MAX} redirects")

    def _send(self, url: Url, headers: Headers, *, redirected: bool) -> Response:
        try:
            return self._transport.get(url, headers)
        except AddressForbidden as error:
            if redirected:
                raise RedirectForbidden(str(error)) from error
            raise
        except httpx.TransportError as error:
            raise fault(error) from error

    def renew_trust(self) -> None:
        """Verify by the certificates of now on new connections; raises OSError, and all is as it was then."""
        self._transport.renew_trust()

    def allow_hosts(self, hosts: Sequence[str]) -> None:
        """Go to these hosts alone from now on (see `Reach`); bodies that are open are read on."""
        self._guard.allow(hosts)

    def close(self) -> None:
        """Close the idle connections; bodies that are open may be read on."""
        self._transport.close()


def _parsed(url: str) -> Url:
    try:
        return Url.of(url)
    except ValueError:
        raise AddressForbidden("not a URL") from None


def _redirected(base: Url, place: str) -> Url:
    try:
        return base.joined(place)
    except ValueError:
        raise OriginFaulty("a redirect to what is no URL") from None


def _fields(named: Mapping[str, str]) -> Headers:
    return [(name.encode(), value.encode()) for name, value in named.items()]
