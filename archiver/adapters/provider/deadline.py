"""A transport of httpx over httpcore's pool that bounds a whole exchange in time.

Timeouts of httpx are for one read each, so a byte a second would hold a thread for days.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

KEEP_ALIVE = 30.0
"""Seconds for which an idle connection is thought alive; after longer, a router may have forgotten it."""

HTTPCORE_FAULTS = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.ConnectionNotAvailable,
)
"""The faults that the transport raises, beside OSError."""


class DeadlineBoundTransport(httpx.BaseTransport):
    """httpcore's pool, with an end to the whole exchange."""

    def __init__(self, proxy: httpcore.Proxy | None, clock: Callable[[], float]) -> None:
        self._network = _Network(clock)
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            proxy=proxy,
            max_connections=None,
            keepalive_expiry=KEEP_ALIVE,
            network_backend=self._network,
        )

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """End every exchange of this thread after so many seconds."""
        self._network.deadline.end_in(seconds)
        try:
            yield
        finally:
            self._network.deadline.end_in(None)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; raises HTTPCORE_FAULTS and OSError."""
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.read(),
                extensions={"timeout": {"pool": self._network.deadline.cut(None)}},
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


class _Deadline(threading.local):
    """The end of this thread's exchange."""

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


class _Network(httpcore.SyncBackend):
    """TCP whose every step ends when the thread's exchange must."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.deadline = _Deadline(clock)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = super().connect_tcp(host, port, self.deadline.cut(timeout), local_address, socket_options)
        return _BoundStream(stream, self.deadline)


class _BoundStream(httpcore.NetworkStream):
    """A stream whose every step ends when the thread's exchange must."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.cut(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.cut(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.cut(timeout))
        return _BoundStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
