"""GET as an httpx transport that copies no body: httpx's own costs about three times the CPU.

`stream_of(response).reader` receives the body into the caller's buffer. Connections are kept alive, the
Guard is asked before each request and each connection, and failures are httpx's exceptions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import cast

import httpx

from archiver.adapters.downloader.address import Guard, port_of
from archiver.adapters.downloader.dialer import Dialer, Origin, Proxy
from archiver.adapters.downloader.wire import RECEIVE, Head, Reader, Wire, request_head

IDLE_SECONDS = 20.0
"""How long an unused connection is kept; most servers give up later than that."""
LINGER_SECONDS = 0.5
"""How long an origin that said `close` may take to do so before its silence is taken for the end."""


class Stream(httpx.SyncByteStream):
    """An answer's body while it occupies its connection."""

    def __init__(self, reader: Reader, wire: Wire, release: Callable[[Wire], None], *, keeps_alive: bool) -> None:
        self.reader = reader
        self._wire = wire
        self._release = release
        self._keeps_alive = keeps_alive
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body, copied; the way in for httpx's own methods."""
        buffer = memoryview(bytearray(RECEIVE))
        while size := self.reader.receive(buffer):
            yield bytes(buffer[:size])

    def overruns(self) -> bool:
        """Say whether bytes follow the end of the body, as far as can be seen without waiting long."""
        return self._wire.heard(0.0 if self._keeps_alive else LINGER_SECONDS) == 1

    def close(self) -> None:
        """Give the connection back when the whole body was read, else close it."""
        if not self._open:
            return
        self._open = False
        if self._keeps_alive and self.reader.framed and self.reader.ended:
            self._release(self._wire)
        else:
            self._wire.close()


def stream_of(response: httpx.Response) -> Stream:
    """Return the stream of a response that came through SocketTransport."""
    return cast("Stream", response.extensions["archiver"])


class Pool:
    """Idle connections by origin; safe to share between threads."""

    def __init__(self, *, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: dict[Origin, list[Wire]] = {}
        self._closed = False

    def take(self, origin: Origin) -> Wire | None:
        """Return the freshest live connection to `origin`; None when there is none."""
        while True:
            with self._lock:
                wire = self._pop(origin, -1)
            if wire is None:
                return None
            if self._clock() - wire.idle_since <= IDLE_SECONDS and wire.heard() is None:
                return wire
            wire.close()

    def put(self, origin: Origin, wire: Wire) -> None:
        """Keep `wire` for the next request to `origin`; when there are too many, the stalest of all goes."""
        wire.idle_since = self._clock()
        surplus: Wire | None = wire
        with self._lock:
            if not self._closed:
                self._idle.setdefault(origin, []).append(wire)
                surplus = self._stalest() if sum(map(len, self._idle.values())) > self._most else None
        if surplus is not None:
            surplus.close()

    def _stalest(self) -> Wire | None:
        return self._pop(min(self._idle, key=lambda origin: self._idle[origin][0].idle_since), 0)

    def _pop(self, origin: Origin, which: int) -> Wire | None:
        wires = self._idle.get(origin)
        if wires is None:
            return None
        wire = wires.pop(which)
        if not wires:
            del self._idle[origin]
        return wire

    def close(self) -> None:
        """Close all idle connections; those that come back later are closed too."""
        with self._lock:
            self._closed = True
            wires = [wire for wires in self._idle.values() for wire in wires]
            self._idle.clear()
        for wire in wires:
            wire.close()


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
            raise httpx.RemoteProtocolError("the connection was closed without an answer")
        return response

    def _exchange(self, wire: Wire, request: bytes, origin: Origin) -> httpx.Response | None:
        """Return the answer; None when the connection turned out to be closed before any byte of one."""
        try:
            head = _ask(wire, request)
            if head is None:
                wire.close()
                return None
            stream = Stream(head.reader(wire), wire, lambda w: self._pool.put(origin, w), keeps_alive=head.keeps_alive)
        except BaseException:
            wire.close()
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


def _ask(wire: Wire, request: bytes) -> Head | None:
    try:
        wire.send(request)
        return Head.read(wire)
    except (httpx.WriteError, httpx.ReadError):
        if wire.answered:
            raise
        return None
