"""GET without a copy of the body, and without httpx's objects: with them it costs about three times the CPU.

`response.stream.reader` receives the body into the caller's buffer. Connections are kept alive, the Guard is asked
before each request and each connection, and failures are httpx's exceptions.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx

from archiver.adapters.downloader.address import Guard
from archiver.adapters.downloader.dialer import Dialer, Proxy
from archiver.adapters.downloader.url import Url
from archiver.adapters.http1 import Connection, Head, Headers, Origin, Pool, Reader, request_head

IDLE_SECONDS = 20.0
"""Seconds that an unused connection is kept; most servers keep it longer."""
LINGER_SECONDS = 0.5
"""Seconds that an origin that said `close` may take to do so before its silence counts as the end."""


class Stream:
    """An answer's body while it occupies its connection."""

    def __init__(
        self, reader: Reader, connection: Connection, release: Callable[[Connection], None], *, keeps_alive: bool
    ) -> None:
        self.reader = reader
        self._connection = connection
        self._release = release
        self._keeps_alive = keeps_alive
        self._open = True

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


class Response:
    """The head of an answer, and its body while that is on its way."""

    def __init__(self, url: Url, head: Head, stream: Stream) -> None:
        self.url = url
        self.status_code = head.status
        self.fields = head.headers
        """Names and values as they came."""
        self.headers = _text_of(head.headers)
        """By names in lower case; several values of one, with commas between them."""
        self.stream = stream

    def close(self) -> None:
        """Let the body go; its connection is kept if it was read to its end."""
        self.stream.close()


def _text_of(fields: Headers) -> dict[str, str]:
    try:
        decoded = [(name.decode().lower(), value.decode()) for name, value in fields]
    except UnicodeDecodeError:
        decoded = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in fields]
    headers: dict[str, str] = {}
    for name, value in decoded:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


class SocketTransport:
    """Sends GETs without a body; `response.stream.reader` receives the answer's body.

    A request on a kept connection that the origin had already closed is sent once more on a new one,
    as long as no byte of an answer has come.
    """

    def __init__(self, *, guard: Guard, dialer: Dialer, pool: Pool, proxy: Proxy | None) -> None:
        self._guard = guard
        self._dialer = dialer
        self._pool = pool
        self._proxy = proxy

    def get(self, url: Url, headers: Headers) -> Response:
        """Ask for `url`; raise httpx.TransportError, or what the Guard raises."""
        self._guard.admit(url)
        origin = (url.scheme, url.host, url.port_used)
        head = self._head_of(url, headers)
        kept = self._pool.take(origin)
        answer = None if kept is None else self._exchange(kept, head, origin)
        return Response(url, *(self._fresh(head, origin) if answer is None else answer))

    def renew_trust(self) -> None:
        """Verify by the certificates of now on new connections; raises OSError, and all is as it was then."""
        self._dialer.renew_trust()

    def _fresh(self, head: bytes, origin: Origin) -> tuple[Head, Stream]:
        answer = self._exchange(self._dialer.dial(origin), head, origin)
        if answer is None:
            raise httpx.ReadError("the connection was closed without an answer")
        return answer

    def _exchange(self, connection: Connection, request: bytes, origin: Origin) -> tuple[Head, Stream] | None:
        """Return the answer; None when the connection turned out to be closed before any byte of one."""
        try:
            head = _ask(connection, request)
            if head is None:
                connection.close()
                return None
            reader, keeps_alive = head.reader(connection), head.keeps_alive
        except BaseException:
            connection.close()
            raise
        return head, Stream(reader, connection, lambda c: self._pool.put(origin, c), keeps_alive=keeps_alive)

    def _head_of(self, url: Url, headers: Headers) -> bytes:
        target, fields = f"{url.path}{url.query}", [(b"Host", url.netloc.encode()), *headers]
        if self._proxy is not None and url.scheme == "http":
            target = f"http://{url.netloc}{target}"
            fields += self._proxy.credentials
        return request_head(b"GET", target.encode(), fields)

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
