"""A transport of httpx on connections of our own reader, that bounds a whole exchange in time.

Timeouts of httpx are for one read each, so a byte a second would hold a thread for days; and the patterns of h11, on
which its own transport rests, take minutes for a head of blanks.
"""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from archiver.adapters.http1 import (
    RECEIVE,
    Connection,
    Head,
    Headers,
    Origin,
    Pool,
    Racer,
    Reader,
    connect,
    open_tunnel,
    request_head,
    secure,
    tcp_connect,
)
from archiver.core.http import PORTS

KEEP_ALIVE = 30.0
"""Seconds for which an idle connection is thought alive; after longer, a router may have forgotten it."""
KEPT = 64
"""Idle connections that are kept."""
LONGEST = 60.0
"""Seconds of an exchange outside of `within`, and of one wait."""

SockAddr = tuple[str, int] | tuple[str, int, int, int]


class DeadlineBoundTransport(httpx.BaseTransport):
    """HTTP/1.1 over kept connections, with an end to the whole exchange.

    `proxy` is by http or https. A request on a kept connection that the other side had already closed is sent once
    more on a new one, as long as no byte of an answer has come.
    """

    def __init__(self, proxy: httpx.Proxy | None, clock: Callable[[], float]) -> None:
        self._proxy = proxy
        self._clock = clock
        self._deadline = _Deadline(clock)
        self._ssl = _trust()
        self._racer: Racer[SockAddr] = Racer(tcp_connect, clock)
        self._pool = Pool(most=KEPT, clock=clock, idle_seconds=KEEP_ALIVE)

    def renew_trust(self) -> None:
        """Verify by the certificates of now on new connections; raises OSError, and all is as it was then."""
        self._ssl = _trust()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """End every exchange of this thread after so many seconds."""
        self._deadline.end_in(seconds)
        try:
            yield
        finally:
            self._deadline.end_in(None)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; raises httpx.TransportError."""
        url = request.url
        origin = (url.scheme, url.raw_host.decode("ascii"), url.port or PORTS[url.scheme])
        kept = self._pool.take(origin)
        response = None if kept is None else self._exchange(kept, request, origin)
        if response is None:
            response = self._exchange(self._dial(origin), request, origin)
        if response is None:
            raise httpx.RemoteProtocolError("the connection was closed without an answer")
        return response

    def _exchange(self, connection: Connection, request: httpx.Request, origin: Origin) -> httpx.Response | None:
        try:
            head = self._ask(connection, request)
            if head is None:
                connection.close()
                return None
            give_back = (lambda: self._pool.put(origin, connection)) if head.keeps_alive else None
            stream = _Stream(head.reader(connection), connection, give_back)
        except BaseException:
            connection.close()
            raise
        return httpx.Response(head.status, headers=head.headers, stream=stream)

    def _ask(self, connection: Connection, request: httpx.Request) -> Head | None:
        method, (target, headers) = request.method.encode("ascii"), self._line_of(request)
        try:
            connection.send(request_head(method, target, headers) + request.read())
            connection.finish_within(self._deadline.left())
            return Head.read(connection)
        except (httpx.WriteError, httpx.ReadError):
            if connection.answered:
                raise
            return None

    def _line_of(self, request: httpx.Request) -> tuple[bytes, Headers]:
        if self._proxy is None or request.url.scheme == "https":
            return request.url.raw_path, list(request.headers.raw)
        whole = b"http://" + request.url.netloc + request.url.raw_path
        return whole, [*request.headers.raw, *_credentials(self._proxy)]

    def _dial(self, origin: Origin) -> Connection:
        scheme, host, port = origin
        way = None if self._proxy is None else self._proxy.url
        sock = self._open(host, port) if way is None else self._open(way.host, way.port or PORTS[way.scheme])
        try:
            if way is not None and way.scheme == "https":
                sock = secure(sock, self._ssl, way.host, self._deadline.left())
            if scheme == "https":
                if self._proxy is not None:
                    left = self._deadline.left()
                    open_tunnel(self._connection(sock), host, port, _credentials(self._proxy), left)
                sock = secure(sock, self._ssl, host, self._deadline.left())
            return self._connection(sock)
        except BaseException:
            if way is None:
                self._racer.lost(sock)
            sock.close()
            raise

    def _open(self, host: str, port: int) -> socket.socket:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError("the name cannot be resolved") from error
        addresses: list[SockAddr] = [(str(a[0]), int(a[1]), *a[2:]) for *_, a in found]
        return connect(self._racer, addresses, self._deadline.left(), "the API")

    def _connection(self, sock: socket.socket) -> Connection:
        return Connection(sock, read_timeout=LONGEST, clock=self._clock)

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()


def _credentials(proxy: httpx.Proxy) -> Headers:
    if proxy.raw_auth is None:
        return []
    return [(b"Proxy-Authorization", b"Basic " + base64.b64encode(b":".join(proxy.raw_auth)))]


class _Stream(httpx.SyncByteStream):
    """An answer's body while it occupies its connection."""

    def __init__(self, reader: Reader, connection: Connection, give_back: Callable[[], None] | None) -> None:
        self._reader = reader
        self._connection = connection
        self._give_back = give_back
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        buffer = memoryview(bytearray(RECEIVE))
        while size := self._reader.receive(buffer):
            yield bytes(buffer[:size])

    def close(self) -> None:
        """Give the connection back when the whole body was read, else close it."""
        if not self._open:
            return
        self._open = False
        if self._give_back is not None and self._reader.framed and self._reader.ended:
            self._give_back()
        else:
            self._connection.close()


class _Deadline(threading.local):
    """The end of this thread's exchange."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end: float | None = None

    def end_in(self, seconds: float | None) -> None:
        self._end = None if seconds is None else self._clock() + seconds

    def left(self) -> float:
        """Return the seconds that are left; raise httpx.ReadTimeout when none are."""
        left = LONGEST if self._end is None else self._end - self._clock()
        if left <= 0:
            raise httpx.ReadTimeout("the answer took too long")
        return left


def _trust() -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
