"""A scripted HTTP server on loopback that sends exactly the bytes it is told to, right or wrong."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    at: float
    """time.monotonic() when its head was complete."""
    method: str
    target: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """The bytes of one response, and how they are sent."""

    raw: bytes
    delay: float = 0.0
    """Seconds before the first byte."""
    dribble: float = 0.0
    """Seconds before each single byte."""
    keep: bool = True
    """Whether the connection stays open for another request."""
    reset: bool = False
    """Whether the connection ends with a RST."""


Answerer = Callable[[Request], Reply]


def reply(
    body: object = b"",
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    chunked: bool = False,
    packed: bool = False,
    cut: int | None = None,
    delay: float = 0.0,
    dribble: float = 0.0,
) -> Reply:
    """Build a Reply: bytes go as they are, str as text, all else as JSON; `cut` bytes before its end it breaks off."""
    if isinstance(body, bytes):
        content, kind = body, "application/octet-stream"
    elif isinstance(body, str):
        content, kind = body.encode(), "text/html"
    else:
        content, kind = json.dumps(body).encode(), "application/json;charset=UTF-8"
    lines = {"Content-Type": kind}
    if packed:
        content = gzip.compress(content, mtime=0)
        lines["Content-Encoding"] = "gzip"
    if chunked:
        lines["Transfer-Encoding"] = "chunked"
        content = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in _pieces(content)) + b"0\r\n\r\n"
    else:
        lines["Content-Length"] = str(len(content))
    lines |= headers or {}
    head = f"HTTP/1.1 {status} Scripted\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    raw = head.encode() + b"\r\n" + content
    return Reply(raw if cut is None else raw[:-cut], delay, dribble, keep=cut is None)


def _pieces(content: bytes) -> Iterable[bytes]:
    return [content[at : at + 97] for at in range(0, len(content), 97)]


@dataclass(slots=True)
class ScriptedProvider:
    """Serves until the `with` ends; `answer` may be replaced at any time. Keeps every request."""

    answer: Answerer
    tls: ssl.SSLContext | None = None
    """Looked at for each new connection."""
    requests: list[Request] = field(default_factory=list)
    _listener: socket.socket = field(init=False)
    _open: set[socket.socket] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closing: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """The origin, without a trailing slash."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def says(self, *replies: Reply) -> None:
        """Answer with `replies` in turn, the last one for ever."""
        script = list(replies)
        self.answer = lambda _: script.pop(0) if len(script) > 1 else script[0]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]  # bound now

    def _serve(self, plain: socket.socket) -> None:
        with plain, suppress(OSError), self._secured(plain) as connection, connection.makefile("rb") as stream:
            while (request := _read_request(stream.readline, stream.read)) is not None:
                with self._lock:
                    self.requests.append(request)
                    answer = self.answer(request)
                self._send(connection, answer)
                if answer.reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if answer.reset or not answer.keep:
                    break
        with self._lock:
            self._open.discard(plain)

    def _secured(self, connection: socket.socket) -> socket.socket:
        return connection if self.tls is None else self.tls.wrap_socket(connection, server_side=True)

    def _send(self, connection: socket.socket, answer: Reply) -> None:
        self._closing.wait(answer.delay)
        if not answer.dribble:
            connection.sendall(answer.raw)
            return
        for byte in answer.raw:
            if self._closing.wait(answer.dribble):
                return
            connection.sendall(bytes([byte]))


def _read_request(read_line: Callable[[], bytes], read: Callable[[int], bytes]) -> Request | None:
    first = read_line().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers: dict[str, str] = {}
    while (line := read_line().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    at = time.monotonic()
    return Request(at, first[0], first[1], headers, read(int(headers.get("content-length", "0"))))
