"""A few fixed pages over HTTP, to GET and HEAD: each is made in a thread of its own, once for all that wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from queue import Empty, SimpleQueue

from archiver.ports.runtime import EventLog
from archiver.web.listener import Connection, Limits, Listener
from archiver.web.messages import Answer, Request

_REST = 4
"""How many times its CPU time a maker rests after each page: asking without end takes a fifth of a core at most."""

_REST_MAX = 0.2
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    status: int
    content_type: str
    body: bytes


Pages = Mapping[str, Callable[[], Page]]
"""By path, what makes the page. Called after each request; requests that wait at the same time share a page."""


class PageServer:
    """Serves `pages` on host and port (0: any free one) until closed; raises OSError when it cannot listen there.

    Those `at_once` are made in the listener's own thread: nobody waits for them, and they must wait for nothing.
    Nothing of a request is repeated in an answer or in the log.
    """

    def __init__(
        self,
        host: str,
        port: int,
        pages: Pages,
        log: EventLog,
        *,
        at_once: Collection[str] = (),
        limits: Limits | None = None,
    ) -> None:
        self._listener = Listener(host, port, serve=self._serve, refuse=_refusal, log=log, limits=limits)
        self._at_once = {path: partial(_made, make, log) for path, make in pages.items() if path in at_once}
        self._makers = {path: _Maker(partial(_made, make, log)) for path, make in pages.items() if path not in at_once}
        self._listener.start()

    @property
    def address(self) -> str:
        """Host and port that are listened on, as one writes them in a URL."""
        return self._listener.address

    def close(self) -> None:
        """Listen no more; answers under way are given up."""
        self._listener.close()
        for maker in self._makers.values():
            maker.close()

    def _serve(self, connection: Connection, request: Request) -> None:
        has_body = request.method == "GET"
        if request.method not in {"GET", "HEAD"}:
            connection.answer(_refusal(HTTPStatus.METHOD_NOT_ALLOWED))
        elif (made := self._at_once.get(request.path)) is not None:
            connection.answer(_encoded(made(), has_body=has_body))
        elif (maker := self._makers.get(request.path)) is None:
            connection.answer(_refusal(HTTPStatus.NOT_FOUND))
        else:
            maker.ask(_Asked(connection, has_body=has_body))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that waits for a page."""

    connection: Connection
    has_body: bool


class _Maker:
    """Makes one page, once at a time: who asks meanwhile waits for the next, and none waits for another page."""

    def __init__(self, made: Callable[[], Page]) -> None:
        self._made = made
        self._asked: SimpleQueue[_Asked | None] = SimpleQueue()
        threading.Thread(target=self._work, name="page", daemon=True).start()

    def ask(self, asked: _Asked) -> None:
        """Answer this request with the next page that is made; returns at once."""
        self._asked.put(asked)

    def close(self) -> None:
        """Make no more pages, once the one under way is made."""
        self._asked.put(None)

    def _work(self) -> None:
        while (first := self._asked.get()) is not None:
            batch = [first, *self._others()]
            began = time.thread_time()
            page = self._made()
            answers = {has_body: _encoded(page, has_body=has_body) for has_body in (True, False)}
            for asked in batch:
                asked.connection.answer(answers[asked.has_body])
            time.sleep(min(_REST * (time.thread_time() - began), _REST_MAX))

    def _others(self) -> list[_Asked]:
        others = []
        try:
            while (asked := self._asked.get_nowait()) is not None:
                others.append(asked)
            self.close()  # for the next round
        except Empty:
            pass
        return others


def _made(make: Callable[[], Page], log: EventLog) -> Page:
    try:
        return make()
    except Exception as bug:
        log.exception("http.failed", error=repr(bug))
        return _plain(HTTPStatus.INTERNAL_SERVER_ERROR)


def _encoded(page: Page, *, has_body: bool) -> bytes:
    fields = {
        "Server": "stem-archiver",
        "Date": formatdate(usegmt=True),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Answer(page.status, page.content_type, page.body, fields).encoded(has_body=has_body)


def _refusal(status: HTTPStatus) -> bytes:
    return _encoded(_plain(status), has_body=True)


def _plain(status: HTTPStatus) -> Page:
    return Page(status, "text/plain; charset=utf-8", f"{status.phrase}\n".encode())
