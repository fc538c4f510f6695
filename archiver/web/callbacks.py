"""The listener for the provider's callbacks. Of a body no more is taken than a signed task id."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from archiver.core.callback import WINDOW, is_genuine, task_of
from archiver.core.model import TaskId
from archiver.ports.runtime import Clock, EventLog

PATH = "/callbacks/vocal-removal"

BODY_MAX = 64 << 10
"""Bytes."""

CONNECTION_MAX = 10.0
"""Seconds that a connection lasts at most, whatever it is busy with: a callback is one small request."""

_CONNECTIONS = 64
_HEAD_MAX = 16 << 10
_REMEMBERED = 10_000
_COMPLAIN_EVERY = timedelta(minutes=1)


class Callbacks:
    """Answers POST at PATH: 200 for what the provider signed, each signature taken once, and 4xx for the rest.

    `wake` is called with the task and must return at once. Requests are refused without a word on which task they
    named; the log says so once a minute at most.
    """

    def __init__(self, *, key: str, wake: Callable[[TaskId], None], clock: Clock, log: EventLog) -> None:
        self._key = key
        self._wake = wake
        self._clock = clock
        self._log = log
        self._seen: dict[str, datetime] = {}
        self._refusals = 0
        self._complained_at: datetime | None = None
        self.app = Starlette(routes=[Route(PATH, self._receive, methods=["POST"])])

    async def _receive(self, request: Request) -> JSONResponse:
        body = await _body_of(request)
        if body is None:
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {BODY_MAX} bytes")
        try:
            task = task_of(body)
        except ValueError as error:
            return self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        signature, now = request.headers.get("x-webhook-signature", ""), self._clock()
        timestamp = request.headers.get("x-webhook-timestamp", "")
        if not is_genuine(self._key, task, timestamp=timestamp, signature=signature, now=now):
            return self._refuse(HTTPStatus.UNAUTHORIZED, "no valid signature, or one of another time")
        if self._is_new(signature, now):
            self._wake(task)
        return _answer(HTTPStatus.OK, "received")

    def _is_new(self, signature: str, now: datetime) -> bool:
        """Note a valid signature; one that comes again within its window is not new."""
        # One is valid for twice the window at most: from a clock that is behind to one that is ahead.
        self._seen = {each: at for each, at in self._seen.items() if abs(now - at) <= 2 * WINDOW}
        if signature in self._seen:
            return False
        if len(self._seen) >= _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._seen[signature] = now
        return True

    def _refuse(self, status: HTTPStatus, reason: str) -> JSONResponse:
        self._refusals += 1
        now = self._clock()
        if self._complained_at is None or abs(now - self._complained_at) >= _COMPLAIN_EVERY:
            self._log.warning("callback.refused", reason=reason, requests=self._refusals)
            self._refusals, self._complained_at = 0, now
        return _answer(status, "refused")


async def _body_of(request: Request) -> bytes | None:
    """Return the body, as much of it as came; None when it is too long."""
    body = bytearray()
    with contextlib.suppress(ClientDisconnect):
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_MAX:
                return None
    return bytes(body)


def _answer(status: HTTPStatus, said: str) -> JSONResponse:
    return JSONResponse({"status": said}, status_code=status, headers={"connection": "close"})


def _lasting(seconds: float) -> type[H11Protocol]:
    """Return a protocol whose connections end in time: uvicorn waits for ever for a head that does not come."""

    class Brief(H11Protocol):
        _ending: asyncio.TimerHandle

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            super().connection_made(transport)
            self._ending = self.loop.call_later(seconds, transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            self._ending.cancel()
            super().connection_lost(exc)

    return Brief


class CallbackServer:
    """Listens from its making until `close`, in a thread of its own; raises OSError where it cannot listen."""

    def __init__(self, host: str, port: int, callbacks: Callbacks, *, connection_max: float = CONNECTION_MAX) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_CONNECTIONS)
        config = uvicorn.Config(
            callbacks.app,
            http=_lasting(connection_max),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            h11_max_incomplete_event_size=_HEAD_MAX,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="callbacks", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """Host and port, as they are listened on."""
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        """Answer what is under way and stop listening; takes a few seconds at most."""
        self._server.should_exit = True
        self._thread.join(CONNECTION_MAX)
        self._socket.close()
