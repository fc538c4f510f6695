"""One HTTP origin on loopback: hands each request to a function and writes its reply."""

from __future__ import annotations

import gzip
import json
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """A request, read whole."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Without the query, decoded."""
        return unquote(urlsplit(self.target).path)

    def query(self, name: str) -> str:
        """Return the first value of that name in the query, or an empty text."""
        return parse_qs(urlsplit(self.target).query).get(name, [""])[0]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, of which the pieces are written one by one."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterable[bytes | memoryview] = ()
    length: int | None = None
    """Bytes; None: sent in chunks."""


def text_reply(status: int, text: str) -> Reply:
    """Return a short text."""
    return Reply(status, {"Content-Type": "text/plain; charset=UTF-8"}, [text.encode()], len(text.encode()))


def json_reply(request: Request, code: int, msg: str, *, status: int = 200, **data: object) -> Reply:
    """Return the API's envelope, gzipped where the client takes that."""
    body = json.dumps({"code": code, "msg": msg} | data, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json;charset=UTF-8", "cf-cache-status": "DYNAMIC"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Reply(status, headers | {"Content-Encoding": "gzip"}, [gzip.compress(body, 1)])
    return Reply(status, headers, [body])


class Listener(ThreadingHTTPServer):
    """One origin on a free loopback port, with a thread for each connection."""

    daemon_threads = False  # so that closing waits for them
    request_queue_size = 128

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._connections: set[socket.socket] = set()
        self._lock = Lock()
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, name=self.url)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Take no more connections, cut those that are open, and wait for their threads."""
        self.shutdown()
        self._thread.join()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Serve the connection, which `close` is to cut."""
        if isinstance(request, socket.socket):
            with self._lock:
                self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """End the connection."""
        if isinstance(request, socket.socket):
            with self._lock:
                self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """A client that hangs up is none of our business; anything else is a bug and shows."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, asks the emulator, and writes its reply."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each reply waits 40 ms for the peer's delayed ACK
    server: Listener

    def do_GET(self) -> None:
        """Answer; the same for every method."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.answer(Request(self.command, self.path, headers, body))
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self._send_body(reply)

    do_HEAD = do_GET  # noqa: N815 - the base class's spelling
    do_POST = do_GET  # noqa: N815 - the base class's spelling

    def _send_body(self, reply: Reply) -> None:
        if reply.length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(reply.length))
        self.end_headers()
        if self.command == "HEAD":
            return
        if reply.length is not None:
            for piece in reply.pieces:
                self.wfile.write(piece)
            return
        for piece in reply.pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), bytes(piece)))
        self.wfile.write(b"0\r\n\r\n")

    def version_string(self) -> str:
        return "cloudflare"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: `Emulator.requests` remembers."""
