"""An ASGI application behind the bounded listener: one request a connection, its answer in blocks as they are taken."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from archiver.ports.runtime import EventLog
from archiver.web.listener import Connection, Limits, Listener
from archiver.web.messages import Answer, Request

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
"""As ASGI 3 has it, for HTTP alone."""

_GRACE = 2.0


class AsgiServer:
    """Serves `application` on host and port (0: any free one) until `close`; raises OSError where it cannot listen.

    What the listener pushes out or hangs up on is cancelled in the application.
    """

    def __init__(
        self, application: Application, host: str, port: int, *, log: EventLog, limits: Limits | None = None
    ) -> None:
        self._application = application
        self._log = log
        self._limits = limits or Limits()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="asgi", daemon=True)
        try:
            self._listener = Listener(host, port, serve=self._serve, refuse=_refusal, log=log, limits=self._limits)
        except OSError:
            self._loop.close()
            raise
        self._thread.start()
        self._listener.start()

    @property
    def address(self) -> str:
        """Host and port that are listened on, as one writes them in a URL."""
        return self._listener.address

    def close(self) -> None:
        """Listen no more; answers under way are given up."""
        self._listener.close()
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._drain(), self._loop).result(_GRACE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_GRACE)
        if not self._thread.is_alive():
            self._loop.close()

    async def _drain(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._loop.shutdown_asyncgens()

    def _serve(self, connection: Connection, request: Request) -> None:
        connection.socket.setblocking(False)
        exchange = _Exchange(connection, request, self._loop, self._limits.answer_within)
        connection.hang_up = partial(self._soon, exchange.cancel)
        self._soon(self._begin, exchange)

    def _soon(self, what: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is over, and its connections with it
            self._loop.call_soon_threadsafe(what, *arguments)

    def _begin(self, exchange: _Exchange) -> None:
        task = self._loop.create_task(exchange.run(self._application, self._log))
        exchange.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(exchange.end)  # `finally` is not for one that is cancelled before it began


class MadeOnce:
    """An application that is made at its first request, in the loop's thread: until then it takes no memory."""

    def __init__(self, make: Callable[[], Application]) -> None:
        self._make = make
        self._made: Application | None = None

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        self._made = self._made or self._make()
        await self._made(scope, receive, send)


class _Exchange:
    """One request and its answer, in the loop's thread."""

    def __init__(
        self, connection: Connection, request: Request, loop: asyncio.AbstractEventLoop, within: float
    ) -> None:
        self._connection = connection
        self._request = request
        self._loop = loop
        self._within = within
        self._head: Message | None = None
        self._has_begun = False
        self._is_chunked = False
        self._is_received = False
        self._gone = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Give the answer up."""
        if self.task is not None:
            self.task.cancel()

    async def run(self, application: Application, log: EventLog) -> None:
        """Answer, whatever happens."""
        try:
            await application(self._scope(), self._receive, self._send)
        except Exception as bug:
            if not self._gone.is_set():
                log.exception("http.failed", error=repr(bug))
                await self._fail()

    async def _fail(self) -> None:
        if not self._has_begun:
            with suppress(OSError, TimeoutError):
                await self._write(_refusal(HTTPStatus.INTERNAL_SERVER_ERROR))

    def end(self, _: object) -> None:
        """End the connection, once the loop has let go of the descriptor."""
        self._connection.socket.close()
        self._connection.end()

    def _scope(self) -> Message:
        request = self._request
        raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in request.fields.items()]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": unquote_to_bytes(request.path).decode("utf-8", "replace"),
            "raw_path": request.path.encode("ascii"),
            "query_string": request.query.encode("ascii"),
            "root_path": "",
            "headers": raw,
            "client": None,
            "server": None,
            "state": {},
        }

    async def _receive(self) -> Message:
        if self._is_received:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        self._is_received = True
        return {"type": "http.request", "body": self._request.body, "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._head = message
            return
        data, more = bytes(message.get("body", b"")), bool(message.get("more_body", False))
        has_body = self._request.method != "HEAD"
        head = b"" if self._has_begun else self._encoded_head(more=more, size=len(data))
        block = self._framed(data, more=more) if has_body else b""
        if head or block:
            await self._write(head + block)

    def _framed(self, data: bytes, *, more: bool) -> bytes:
        if not self._is_chunked:
            return data
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        return chunk if more else chunk + b"0\r\n\r\n"

    def _encoded_head(self, *, more: bool, size: int) -> bytes:
        head = self._head or {"status": 500, "headers": []}
        status = int(head["status"])
        fields = [(bytes(name).lower(), bytes(value)) for name, value in head["headers"]]
        names = {name for name, _ in fields}
        if b"content-length" not in names and status not in _WITHOUT_BODY:
            self._is_chunked = more
            fields.append((b"transfer-encoding", b"chunked") if more else (b"content-length", b"%d" % size))
        fields += [(b"date", formatdate(usegmt=True).encode()), (b"connection", b"close")]
        lines = [f"HTTP/1.1 {status} {_phrase(status)}".encode(), *(b": ".join(field) for field in fields)]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    async def _write(self, data: bytes) -> None:
        self._has_begun = True
        try:
            await asyncio.wait_for(self._loop.sock_sendall(self._connection.socket, data), self._within)
        except (OSError, TimeoutError):
            self._gone.set()
            raise


_WITHOUT_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _refusal(status: HTTPStatus) -> bytes:
    body = f"{status.phrase}\n".encode()
    fields = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Answer(status, "text/plain; charset=utf-8", body, fields).encoded()
