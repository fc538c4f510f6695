"""One request and its answer, on connections of our own: http.client's way would cost three times as much."""

from __future__ import annotations

import os
import socket
import ssl
import time
from functools import cached_property

import httpx
from botocore.httpsession import create_urllib3_context, get_cert_path
from botocore.session import get_session
from urllib3.connection import HTTPConnection, HTTPSConnection

from archiver.adapters.http1 import Connection, Head, HeadLimits, LengthReader, Origin, Pool, Reader
from archiver.ports.runtime import UNWATCHED, Watch

BLOCK = 256 * 1024
"""Bytes that one send hands to the socket, which may take the read timeout over it."""
HEAD_MAX = 128 * 1024
"""Bytes of an answer's head."""
BODY_MAX = 64 * 1024
"""Bytes of an answer's body that are worth reading to keep the connection."""

_LIMITS = HeadLimits(size=HEAD_MAX, interim=0)
_SOCKET_OPTIONS = [*HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
if hasattr(socket, "TCP_NOTSENT_LOWAT"):
    # Else the kernel takes megabytes at once, which leave a slow line within minutes: long after the read timeout.
    _SOCKET_OPTIONS.append((socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, BLOCK))


class Incoming:
    """An answer whose body is still to be received. Close it after use; for one thread."""

    def __init__(
        self, head: Head, reader: Reader, connection: Connection, origin: Origin, pool: Pool, watch: Watch
    ) -> None:
        self.status = head.status
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in head.headers}
        self._head = head
        self._reader = reader
        self._connection = connection
        self._origin = origin
        self._pool = pool
        self._watch = watch

    @property
    def length(self) -> int | None:
        """Bytes that the body has; None where the answer does not say, and so none that is to be relied on."""
        return self._reader.length

    def receive(self, view: memoryview) -> int:
        """Receive some bytes into `view`; 0 only at the end. Raises httpx.TransportError."""
        with self._watch.interruptible(self._connection.interrupt):
            size = self._reader.receive(view)
        self._watch.progress()
        return size

    def close(self) -> None:
        """Keep the connection for the next request where the body was received to its end, else close it."""
        if self._reader.ended and self._reader.framed and self._head.keeps_alive:
            self._pool.put(self._origin, self._connection)
        else:
            self._connection.close()


class StoreConnections:
    """Sends requests; safe to share among threads. Keeps at most `most` idle connections; times in seconds."""

    def __init__(self, *, most: int, connect_timeout: float, read_timeout: float, watch: Watch = UNWATCHED) -> None:
        self._watch = watch
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._pool = Pool(most=most, clock=time.monotonic)

    def put(self, origin: Origin, head: bytes, data: memoryview) -> Head:
        """Send `head` and `data` and return the answer's head; its body is not kept.

        Raises httpx.TransportError, another OSError, or urllib3's HTTPError; the connection is closed then.
        """
        connection = self._pool.take(origin) or self._dial(origin)
        try:
            with self._watch.interruptible(connection.interrupt):
                connection.send(head)
                for at in range(0, len(data), BLOCK):
                    connection.send(data[at : at + BLOCK])
                    self._watch.progress()
                answer = _answer_on(connection)
                clean = answer.keeps_alive and _is_read_to_its_end(answer, connection)
        except BaseException:
            connection.close()
            raise
        if clean:
            self._pool.put(origin, connection)
        else:
            connection.close()
        return answer

    def ask(self, origin: Origin, head: bytes, *, bodiless: bool = False) -> Incoming:
        """Send `head`, a request without a body, and return its answer (`bodiless`: to a HEAD); raises as `put`."""
        connection = self._pool.take(origin) or self._dial(origin)
        try:
            with self._watch.interruptible(connection.interrupt):
                connection.send(head)
                answer = _answer_on(connection)
            reader = LengthReader(connection, 0) if bodiless else answer.reader(connection)
        except BaseException:
            connection.close()
            raise
        return Incoming(answer, reader, connection, origin, self._pool, self._watch)

    def _dial(self, origin: Origin) -> Connection:
        scheme, host, port = origin
        made = HTTPConnection(host, port, timeout=self._connect_timeout, socket_options=_SOCKET_OPTIONS)
        if scheme == "https":
            made = HTTPSConnection(
                host, port, timeout=self._connect_timeout, socket_options=_SOCKET_OPTIONS, ssl_context=self._trust
            )
        made.connect()
        return Connection(made.sock, read_timeout=self._read_timeout, clock=time.monotonic)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """As botocore has it: AWS_CA_BUNDLE or the profile's ca_bundle, else REQUESTS_CA_BUNDLE, else its own list."""
        named = get_session().get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
        context: ssl.SSLContext = create_urllib3_context()
        context.check_hostname = True
        context.hostname_checks_common_name = False
        context.load_verify_locations(named or get_cert_path(verify=True))
        return context

    def close(self) -> None:
        """Close the idle connections; those in use are closed after it."""
        self._pool.close()


def _answer_on(connection: Connection) -> Head:
    answer = Head.read(connection, _LIMITS)
    if answer is None:
        raise httpx.RemoteProtocolError("the connection was closed without an answer")
    return answer


def _is_read_to_its_end(answer: Head, connection: Connection) -> bool:
    """Read the answer's body away; return False where its end is not sure, or far."""
    try:
        reader = answer.reader(connection)
    except httpx.RemoteProtocolError:
        return False
    if reader.length is None or reader.length > BODY_MAX:
        return False
    scratch = memoryview(bytearray(reader.length))
    while reader.receive(scratch):
        pass
    return True
