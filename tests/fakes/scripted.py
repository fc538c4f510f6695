"""An HTTP server on a loopback socket that answers as scripted, down to the byte at which it cuts the line."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Literal

from tests.fakes.serving import Server, reset

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    at: float
    """time.monotonic() when its head was complete."""
    connection: int
    """Which connection it came on, from 1."""
    method: str
    target: str
    fields: Headers
    """The header as it came."""
    headers: Mapping[str, str]
    """The same, by lower-case name."""
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; the fields that are left alone make it a correct one."""

    body: bytes = b""
    status: int = 200
    headers: Headers = ()
    framing: Literal["length", "chunked", "close", "none"] = "length"
    announced: int | None = None
    """A Content-Length that is not the body's."""
    chunk: int = 1000
    """Bytes a chunk, when chunked."""
    version: str = "HTTP/1.1"
    close: bool = False
    """Close the connection afterwards, having said so."""
    hang_up: bool = False
    """Close it afterwards, having said nothing of it."""
    cut: int | None = None
    """Bytes after the head at which the connection ends."""
    reset: bool = False
    """It ends with a RST."""
    delay: float = 0.0
    """Seconds before the first byte."""
    stall: int | None = None
    """Bytes after the head at which nothing more comes, until the server is closed."""
    drip: float = 0.0
    """Seconds between single bytes of the body."""
    raw: bytes | None = None
    """The whole answer on the wire; nothing else counts then but when it comes, and how it ends."""

    def head(self) -> bytes:
        fields = list(self.headers)
        if self.framing == "chunked":
            fields.append(("Transfer-Encoding", "chunked"))
        elif self.framing == "length":
            fields.append(("Content-Length", str(len(self.body) if self.announced is None else self.announced)))
        if self.close or self.framing == "close":
            fields.append(("Connection", "close"))
        lines = [f"{self.version} {self.status} Scripted", *(f"{name}: {value}" for name, value in fields)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def payload(self) -> bytes:
        if self.framing != "chunked":
            return self.body
        pieces = (self.body[at : at + self.chunk] for at in range(0, len(self.body), self.chunk))
        return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

    @property
    def ends_connection(self) -> bool:
        return self.close or self.hang_up or self.reset or self.cut is not None or self.framing == "close"


DROP = Reply(raw=b"", hang_up=True)
"""The connection closes without an answer."""

Answerer = Callable[[Request], Reply]


def reply(
    body: object = b"",
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    chunked: bool = False,
    packed: bool = False,
    cut: int = 0,
) -> Reply:
    """Build an answer, ready for the wire: bytes go as they are, str as text, all else as JSON.

    `cut` bytes before its end it breaks off.
    """
    if isinstance(body, bytes):
        content, kind = body, "application/octet-stream"
    elif isinstance(body, str):
        content, kind = body.encode(), "text/html"
    else:
        content, kind = json.dumps(body).encode(), "application/json;charset=UTF-8"
    fields = {"Content-Type": kind}
    if packed:
        content = gzip.compress(content, mtime=0)
        fields["Content-Encoding"] = "gzip"
    fields |= headers or {}
    whole = Reply(content, status, tuple(fields.items()), "chunked" if chunked else "length", chunk=97)
    raw = whole.head() + whole.payload()
    return Reply(raw=raw[: len(raw) - cut], hang_up=cut > 0)


def in_turn(*answers: Reply | Answerer) -> Answerer:
    """Give these answers one after the other, the last one for ever."""
    left, lock = list(answers), threading.Lock()

    def answer(request: Request) -> Reply:
        with lock:
            given = left.pop(0) if len(left) > 1 else left[0]
        return given(request) if callable(given) else given

    return answer


@dataclass(slots=True, kw_only=True)
class HttpServer(Server):
    """Answers as `answer` says, which may be replaced at any time. Keeps every request."""

    answer: Answerer = lambda _: Reply()
    requests: list[Request] = field(default_factory=list)

    def says(self, *answers: Reply | Answerer) -> None:
        """Answer so, one after the other, the last one for ever."""
        self.answer = in_turn(*answers)

    def note(self, request: Request) -> None:
        self.requests.append(request)

    def talk(self, wire: socket.socket, number: int) -> None:
        """See Server."""
        with wire.makefile("rb") as stream:
            while (request := _read_request(wire, stream, number)) is not None:
                self.note(request)
                answer = self.answer(request)
                self._send(wire, answer)
                if answer.reset:
                    reset(wire)
                if answer.ends_connection:
                    return

    def _send(self, wire: socket.socket, answer: Reply) -> None:
        head, payload = (answer.head(), answer.payload()) if answer.raw is None else (b"", answer.raw)
        payload = payload[: answer.cut]
        self.closing.wait(answer.delay)
        if answer.stall is not None:
            wire.sendall(head + payload[: answer.stall])
            self.closing.wait()
        elif answer.drip:
            wire.sendall(head)
            for byte in payload:
                wire.sendall(bytes([byte]))
                if self.closing.wait(answer.drip):
                    return
        else:
            wire.sendall(head + payload)


def _read_request(wire: socket.socket, stream: BufferedReader, connection: int) -> Request | None:
    first = stream.readline().decode("latin-1").split()
    if len(first) < 2:
        return None  # the connection was closed, or TLS is spoken to a server that knows none
    fields = []
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        fields.append((name, value.strip()))
    at, headers = time.monotonic(), {name.lower(): value for name, value in fields}
    if "expect" in headers:
        wire.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = stream.read(int(headers.get("content-length") or 0))
    return Request(at, connection, first[0], first[1], fields, headers, body)
