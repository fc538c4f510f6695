"""The provider's callbacks. Whatever a body says, a signed task id is taken from it, and a guess at its kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus

from archiver.core.callback import WINDOW, is_genuine, read
from archiver.core.model import TaskId
from archiver.core.records.kinds.names import KindName
from archiver.ports.runtime import Clock, EventLog
from archiver.web.listener import Connection, Limits, Listener
from archiver.web.messages import Answer, Request

PATH = "/callbacks/vocal-removal"

Wake = Callable[[TaskId, KindName | None], None]

_REMEMBERED = 10_000
_COMPLAIN_EVERY = timedelta(minutes=1)


class Callbacks:
    """Answers POST at PATH: 200 for what the provider signed, each signature taken once, and 4xx for the rest.

    `wake` is called with the task, and the kind it looks like, and must return at once. Requests are refused without
    a word on which task they named; the log says so once a minute at most. For one thread.
    """

    def __init__(self, *, key: str, wake: Wake, clock: Clock, log: EventLog) -> None:
        self._key = key
        self._wake = wake
        self._clock = clock
        self._log = log
        self._seen: dict[str, datetime] = {}
        self._refusals = 0
        self._complained_at: datetime | None = None

    def change_key(self, key: str) -> None:
        """Take what is signed with `key` from now on, and nothing else; may be called by another thread."""
        self._key = key

    def status_of(self, request: Request) -> HTTPStatus:
        """Take a request in, and return the status that answers it."""
        if request.path != PATH:
            return self.refuse(HTTPStatus.NOT_FOUND, "it was sent to another path")
        if request.method != "POST":
            return self.refuse(HTTPStatus.METHOD_NOT_ALLOWED, "it was no POST")
        try:
            task, kind = read(request.body)
        except ValueError as error:
            return self.refuse(HTTPStatus.BAD_REQUEST, str(error))
        signature, now = request.fields.get("x-webhook-signature", ""), self._clock()
        timestamp = request.fields.get("x-webhook-timestamp", "")
        if not is_genuine(self._key, task, timestamp=timestamp, signature=signature, now=now):
            return self.refuse(HTTPStatus.UNAUTHORIZED, "no valid signature, or one of another time")
        if self._is_new(signature, now):
            self._wake(task, kind)
        return HTTPStatus.OK

    def refuse(self, status: HTTPStatus, reason: str) -> HTTPStatus:
        """Count a refusal, and return its status."""
        self._refusals += 1
        now = self._clock()
        if self._complained_at is None or abs(now - self._complained_at) >= _COMPLAIN_EVERY:
            self._log.warning("callback.refused", reason=reason, requests=self._refusals)
            self._refusals, self._complained_at = 0, now
        return status

    def _is_new(self, signature: str, now: datetime) -> bool:
        """Note a valid signature; one that comes again within its window is not new."""
        while self._seen and not _lasts(next(iter(self._seen.values())), now):
            del self._seen[next(iter(self._seen))]
        before = self._seen.get(signature)
        if before is not None and _lasts(before, now):
            return False
        # One whose time is over stands among the others where the clock was set back: the order is that of coming.
        self._seen.pop(signature, None)
        if len(self._seen) >= _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._seen[signature] = now
        return True


def _lasts(at: datetime, now: datetime) -> bool:
    # One is valid for twice the window at most: from a clock that is behind to one that is ahead.
    return abs(now - at) <= 2 * WINDOW


class CallbackServer:
    """Listens from its making until `close`; raises OSError where it cannot listen."""

    def __init__(
        self, host: str, port: int, callbacks: Callbacks, log: EventLog, *, limits: Limits | None = None
    ) -> None:
        self._callbacks = callbacks
        self._listener = Listener(host, port, serve=self._serve, refuse=self._refuse, log=log, limits=limits)
        self._listener.start()

    @property
    def address(self) -> str:
        """Host and port that are listened on, as one writes them in a URL."""
        return self._listener.address

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _serve(self, connection: Connection, request: Request) -> None:
        connection.answer(_encoded(self._callbacks.status_of(request)))

    def _refuse(self, status: HTTPStatus) -> bytes:
        return _encoded(self._callbacks.refuse(status, status.phrase))


def _encoded(status: HTTPStatus) -> bytes:
    body = {"status": "received" if status is HTTPStatus.OK else "refused"}
    fields = {"Allow": "POST"} if status is HTTPStatus.METHOD_NOT_ALLOWED else {}
    return Answer(status, "application/json", json.dumps(body).encode(), fields).encoded()
