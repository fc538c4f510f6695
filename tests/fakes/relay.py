"""A TCP relay to a server on loopback: the network between a client and it, to be cut and mended; and an HTTP proxy."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from tests.fakes.serving import Server, hang_up

_CHUNK = 65536


@dataclass(slots=True, kw_only=True)
class Relay(Server):
    """Relays to `to`, a port of loopback.

    While `down` every connection is cut, the new ones at once. `cut_at` is the word, sent by a client, at which its
    connection ends, once. With `after` the server gets the word and answers, and only the answer is lost; else the
    word is lost too.
    """

    to: int = 0
    down: bool = False
    cut_at: bytes = b""
    after: bool = False
    meanwhile: Callable[[], object] = lambda: None
    """Is called once the connection to the client is cut."""
    cuts: int = 0

    def cut(self) -> None:
        """Let nothing through, until it is mended."""
        self.down = True
        self.hang_up()

    def mend(self) -> None:
        self.down = False

    def talk(self, wire: socket.socket, number: int) -> None:
        """See Server."""
        if not self.down:
            with self.onward(self.to) as server:
                self.join(wire, server)

    def cuts_at(self, data: bytes) -> bool:
        """Return whether the connection ends at these bytes of a client."""
        return self.cut_at != b"" and self.cut_at in data

    def onward(self, port: int) -> socket.socket:
        """Connect to a server; the connection is cut with those of clients."""
        server = socket.create_connection(("127.0.0.1", port))
        self.keep(server)
        if self.down:
            hang_up(server)
        return server

    def join(self, client: socket.socket, server: socket.socket) -> None:
        """Relay both ways until one side has ended."""
        back = self.start(lambda: self._pour(server, client))
        self._pour(client, server, from_client=True)
        back.join()

    def _pour(self, source: socket.socket, sink: socket.socket, *, from_client: bool = False) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if from_client and self.cuts_at(data):
                    self._cut(source, sink, data)
                    break
                sink.sendall(data)
        for wire in (source, sink):
            hang_up(wire)

    def _cut(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        self.cut_at = b""
        self.cuts += 1
        # Nothing that the server says from now on gets through.
        hang_up(client)
        self.meanwhile()
        if self.after:
            server.sendall(data)


@dataclass(slots=True, kw_only=True)
class Tap(Relay):
    """A relay that keeps every byte that a client sends."""

    sent: bytearray = field(default_factory=bytearray)

    def cuts_at(self, data: bytes) -> bool:
        """See Relay."""
        self.sent += data
        return False


@dataclass(slots=True, kw_only=True)
class HttpProxy(Relay):
    """An HTTP proxy: CONNECT and plain forwarding, to wherever `routes` says a name is. Keeps each request's head."""

    routes: Mapping[str, int]
    """Port on loopback by host name."""
    credentials: str = ""
    answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n"
    heads: list[bytes] = field(default_factory=list)

    def talk(self, wire: socket.socket, number: int) -> None:
        """See Server."""
        head = b""
        while b"\r\n\r\n" not in head:
            if not (more := wire.recv(_CHUNK)):
                return
            head += more
        self.heads.append(head)
        wanted = base64.b64encode(self.credentials.encode())
        if self.credentials and b"Proxy-Authorization: Basic " + wanted not in head:
            wire.sendall(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
            return
        method, target, _ = head.split(b" ", 2)
        authority = target if method == b"CONNECT" else target.split(b"/", 3)[2]
        with self.onward(self.routes[authority.decode().rpartition(":")[0]]) as server:
            if method == b"CONNECT":
                wire.sendall(self.answer)
            else:
                server.sendall(head.replace(target, b"/" + target.split(b"/", 3)[3], 1))
            self.join(wire, server)
