"""A fault proxy in front of a real S3 server: passes requests on unchanged, save where a rule says otherwise.

The Host header goes through as it came, so that signatures stay valid.
"""

from __future__ import annotations

import http.client
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs, unquote, urlsplit

Headers = list[tuple[str, str]]
HOP_BY_HOP = {"connection", "expect", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: str
    headers: Headers
    body: bytes = field(repr=False)

    def header(self, name: str) -> str:
        return next((value for known, value in self.headers if known.lower() == name.lower()), "")

    @property
    def operation(self) -> str:
        """The S3 operation's name, as far as the store uses it."""
        query = parse_qs(self.query, keep_blank_values=True)
        if "uploads" in query:
            return "CreateMultipartUpload" if self.method == "POST" else "ListMultipartUploads"
        if "uploadId" in query:
            return {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}[
                self.method
            ]
        if self.path.strip("/").count("/") == 0:
            return {"HEAD": "HeadBucket", "PUT": "CreateBucket"}.get(self.method, "Bucket")
        return {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject"}.get(self.method, self.method)


@dataclass(frozen=True)
class Response:
    status: int
    headers: Headers
    body: bytes = b""


class Dropped(Exception):
    """The client's connection is to be closed without an answer."""


@dataclass
class Exchange:
    """One request on its way, in the hands of an action."""

    request: Request
    upstream: tuple[str, int]
    stopping: threading.Event

    def forward(self, *, body: bytes | None = None) -> Response:
        """Send the request on; with a shorter `body` the length still promises all of it."""
        sent = self.request.body if body is None else body
        connection = http.client.HTTPConnection(*self.upstream, timeout=30)
        try:
            target = self.request.path + (f"?{self.request.query}" if self.request.query else "")
            connection.putrequest(self.request.method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in self.request.headers:
                if name.lower() not in HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.endheaders(sent)
            if len(sent) < len(self.request.body) and connection.sock:
                connection.sock.shutdown(socket.SHUT_WR)
            answer = connection.getresponse()
            return Response(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()


Action = Callable[[Exchange], Response]


def refuse(status: int, code: str, *, headers: Headers | None = None) -> Action:
    """Answer with an S3 error of our own; the server never sees the request."""
    text = (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>scripted</Message><RequestId>R1</RequestId></Error>"
    )
    answer = Response(status, [("Content-Type", "application/xml"), *(headers or [])], text.encode())
    return lambda _: answer


def refuse_after(status: int, code: str) -> Action:
    """Let the server do it, then answer with an error."""
    answer = refuse(status, code)

    def act(exchange: Exchange) -> Response:
        exchange.forward()
        return answer(exchange)

    return act


def drop_before(_: Exchange) -> Response:
    """Close the connection; the server never sees the request."""
    raise Dropped


def drop_after(exchange: Exchange) -> Response:
    """Let the server do it, then close the connection without an answer."""
    exchange.forward()
    raise Dropped


def flip_bit(exchange: Exchange) -> Response:
    """Change one bit in the middle of the request's body."""
    changed = bytearray(exchange.request.body)
    changed[len(changed) // 2] ^= 1
    return exchange.forward(body=bytes(changed))


def truncate(exchange: Exchange) -> Response:
    """Send half the request's body, then nothing."""
    with suppress(OSError, http.client.HTTPException):
        exchange.forward(body=exchange.request.body[: len(exchange.request.body) // 2])
    raise Dropped


def hold(seconds: float) -> Action:
    """Let the server do it, and keep the answer back."""

    def act(exchange: Exchange) -> Response:
        answer = exchange.forward()
        exchange.stopping.wait(seconds)
        return answer

    return act


def dated(offset: timedelta) -> Action:
    """Let the store's clock differ."""

    def act(exchange: Exchange) -> Response:
        date = format_datetime(datetime.now(UTC) + offset, usegmt=True)
        return with_headers(exchange.forward(), {"Date": date})

    return act


def without(*names: str) -> Action:
    """Take headers out of the answer: a store that does not know them."""

    def act(exchange: Exchange) -> Response:
        answer = exchange.forward()
        kept = [(name, value) for name, value in answer.headers if name.lower() not in names]
        return replace(answer, headers=kept)

    return act


def renamed(headers: dict[str, str]) -> Action:
    """Let the answer say something else in these headers."""
    return lambda exchange: with_headers(exchange.forward(), headers)


def answer(status: int, headers: dict[str, str]) -> Action:
    """Answer with this; the server never sees the request."""
    scripted = Response(status, list(headers.items()))
    return lambda _: scripted


def emptied(exchange: Exchange) -> Response:
    """Let the server do it, and lose the answer's body."""
    return replace(exchange.forward(), body=b"")


def with_headers(answer: Response, new: dict[str, str]) -> Response:
    lowered = {name.lower() for name in new}
    return replace(
        answer, headers=[item for item in answer.headers if item[0].lower() not in lowered] + list(new.items())
    )


@dataclass
class Rule:
    """Do `action` on the `nth` request of `operation` (whose key ends in `key`) and on `times - 1` after it."""

    operation: str
    action: Action
    nth: int = 1
    times: int = 1
    key: str = ""
    seen: int = 0

    def takes(self, request: Request) -> bool:
        if self.operation not in ("*", request.operation) or not unquote(request.path).endswith(self.key):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


class S3Proxy:
    """What a test holds: where to connect, what was asked, and the rules."""

    def __init__(self, upstream_url: str) -> None:
        parts = urlsplit(upstream_url)
        self.upstream = (parts.hostname or "", parts.port or 80)
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._server = _Server(self)

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self._server.server_address[:2])

    def on(self, operation: str, action: Action, *, nth: int = 1, times: int = 1, key: str = "") -> Rule:
        rule = Rule(operation, action, nth, times, key)
        with self._lock:
            self._rules.append(rule)
        return rule

    def calm(self) -> None:
        """Forget all rules, and what was asked."""
        with self._lock:
            self._rules.clear()
            self.requests.clear()

    def operations(self) -> list[str]:
        with self._lock:
            return [request.operation for request in self.requests]

    def handle(self, request: Request) -> Response:
        with self._lock:
            self.requests.append(replace(request, body=b""))
            taken = [rule for rule in self._rules if rule.takes(request)]
        exchange = Exchange(request, self.upstream, self.stopping)
        return taken[0].action(exchange) if taken else exchange.forward()

    @contextmanager
    def running(self) -> Iterator[S3Proxy]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.stopping.set()
            self._server.shutdown()
            thread.join()
            self._server.hang_up()
            self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = False

    def __init__(self, proxy: S3Proxy) -> None:
        self.proxy = proxy
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def hang_up(self) -> None:
        with self._guard:
            for client in self._open:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)

    def note(self, client: socket.socket) -> None:
        with self._guard:
            self._open.add(client)

    def forget(self, client: socket.socket) -> None:
        with self._guard:
            self._open.discard(client)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are what the tests are about."""


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.note(self.request)
        super().setup()

    def finish(self) -> None:
        self.server.forget(self.request)
        with suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with suppress(Dropped, OSError):
            while request := self._read():
                self._write(request, self.server.proxy.handle(request))

    def _read(self) -> Request | None:
        line = self.rfile.readline().decode("latin-1").split()
        if not line:
            return None
        headers = [(name, value) for name, value in http.client.parse_headers(self.rfile).items()]
        request = Request(line[0], *urlsplit(line[1])[2:4], headers, b"")
        if request.header("Expect"):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return replace(request, body=self.rfile.read(int(request.header("Content-Length") or 0)))

    def _write(self, request: Request, answer: Response) -> None:
        kept = [item for item in answer.headers if item[0].lower() not in HOP_BY_HOP | {"content-length"}]
        length = str(len(answer.body))
        if request.method == "HEAD":
            length = {name.lower(): value for name, value in answer.headers}.get("content-length", "0")
        lines = [f"HTTP/1.1 {answer.status} Scripted", *(f"{name}: {value}" for name, value in kept)]
        head = "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode("latin-1")
        self.wfile.write(head + (b"" if request.method == "HEAD" else answer.body))


@contextmanager
def s3_proxy(upstream_url: str) -> Iterator[S3Proxy]:
    """Run a proxy in front of `upstream_url` until the block is left."""
    with S3Proxy(upstream_url).running() as proxy:
        yield proxy
