"""A small HTTP server for a few fixed pages: GET and HEAD, bounded in time and in connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn

from archiver.ports.runtime import EventLog

CONNECTIONS = 16
"""Served at one time; a further one is hung up on."""

PATIENCE = 10.0
"""Seconds for a whole request to arrive, and for each answer to be taken."""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    status: int
    content_type: str
    body: bytes


Pages = Mapping[str, Callable[[], Page]]
"""Makes a page anew for each request of its path."""

_Request = socket.socket | tuple[bytes, socket.socket]
"""As socketserver has it; of TCP always the socket."""


class PageServer:
    """Serves `pages` on host and port (0: any free one) until closed; raises OSError when it cannot listen there.

    Nothing of a request is repeated in an answer or in the log.
    """

    def __init__(self, host: str, port: int, pages: Pages, log: EventLog, *, patience: float = PATIENCE) -> None:
        self._server = _Server(host, port, pages, log, patience)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="http", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Host and port that are listened on, as one writes them in a URL."""
        host, port = self._server.server_address[:2]
        host = str(host)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        """Listen no more; answers under way are given up with the process."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingMixIn, TCPServer):
    """One thread a connection, none of which keeps the process alive."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = CONNECTIONS

    def __init__(self, host: str, port: int, pages: Pages, log: EventLog, patience: float) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.pages = pages
        self.log = log
        self.patience = patience
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__((host, port), _Handler)

    def process_request(self, request: _Request, client_address: object) -> None:
        """Serve the connection in a thread of its own, if there are not too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: _Request, client_address: object) -> None:
        """Serve one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: _Request, client_address: object) -> None:
        """Say nothing: here end only clients that hung up or were too slow."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one request and ends the connection."""

    server: _Server

    def handle(self) -> None:
        # A socket's timeout is for one read, and a byte a second would hold the connection for days.
        self._arriving = threading.Timer(self.server.patience, _hang_up, [self.connection])
        self._arriving.daemon = True
        self._arriving.start()
        try:
            super().handle()
        finally:
            self._arriving.cancel()

    def do_GET(self) -> None:
        self._arriving.cancel()
        self.connection.settimeout(self.server.patience)
        self._answer(self._page())

    def do_HEAD(self) -> None:
        self.do_GET()

    def _page(self) -> Page:
        make = self.server.pages.get(self.path.partition("?")[0])
        if make is None:
            return _plain(HTTPStatus.NOT_FOUND)
        try:
            return make()
        except Exception as bug:
            self.server.log.exception("http.failed", error=repr(bug))
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _answer(self, page: Page) -> None:
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request of ours without repeating it."""
        del message, explain
        self._answer(_plain(HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)))

    def version_string(self) -> str:
        return "stem-archiver"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
        """Say nothing: pages are asked for every few seconds."""


def _plain(status: HTTPStatus) -> Page:
    return Page(status, "text/plain; charset=utf-8", f"{status.phrase}\n".encode())


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):  # it may have hung up by itself
        connection.shutdown(socket.SHUT_RDWR)
