"""GET as an httpx transport that copies no body: httpx's own costs about three times the CPU.

`stream_of(response).reader` receives the body into the caller's buffer. Connections are kept alive, the
Guard is asked before each request and each connection, and failures are httpx's exceptions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import httpx

from archiver.adapters.downloader.address import Guard, port_of
from archiver.adapters.downloader.dialer import Dialer, Proxy
from archiver.adapters.http1 import RECEIVE, Connection, Head, Origin, Pool, Reader, request_head

IDLE_SECONDS = 20.0
"""Seconds that an unused connection is kept; most servers keep it longer."""
LINGER_SECONDS = 0.5
"""Seconds that an origin that said `close` may take to do so before its silence counts as the end."""


class Stream(httpx.SyncByteStream):
    """An answer's body while it occupies its connection."""

    def __init__(
        self, reader: Reader, connection: Connection, release: Callable[[Connection], None], *, keeps_alive: bool
    ) -> None:
        self.reader = reader
        self._connection = connection
        self._release = release
        self._keeps_alive = keeps_alive
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body, copied; the way in for httpx's own methods."""
        buffer = memoryview(bytearray(RECEIVE))
        while size := self.reader.receive(buffer):
            yield bytes(buffer[:size])

    def finish_within(self, seconds: float) -> None:
        """Have the rest of the body come in so many seconds, however slowly it drips."""
        self._connection.finish_within(seconds)

    def interrupt(self) -> None:
        """Have a wait for the body end at once, as if the other side had closed."""
        self._connection.interrupt()

    def overruns(self) -> bool:
        """Return whether bytes follow the end of the body, as far as a short wait shows it."""
        return self._connection.peek(0.0 if self._keeps_alive else LINGER_SECONDS) == 1

    def close(self) -> None:
        """Give the connection back when the whole body was read, else close it."""
        if not self._open:
            return
        self._open = False
        if self._keeps_alive and self.reader.framed and self.reader.ended:
            self._release(self._connection)
        else:
            self._connection.close()


def stream_of(response: httpx.Response) -> Stream:
    """Return the stream of a response that came through SocketTransport."""
    return cast("Stream", response.extensions["archiver"])


class SocketTransport(httpx.BaseTransport):
    """Sends GETs without a body; `stream_of(response).reader` receives the answer's body.

    A request on a kept connection that the origin had already closed is sent once more on a new one,
    as long as no byte of an answer has come.
    """

    def __init__(self, *, guard: Guard, dialer: Dialer, pool: Pool, proxy: Proxy | None) -> None:
        self._guard = guard
        self._dialer = dialer
        self._pool = pool
        self._proxy = proxy

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; raise httpx.TransportError, or what the Guard raises."""
        self._guard.admit(request.url)
        if request.method != "GET":
            raise httpx.LocalProtocolError("only GET is sent")
        origin = (request.url.scheme, request.url.raw_host.decode("ascii"), port_of(request.url))
        head = self._head_of(request)
        kept = self._pool.take(origin)
        response = None if kept is None else self._exchange(kept, head, origin)
        return self._fresh(head, origin) if response is None else response

    def _fresh(self, head: bytes, origin: Origin) -> httpx.Response:
        response = self._exchange(self._dialer.dial(origin), head, origin)
        if response is None:
            raise httpx.ReadError("the connection was closed without an answer")
        return response

    def _exchange(self, connection: Connection, request: bytes, origin: Origin) -> httpx.Response | None:
        """Return the answer; None when the connection turned out to be closed before any byte of one."""
        try:
            head = _ask(connection, request)
            if head is None:
                connection.close()
                return None
            stream = Stream(
                head.reader(connection), connection, lambda c: self._pool.put(origin, c), keeps_alive=head.keeps_alive
            )
        except BaseException:
            connection.close()
            raise
        return httpx.Response(head.status, headers=head.headers, stream=stream, extensions={"archiver": stream})

    def _head_of(self, request: httpx.Request) -> bytes:
        target, headers = request.url.raw_path, list(request.headers.raw)
        if self._proxy is not None and request.url.scheme == "http":
            target = b"http://" + request.url.netloc + target
            headers += self._proxy.credentials
        return request_head(b"GET", target, headers)

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()


def _ask(connection: Connection, request: bytes) -> Head | None:
    try:
        connection.send(request)
        return Head.read(connection)
    except (httpx.WriteError, httpx.ReadError):
        if connection.answered:
            raise
        return None
