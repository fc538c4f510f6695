"""Connections that wait for the next request to their origin."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from archiver.adapters.http1.connection import Connection

Origin = tuple[str, str, int]
"""Scheme, host and port: what a connection may be used for again."""


class Pool:
    """Idle connections by origin; safe to share among threads.

    At most `most` are kept over all origins, and none that was idle for more than `idle_seconds`.
    """

    def __init__(self, *, most: int, clock: Callable[[], float], idle_seconds: float = math.inf) -> None:
        self._most = most
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: dict[Origin, list[Connection]] = {}
        self._closed = False

    def take(self, origin: Origin) -> Connection | None:
        """Return the freshest live connection to `origin`; None when there is none."""
        while True:
            with self._lock:
                connection = self._pop(origin, -1)
            if connection is None:
                return None
            if self._clock() - connection.idle_since <= self._idle_seconds and connection.peek() is None:
                return connection
            connection.close()

    def put(self, origin: Origin, connection: Connection) -> None:
        """Keep `connection` for the next request to `origin`; when there are too many, the stalest of all goes."""
        connection.idle_since = self._clock()
        surplus: Connection | None = connection
        with self._lock:
            if not self._closed:
                self._idle.setdefault(origin, []).append(connection)
                surplus = self._stalest() if sum(map(len, self._idle.values())) > self._most else None
        if surplus is not None:
            surplus.close()

    def _stalest(self) -> Connection | None:
        return self._pop(min(self._idle, key=lambda origin: self._idle[origin][0].idle_since), 0)

    def _pop(self, origin: Origin, which: int) -> Connection | None:
        connections = self._idle.get(origin)
        if connections is None:
            return None
        connection = connections.pop(which)
        if not connections:
            del self._idle[origin]
        return connection

    def close(self) -> None:
        """Close all idle connections; those that come back later are closed too."""
        with self._lock:
            self._closed = True
            connections = [connection for connections in self._idle.values() for connection in connections]
            self._idle.clear()
        for connection in connections:
            connection.close()
