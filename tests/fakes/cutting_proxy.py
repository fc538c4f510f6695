"""A TCP relay to a server that cuts a connection at a wanted word."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_CHUNK = 65536


@dataclass
class CuttingProxy:
    """Relays to `port` on loopback. `cut_at` is the word, sent by a client, at which its connection ends, once.

    With `after` the server gets the word and answers, and only the answer is lost; else the word is lost too.
    """

    port: int
    cut_at: bytes = b""
    after: bool = False
    meanwhile: Callable[[], object] = lambda: None
    """Is called once the connection to the client is cut."""
    cuts: int = 0
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def listens(self) -> int:
        return int(self.listener.getsockname()[1])

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._relay, args=(source, target, source is client), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, from_client: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if from_client and self.cut_at and self.cut_at in data:
                    self._cut(source, target, data)
                    break
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _cut(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        self.cut_at = b""
        self.cuts += 1
        with suppress(OSError):
            # Nothing that the server says from now on gets through.
            client.shutdown(socket.SHUT_RDWR)
        self.meanwhile()
        if self.after:
            server.sendall(data)


@contextmanager
def cutting_proxy(port: int) -> Iterator[CuttingProxy]:
    """Run one until the block is left."""
    proxy = CuttingProxy(port)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.listener.shutdown(socket.SHUT_RDWR)
        proxy.listener.close()
        thread.join()
