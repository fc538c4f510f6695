"""A server on a free port of loopback: a thread for each connection, and an end that leaves none behind."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

_PATIENCE = 40.0
"""Seconds for a thread to end once its connection is closed: longer than any wait for a server behind a fake."""


def port_of(where: socket.socket | str) -> int:
    """Return the port that a socket listens on, or that ends an address or a URL."""
    return int(where.rpartition(":")[2] if isinstance(where, str) else where.getsockname()[1])


def reset(wire: socket.socket) -> None:
    """Let the connection end with a RST once it is closed."""
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang_up(wire: socket.socket) -> None:
    """Wake whoever reads or writes there; the connection is over."""
    with suppress(OSError):
        socket.socket.shutdown(wire, socket.SHUT_RDWR)  # that of SSLSocket takes TLS from whoever is reading


@dataclass(slots=True, kw_only=True)
class Server(ABC):
    """Serves from its making on until the `with` ends, or `close`; `talk` is what it does with a connection."""

    tls: ssl.SSLContext | None = None
    """Looked at for each new connection."""
    connections: int = 0
    """How many came."""
    closing: threading.Event = field(default_factory=threading.Event)
    port: int = field(init=False)
    _listener: socket.socket = field(init=False)
    _live: set[socket.socket] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = port_of(self._listener)
        self.start(self._accept)

    @property
    def url(self) -> str:
        """The origin, without a trailing slash."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    @abstractmethod
    def talk(self, wire: socket.socket, number: int) -> None:
        """Serve a connection, the first or a later one; it is closed afterwards."""

    def start(self, work: Callable[[], None]) -> threading.Thread:
        """Do it in a thread that `close` waits for."""
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def keep(self, wire: socket.socket) -> None:
        """Hang up there on `close`."""
        with self._lock:
            self._live.add(wire)
        if self.closing.is_set():
            hang_up(wire)

    def hang_up(self) -> None:
        """End every connection of this moment."""
        with self._lock:
            for wire in self._live:
                hang_up(wire)

    def close(self) -> None:
        """Listen no longer, and end all connections and threads."""
        self.closing.set()
        hang_up(self._listener)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(_PATIENCE)
            assert not thread.is_alive(), f"a connection of {type(self).__name__} did not end"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                wire, _ = self._listener.accept()
                self.connections += 1
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.tls is not None:
                    wire = self.tls.wrap_socket(wire, server_side=True, do_handshake_on_connect=False)
                self.keep(wire)
                self.start(partial(self._serve, wire, self.connections))

    def _serve(self, wire: socket.socket, number: int) -> None:
        with wire, suppress(OSError):  # the client went away, or was meant to
            if isinstance(wire, ssl.SSLSocket):
                wire.do_handshake()
            self.talk(wire, number)
        with self._lock:
            self._live.discard(wire)
