"""A TCP relay to a server on loopback that can be cut and mended: the network between one client and it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_CHUNK = 65536


@dataclass
class TcpRelay:
    """Relays to `port`. While `down` every connection is cut, the new ones at once."""

    port: int
    down: bool = False
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _ends: set[socket.socket] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def listens(self) -> int:
        return int(self.listener.getsockname()[1])

    def cut(self) -> None:
        with self._lock:
            self.down = True
            for end in self._ends:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        with self._lock:
            self.down = False

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with self._lock:
                    if self.down:
                        client.close()
                        continue
                    server = socket.create_connection(("127.0.0.1", self.port))
                    self._ends |= {client, server}
                left = threading.Semaphore(1)
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._relay, args=(source, target, left), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, other_at_work: threading.Semaphore) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if not other_at_work.acquire(blocking=False):
            with self._lock:
                for end in (source, target):
                    end.close()
                    self._ends.discard(end)


@contextmanager
def tcp_relay(port: int) -> Iterator[TcpRelay]:
    """Run one until the block is left."""
    relay = TcpRelay(port)
    thread = threading.Thread(target=relay.serve, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.cut()
        relay.listener.shutdown(socket.SHUT_RDWR)
        relay.listener.close()
        thread.join()
