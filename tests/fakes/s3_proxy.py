"""A fault proxy in front of a real S3 server: passes requests on unchanged, save where a rule says otherwise.

The Host header goes through as it came, so that signatures stay valid.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs, unquote

from tests.fakes.scripted import DROP, Headers, HttpServer, Reply, Request
from tests.fakes.serving import port_of

HOP_BY_HOP = {"connection", "expect", "keep-alive", "transfer-encoding"}


def operation_of(request: Request) -> str:
    """Name the S3 operation, as far as the store uses it."""
    path, _, text = request.target.partition("?")
    query = parse_qs(text, keep_blank_values=True)
    if "uploads" in query:
        return "CreateMultipartUpload" if request.method == "POST" else "ListMultipartUploads"
    if "uploadId" in query:
        named = {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}
        return named[request.method]
    if path.strip("/").count("/") == 0:
        return {"HEAD": "HeadBucket", "PUT": "CreateBucket"}.get(request.method, "Bucket")
    return {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject"}.get(request.method, request.method)


@dataclass
class Exchange:
    """One request on its way, in the hands of an action."""

    request: Request
    upstream: str

    def forward(self, *, body: bytes | None = None) -> Reply:
        """Send the request on; with a shorter `body` the length still promises all of it."""
        sent = self.request.body if body is None else body
        connection = http.client.HTTPConnection("127.0.0.1", port_of(self.upstream), timeout=30)
        try:
            connection.putrequest(self.request.method, self.request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in self.request.fields:
                if name.lower() not in HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.endheaders(sent)
            if len(sent) < len(self.request.body) and connection.sock:
                connection.sock.shutdown(socket.SHUT_WR)
            answer = connection.getresponse()
            return Reply(answer.read(), answer.status, answer.getheaders())
        finally:
            connection.close()


Action = Callable[[Exchange], Reply]


def refuse(status: int, code: str, *, headers: Headers = ()) -> Action:
    """Answer with an S3 error of our own; the server never sees the request."""
    text = (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>scripted</Message><RequestId>R1</RequestId></Error>"
    )
    return lambda _: Reply(text.encode(), status, [("Content-Type", "application/xml"), *headers])


def refuse_after(status: int, code: str) -> Action:
    """Let the server do it, then answer with an error."""
    answer = refuse(status, code)

    def act(exchange: Exchange) -> Reply:
        exchange.forward()
        return answer(exchange)

    return act


def drop_before(_: Exchange) -> Reply:
    """Close the connection; the server never sees the request."""
    return DROP


def drop_after(exchange: Exchange) -> Reply:
    """Let the server do it, then close the connection without an answer."""
    exchange.forward()
    return DROP


def flip_bit(exchange: Exchange) -> Reply:
    """Change one bit in the middle of the request's body, if it has one."""
    changed = bytearray(exchange.request.body)
    if changed:
        changed[len(changed) // 2] ^= 1
    return exchange.forward(body=bytes(changed))


def truncate(exchange: Exchange) -> Reply:
    """Send half the request's body, then nothing."""
    with suppress(OSError, http.client.HTTPException):
        exchange.forward(body=exchange.request.body[: len(exchange.request.body) // 2])
    return DROP


def hold(seconds: float) -> Action:
    """Let the server do it, and keep the answer back."""
    return lambda exchange: replace(exchange.forward(), delay=seconds)


def dated(offset: timedelta) -> Action:
    """Let the store's clock differ."""

    def act(exchange: Exchange) -> Reply:
        date = format_datetime(datetime.now(UTC) + offset, usegmt=True)
        return with_headers(exchange.forward(), {"Date": date})

    return act


def without(*names: str) -> Action:
    """Take headers out of the answer: a store that does not know them."""

    def act(exchange: Exchange) -> Reply:
        answer = exchange.forward()
        kept = [(name, value) for name, value in answer.headers if name.lower() not in names]
        return replace(answer, headers=kept)

    return act


def renamed(headers: dict[str, str]) -> Action:
    """Let the answer say something else in these headers."""
    return lambda exchange: with_headers(exchange.forward(), headers)


def answer(status: int, headers: dict[str, str]) -> Action:
    """Answer with this; the server never sees the request."""
    return lambda _: Reply(b"", status, list(headers.items()))


def emptied(exchange: Exchange) -> Reply:
    """Let the server do it, and lose the answer's body."""
    return replace(exchange.forward(), body=b"")


def with_headers(answer: Reply, new: dict[str, str]) -> Reply:
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

    @property
    def hits(self) -> int:
        """How often the action was done: a rule that never was proves nothing."""
        return max(0, min(self.seen - self.nth + 1, self.times))

    def takes(self, request: Request) -> bool:
        path = unquote(request.target.partition("?")[0])
        if self.operation not in ("*", operation_of(request)) or not path.endswith(self.key):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


@dataclass(slots=True, kw_only=True)
class S3Proxy(HttpServer):
    """Where to connect, what was asked (without bodies), and the rules."""

    upstream: str
    """The URL of the real server."""
    _rules: list[Rule] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answer = self._answer
        HttpServer.__post_init__(self)

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
        return [operation_of(request) for request in list(self.requests)]

    def note(self, request: Request) -> None:
        self.requests.append(replace(request, body=b""))

    def _answer(self, request: Request) -> Reply:
        with self._lock:
            taken = [rule for rule in self._rules if rule.takes(request)]
        exchange = Exchange(request, self.upstream)
        return _framed(request, taken[0].action(exchange) if taken else exchange.forward())


def _framed(request: Request, answer: Reply) -> Reply:
    """Frame an answer for the client; that to HEAD announces what a body it would have."""
    length = next((value for name, value in answer.headers if name.lower() == "content-length"), "0")
    kept = [item for item in answer.headers if item[0].lower() not in HOP_BY_HOP | {"content-length"}]
    if request.method == "HEAD":
        return replace(answer, body=b"", headers=kept, announced=int(length))
    return replace(answer, headers=kept)
