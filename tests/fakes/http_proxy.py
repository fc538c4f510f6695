"""An HTTP proxy on a loopback socket: CONNECT and plain forwarding, to wherever `routes` says a name is."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.fakes.origin import CRLF


@dataclass(slots=True)
class HttpProxy:
    """One relay a connection; keeps each request head it was sent."""

    listener: socket.socket
    routes: Mapping[str, int]
    """Port on loopback by host name."""
    credentials: str = ""
    answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n"
    heads: list[bytes] = field(default_factory=list)
    _live: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def serve(self) -> None:
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            self._live.append(conn)
            self._spawn(self._talk, conn)

    def _spawn(self, target: object, *args: socket.socket) -> None:
        thread = threading.Thread(target=target, args=args)  # type: ignore[arg-type] # a bound method
        self._threads.append(thread)
        thread.start()

    def _talk(self, conn: socket.socket) -> None:
        with conn, suppress(OSError):
            head = b""
            while CRLF + CRLF not in head:
                more = conn.recv(65536)
                if not more:
                    return
                head += more
            self.heads.append(head)
            wanted = base64.b64encode(self.credentials.encode())
            if self.credentials and b"Proxy-Authorization: Basic " + wanted not in head:
                conn.sendall(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
                return
            self._relay(conn, head)

    def _relay(self, conn: socket.socket, head: bytes) -> None:
        method, target, _ = head.split(b" ", 2)
        authority = target if method == b"CONNECT" else target.split(b"/", 3)[2]
        port = self.routes[authority.decode().rpartition(":")[0]]
        with socket.create_connection(("127.0.0.1", port)) as onward:
            self._live.append(onward)
            if method == b"CONNECT":
                conn.sendall(self.answer)
            else:
                onward.sendall(head.replace(target, b"/" + target.split(b"/", 3)[3], 1))
            self._spawn(_pour, onward, conn)
            _pour(conn, onward)

    def close(self) -> None:
        for wire in (self.listener, *self._live):
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
            wire.close()
        for thread in self._threads:
            thread.join()


def _pour(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def http_proxy(routes: Mapping[str, int], *, credentials: str = "", answer: bytes | None = None) -> Iterator[HttpProxy]:
    """Run a proxy on a free loopback port."""
    server = HttpProxy(socket.create_server(("127.0.0.1", 0)), routes, credentials)
    if answer is not None:
        server.answer = answer
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
