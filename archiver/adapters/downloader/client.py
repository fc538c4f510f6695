"""The anonymous client of the CDN: guarded, verifying, resuming."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_before_delay

from archiver.adapters.downloader.address import Guard, Resolve, system_resolve
from archiver.adapters.downloader.answer import Hiccup, expect_audio, fault
from archiver.adapters.downloader.body import Limits, VerifyingBody
from archiver.adapters.downloader.dialer import Connect, Dialer, Proxy, tcp_connect
from archiver.adapters.downloader.throttle import Throttle
from archiver.adapters.downloader.transport import IDLE_SECONDS, SocketTransport
from archiver.adapters.http1 import Pool
from archiver.core.errors import AddressForbidden, ArchiverError, BodyShort, OriginBusy
from archiver.core.text import MAX_URL, host_of
from archiver.ports.runtime import Checkpoint, Jitter, unobserved
from archiver.ports.transfer import Body

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
    certificates; a proxy is given as `proxy`, `http://[user:password@]host[:port]`.

    Addresses are judged as archiver.adapters.downloader.address says. Through a proxy it is the proxy that
    resolves names: then literal addresses and localhost are still refused, names are not looked up.

    Checkpoints: download.opened, download.first_byte, download.mid_body (some bytes came, the end has
    not), download.body_done (the end is verified).
    """

    def __init__(
        self,
        *,
        user_agent: str,
        max_bytes: int,
        min_rate: float,
        rate_window: float = 30.0,
        allowed_hosts: Sequence[str] = (),
        allow_http: bool = False,
        allow_private_addresses: bool = False,
        proxy: str | None = None,
        max_connections: int = 16,
        connect_timeout: float = 10.0,
        read_timeout: float = 20.0,
        throttle: Throttle | None = None,
        ssl_context: ssl.SSLContext | None = None,
        resolve: Resolve = system_resolve,
        connect: Connect = tcp_connect,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Jitter = random.random,
        busy: Callable[[str], None] = lambda _: None,
        checkpoint: Checkpoint = unobserved,
    ) -> None:
        """Build a client that opens no connection yet.

        Args:
            user_agent: sent as it is; default python agents are refused by the provider's CDN.
            max_bytes: larger bodies raise BodyTooLarge.
            min_rate: bytes a second, averaged over `rate_window` seconds of waiting; 0 for any.
            rate_window: see min_rate.
            allowed_hosts: host names, each with all its subdomains; empty for any public host.
            allow_http: fetch plain http too, also where https redirects to it.
            allow_private_addresses: go to any address; for tests and the demo.
            proxy: an HTTP proxy for both schemes; ValueError for another kind.
            max_connections: idle connections kept over all origins.
            connect_timeout: seconds for the connection, whichever address gives it, and again for its TLS handshake.
            read_timeout: seconds without a byte, and for an answer's whole head.
            throttle: the bandwidth; without a limit when None.
            ssl_context: how certificates are verified; the system's way when None.
            resolve: looks up names.
            connect: opens a connection to an address that was judged.
            clock: seconds, monotonic.
            sleep: waits between tries.
            jitter: spreads those waits.
            busy: is told a URL's host (see `host_of`) each time it did not answer as it should.
            checkpoint: see archiver.ports.runtime.Checkpoint.
        """
        if not user_agent or not (user_agent.isascii() and user_agent.isprintable()):
            raise ValueError("user_agent must be printable ASCII")
        self._headers = {"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "identity"}
        self._throttle = throttle or Throttle()
        self._retrying = Retrying(
            stop=stop_after_attempt(TRIES) | stop_before_delay(TRY_SECONDS),
            wait=self._wait,
            retry=retry_if_exception_type((Hiccup, BodyShort)),
            sleep=sleep,
            before_sleep=lambda state: busy(host_of(state.args[0])),
            reraise=True,
        )
        self._limits = Limits(max_bytes=max_bytes, min_rate=min_rate, window=rate_window)
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._busy = busy
        self._checkpoint = checkpoint
        self._guard = guard = Guard(
            resolve=resolve,
            allow_http=allow_http,
            allow_private_addresses=allow_private_addresses,
            allowed_hosts=allowed_hosts,
        )
        way_out = Proxy(proxy) if proxy is not None else None
        dialer = Dialer(
            guard=guard,
            resolve=resolve,
            connect=connect,
            proxy=way_out,
            ssl_context=ssl_context or _system_ssl(),
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            clock=clock,
        )
        pool = Pool(most=max_connections, clock=clock, idle_seconds=IDLE_SECONDS)
        # Without an httpx.Client around it: no cookies, no environment, no redirect and no URL in a log by its doing.
        self._transport = SocketTransport(guard=guard, dialer=dialer, pool=pool, proxy=way_out)

    @contextmanager
    def open(self, url: str) -> Iterator[Body]:
        """GET `url`, judge status, address and first bytes, and hand out the body.

        Network failures, 408, 429 and 5xx are tried again, three times within ten seconds at most.
        Raises OriginBusy, LinkSpent, BodyNotAudio, BodyEmpty, BodyTooLarge or AddressForbidden.
        """
        try:
            with closing(self._retrying(self._begin, url)) as body:
                yield body
        except OriginBusy:
            self._busy(host_of(url))
            raise

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        named = error.retry_after if isinstance(error, ArchiverError) else None
        spread: float = TRY_FIRST * 2 ** (state.attempt_number - 1) * (0.5 + self._jitter())
        return max(spread, named or 0.0)

    def _begin(self, url: str) -> VerifyingBody:
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
            )
            body.look()
        except BaseException:
            response.close()
            raise
        return body

    def _get(self, url: str, extra: Mapping[str, str]) -> httpx.Response:
        """Return the first answer that is no redirect; its status is not judged."""
        at = _parsed(None, url)
        for _ in range(REDIRECTS_MAX + 1):
            response = self._send(at, extra)
            location = response.headers.get("location")
            if response.status_code not in _REDIRECTS or location is None:
                return response
            response.close()
            at = _parsed(at, location)
        raise OriginBusy(f"more than {REDIRECTS_MAX} redirects")

    def _send(self, url: httpx.URL, extra: Mapping[str, str]) -> httpx.Response:
        request = httpx.Request("GET", url, headers={**self._headers, **extra})
        try:
            response = self._transport.handle_request(request)
        except httpx.TransportError as error:
            raise fault(error) from error
        response.request = request
        return response

    def allow_hosts(self, hosts: Sequence[str]) -> None:
        """Go to these hosts alone from now on (see `allowed_hosts`); bodies that are open are read on."""
        self._guard.allow(hosts)

    def close(self) -> None:
        """Close the idle connections; bodies that are open may be read on."""
        self._transport.close()


def _parsed(base: httpx.URL | None, url: str) -> httpx.URL:
    with suppress(httpx.InvalidURL, ValueError):
        if len(url) <= MAX_URL:
            return httpx.URL(url) if base is None else base.join(url)
    if base is None:
        raise AddressForbidden("not a URL")
    raise OriginBusy("a redirect to what is no URL")


def _system_ssl() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
