"""The listening socket of all that is answered over HTTP. Bounded, whoever connects and whatever is sent.

An accepted connection costs a descriptor, so it is counted from then on, and waits here until its request is whole. One
that has sent no request is pushed out by newcomers: a flood of idle connections displaces itself alone.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from archiver.ports.runtime import EventLog
from archiver.web.messages import BODY_MAX, Refused, Request, RequestReader

_BACKLOG = 1024
_BATCH = 32
_BLOCK = 16 << 10
_TURN = 0.1
_COMPLAIN_EVERY = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections a listener holds, and for how many seconds."""

    waiting: int = 64
    """Connections that have sent no whole request; one more pushes the oldest out."""
    answering: int = 64
    """Connections whose answer is being made or taken; one more pushes out the oldest of the most wanted path."""
    head_within: float = 2.0
    """From the begin of a connection until its request's head has come."""
    request_within: float = 10.0
    """From the begin of a connection until its request is whole."""
    answer_within: float = 10.0
    """From the first byte of an answer, or of a block of a long one, until all of it is taken."""
    body: int = BODY_MAX
    """The most bytes of a request's body."""


class Connection:
    """A connection that was accepted."""

    def __init__(self, listener: Listener, accepted: socket.socket, now: float, limits: Limits) -> None:
        self.socket = accepted
        self.reader = RequestReader(limits.body)
        self.begun_at = now
        self.due: float | None = now + limits.head_within
        """The time when it is hung up on; None while its answer is being made."""
        self.path = ""
        """The path that is asked for, once it is known."""
        self.rest = memoryview(b"")
        """The bytes that are still to be sent."""
        self.hang_up: Callable[[], None] = accepted.close
        """Ends the connection, called once in the listener's thread, at the latest when it closes."""
        self._listener = listener

    def answer(self, data: bytes) -> None:
        """Send an answer and end the connection; from any thread, returns at once."""
        self._listener.call(partial(self._listener.send, self, data))

    def end(self) -> None:
        """Have the connection ended; from any thread, returns at once."""
        self._listener.call(partial(self._listener.end, self))


Serve = Callable[[Connection, Request], None]
"""Takes a whole request; called in the listener's thread, it returns at once and answers then or later."""


class Listener:
    """Listens on host and port (0: any free one) from its making; raises OSError where it cannot.

    From `start` to `close` each whole request is given to `serve`. What is none is answered with what `refuse` makes of
    the status.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        serve: Serve,
        refuse: Callable[[HTTPStatus], bytes],
        log: EventLog,
        limits: Limits | None = None,
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._socket.setblocking(False)
        self._serve = serve
        self._refuse = refuse
        self._log = log
        self._limits = limits or Limits()
        self._waiting: dict[Connection, None] = {}  # the oldest first
        self._answering: dict[Connection, None] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._bell, self._rings = socket.socketpair()
        self._bell.setblocking(False)
        self._rings.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._rings, selectors.EVENT_READ, self._answer_bell)
        self._accept_at: float | None = 0.0
        self._expire_at = 0.0
        self._pushed_out = 0
        self._complain_at = 0.0
        self._is_closing = False
        self.address = _written(*self._socket.getsockname()[:2])
        """Host and port that are listened on, as one writes them in a URL."""
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Accept connections from now on."""
        self._thread.start()

    def close(self) -> None:
        """Listen no more, and hang up on whoever has no answer yet."""
        self._is_closing = True
        if self._thread.is_alive():
            self.call(lambda: None)
            self._thread.join()
        for each in (self._socket, self._selector, self._bell, self._rings):
            each.close()

    def call(self, what: Callable[[], None]) -> None:
        """Have `what` called in the listener's thread; from any thread, from that one at once."""
        if threading.get_ident() == self._thread.ident:
            what()
            return
        self._calls.append(what)
        with suppress(OSError):  # full, so it wakes anyway; or closed, so nobody waits
            self._bell.send(b"\0")

    def send(self, connection: Connection, data: bytes) -> None:
        """Send what of `data` is taken now, the rest as it is taken, and close; in the listener's thread alone."""
        if connection in self._waiting or connection in self._answering:
            self._unwatch(connection)
            connection.due = time.monotonic() + self._limits.answer_within
            connection.rest = memoryview(data)
            self._write(connection)
            if connection.rest:
                self._selector.register(connection.socket, selectors.EVENT_WRITE, partial(self._write, connection))

    def end(self, connection: Connection) -> None:
        """Hang up, where that was not done yet; in the listener's thread alone."""
        if connection in self._waiting or connection in self._answering:
            self._close(connection)

    # --- the thread

    def _run(self) -> None:
        while not self._is_closing:
            self._accept_again()
            is_idle = self._accept_at is None and not self._waiting and not self._answering
            for key, _ in self._selector.select(None if is_idle else _TURN):
                key.data()
            self._expire(time.monotonic())
        for connection in [*self._waiting, *self._answering]:
            self._close(connection)

    def _answer_bell(self) -> None:
        with suppress(BlockingIOError):
            self._rings.recv(_BLOCK)
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    def _accept_again(self) -> None:
        if self._accept_at is not None and time.monotonic() >= self._accept_at:
            self._selector.register(self._socket, selectors.EVENT_READ, self._accept)
            self._accept_at = None

    def _accept(self) -> None:
        for _ in range(_BATCH):
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor, or no memory, is left
                self._push_out(self._waiting)
                self._selector.unregister(self._socket)
                self._accept_at = time.monotonic() + _TURN
                return
            self._admit(accepted)

    def _admit(self, accepted: socket.socket) -> None:
        connection = Connection(self, accepted, time.monotonic(), self._limits)
        self._waiting[connection] = None
        self._read(connection)
        if connection in self._waiting and not connection.rest:
            self._selector.register(accepted, selectors.EVENT_READ, partial(self._read, connection))
            if len(self._waiting) > self._limits.waiting:
                self._push_out(self._waiting)

    def _push_out(self, among: dict[Connection, None]) -> None:
        if not among:
            return
        oldest = next(iter(among))
        if among is self._answering:
            crowd = Counter(each.path for each in among).most_common(1)[0][0]
            oldest = next(each for each in among if each.path == crowd)
        self._read(oldest)  # its request may lie there
        if oldest not in among:
            return
        self._close(oldest)
        self._pushed_out += 1
        now = time.monotonic()
        if now >= self._complain_at:
            self._log.warning("listener.flooded", address=self.address, connections=self._pushed_out)
            self._pushed_out, self._complain_at = 0, now + _COMPLAIN_EVERY

    def _read(self, connection: Connection) -> None:
        if connection not in self._waiting or connection.rest:
            return
        try:
            data = connection.socket.recv(_BLOCK, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        try:
            request = connection.reader.feed(data)
        except Refused as refused:
            self.send(connection, self._refuse(refused.status))
            return
        if request is not None:
            self._take(connection, request)
        elif connection.reader.has_head:
            self._await_body(connection)

    def _await_body(self, connection: Connection) -> None:
        connection.due = connection.begun_at + self._limits.request_within
        if connection.reader.awaits_continue:
            connection.reader.awaits_continue = False
            with suppress(OSError):
                connection.socket.send(b"HTTP/1.1 100 Continue\r\n\r\n", socket.MSG_DONTWAIT)

    def _take(self, connection: Connection, request: Request) -> None:
        self._unwatch(connection)
        del self._waiting[connection]
        self._answering[connection] = None
        connection.due, connection.path = None, request.path
        if len(self._answering) > self._limits.answering:
            self._push_out(self._answering)
        try:
            self._serve(connection, request)
        except Exception as bug:  # noqa: BLE001 - it must not end the listener
            self._log.exception("http.failed", error=repr(bug))
            self.send(connection, self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR))

    def _write(self, connection: Connection) -> None:
        try:
            connection.rest = connection.rest[connection.socket.send(connection.rest, socket.MSG_DONTWAIT) :]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            connection.rest = memoryview(b"")
        if not connection.rest:
            self._close(connection)

    def _expire(self, now: float) -> None:
        if now >= self._expire_at:
            self._expire_at = now + _TURN
            for connection in [*self._waiting, *self._answering]:
                if connection.due is not None and connection.due <= now:
                    self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._unwatch(connection)
        self._waiting.pop(connection, None)
        self._answering.pop(connection, None)
        connection.rest = memoryview(b"")
        connection.hang_up()

    def _unwatch(self, connection: Connection) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(connection.socket)


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
