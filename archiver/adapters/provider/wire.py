"""One HTTP exchange with one origin: no redirect, bounded in time and in bytes."""

from __future__ import annotations

import ssl
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from archiver.core.errors import ApiBusy
from archiver.core.records.envelope import MAX_ANSWER, scrub

KEEP_ALIVE = 30.0
"""Seconds for which an idle connection is thought alive; after longer, a router may have forgotten it."""

SHORTEST_KEY = 8
"""Characters; a shorter key is left in answers, where it may stand by chance."""

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole and decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """Sends requests to paths below `base_url`, and nowhere else.

    Raises ValueError for a base URL that is not absolute http(s), that carries credentials, a query or
    a fragment, or that is http where `allow_http` is false; for a proxy that is not http(s); and for a
    User-Agent that no header can carry.
    """

    def __init__(
        self,
        base_url: str,
        *,
        auth: httpx.Auth,
        user_agent: str,
        proxy: str | None,
        allow_http: bool,
        clock: Callable[[], float],
    ) -> None:
        if not (user_agent.isascii() and user_agent.isprintable()):
            raise ValueError("the User-Agent must be printable ASCII")
        self._base_url = _judged_base(base_url, allow_http=allow_http)
        self._transport = _HurriedTransport(proxy, clock)
        self._client = httpx.Client(
            transport=self._transport,
            auth=auth,
            follow_redirects=False,
            trust_env=False,
            headers={"User-Agent": user_agent, "Accept": "application/json", "Accept-Encoding": "gzip"},
        )

    def exchange(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        seconds: float,
    ) -> Answer:
        """Send one request and read its whole answer in `seconds`, or raise ApiBusy."""
        request = self._client.build_request(method, self._base_url + path, params=params, json=json)
        try:
            with self._transport.within(seconds):
                response = self._client.send(request, stream=True)
                try:
                    return Answer(response.status_code, response.headers, _unsaid(request, _read_capped(response)))
                finally:
                    response.close()
        except (httpx.HTTPError, httpx.StreamError, *_HTTPCORE_FAULTS, OSError, zlib.error) as fault:
            # The fault's chain holds the request, and the request holds the key.
            raise ApiBusy(f"{type(fault).__name__}: {scrub(str(fault))[:200]}") from None

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


_HTTPCORE_FAULTS = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.ConnectionNotAvailable,
)


def _judged_base(base_url: str, *, allow_http: bool) -> str:
    url = _parsed(base_url, "the provider's base URL")
    if url.scheme not in ("https", "http") or not url.host:
        raise ValueError("the provider's base URL must be absolute: https://host")
    if url.scheme == "http" and not allow_http:
        raise ValueError("the provider's base URL must be https: the API key travels with every request")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("the provider's base URL must not carry credentials, a query or a fragment")
    return str(url).rstrip("/")


def _parsed(url: str, what: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL:
        raise ValueError(f"{what} is no URL") from None


def _unsaid(request: httpx.Request, body: bytes) -> bytes:
    """Return an answer's body without the key that it was asked with, which an error may repeat to us."""
    key = request.headers.get("authorization", "").rpartition(" ")[2]
    return body.replace(key.encode(), b"***") if len(key) >= SHORTEST_KEY else body


def _read_capped(response: httpx.Response) -> bytes:
    """Read the body, at most MAX_ANSWER bytes before and after decoding.

    httpx would decode each piece without a limit, and 64 KiB of gzip can hold 64 MiB.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise ApiBusy(f"the answer came in the encoding {scrub(encoding)[:40]!r}, which was not asked for")
    packed = encoding not in ("identity", "")
    unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
    body = bytearray()
    received = 0
    for piece in response.iter_raw():
        received += len(piece)
        body += unpack.decompress(piece, MAX_ANSWER + 1 - len(body)) if packed else piece
        if len(body) > MAX_ANSWER or received > MAX_ANSWER:
            raise ApiBusy(f"the answer is larger than {MAX_ANSWER} bytes")
    if packed and received and not unpack.eof:
        raise ApiBusy("the answer ended early")
    return bytes(body)


class _HurriedTransport(httpx.BaseTransport):
    """httpcore's pool, with an end to the whole exchange.

    Timeouts of httpx are for one read each, so a byte a second would hold a thread for days.
    """

    def __init__(self, proxy: str | None, clock: Callable[[], float]) -> None:
        self._network = _HurriedNetwork(clock)
        context = httpx.create_ssl_context()
        self._pool: httpcore.ConnectionPool
        if proxy is None:
            self._pool = httpcore.ConnectionPool(
                ssl_context=context,
                max_connections=None,
                keepalive_expiry=KEEP_ALIVE,
                network_backend=self._network,
            )
            return
        url = _parsed(proxy, "the proxy")
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("the proxy must be http://host:port or https://host:port")
        way = httpx.Proxy(url)
        self._pool = httpcore.HTTPProxy(
            proxy_url=str(way.url),
            proxy_auth=way.raw_auth,
            ssl_context=context,
            max_connections=None,
            keepalive_expiry=KEEP_ALIVE,
            network_backend=self._network,
        )

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """End every exchange of this thread after so many seconds."""
        self._network.hurry.end_in(seconds)
        try:
            yield
        finally:
            self._network.hurry.end_in(None)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; what fails is raised as httpcore raises it."""
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.read(),
                extensions={"timeout": {"pool": self._network.hurry.cut(None)}},
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Stream(answer))

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Stream(httpx.SyncByteStream):
    """The body of an httpcore response as httpx wants it."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class _Hurry(threading.local):
    """When this thread's exchange must be over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end: float | None = None

    def end_in(self, seconds: float | None) -> None:
        self._end = None if seconds is None else self._clock() + seconds

    def cut(self, timeout: float | None) -> float | None:
        """Return the seconds that one step may take; raise httpcore.ReadTimeout when none are left."""
        if self._end is None:
            return timeout
        left = self._end - self._clock()
        if left <= 0:
            raise httpcore.ReadTimeout("the answer took too long")
        return left if timeout is None else min(timeout, left)


class _HurriedNetwork(httpcore.SyncBackend):
    """TCP whose every step ends when the thread's exchange must."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.hurry = _Hurry(clock)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = super().connect_tcp(host, port, self.hurry.cut(timeout), local_address, socket_options)
        return _HurriedStream(stream, self.hurry)


class _HurriedStream(httpcore.NetworkStream):
    """A stream whose every step ends when the thread's exchange must."""

    def __init__(self, stream: httpcore.NetworkStream, hurry: _Hurry) -> None:
        self._stream = stream
        self._hurry = hurry

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._hurry.cut(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._hurry.cut(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._hurry.cut(timeout))
        return _HurriedStream(stream, self._hurry)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
