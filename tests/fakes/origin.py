"""An HTTP origin on a loopback socket that answers as scripted, down to the byte at which it cuts the line."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal

CRLF = b"\r\n"
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came."""

    connection: int
    """Which connection it came on, from 1."""
    method: str
    target: str
    fields: Headers

    @property
    def headers(self) -> dict[str, str]:
        """The fields by lower-case name."""
        return {name.lower(): value for name, value in self.fields}


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
    """The cut is a RST."""
    stall: int | None = None
    """Bytes after the head at which nothing more comes, until the origin is closed."""
    drip: float = 0.0
    """Seconds between single bytes of the body."""
    raw: bytes | None = None
    """The whole answer on the wire; nothing else counts then but hang_up, cut and reset."""

    def head(self) -> bytes:
        fields = list(self.headers)
        if self.framing == "chunked":
            fields.append(("Transfer-Encoding", "chunked"))
        elif self.framing == "length":
            fields.append(("Content-Length", str(len(self.body) if self.announced is None else self.announced)))
        if self.close or self.framing == "close":
            fields.append(("Connection", "close"))
        lines = [f"{self.version} {self.status} Scripted", *(f"{name}: {value}" for name, value in fields)]
        return "\r\n".join(lines).encode("latin-1") + CRLF + CRLF

    def payload(self) -> bytes:
        if self.framing != "chunked":
            return self.body
        pieces = (self.body[at : at + self.chunk] for at in range(0, len(self.body), self.chunk))
        return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

    @property
    def ends_connection(self) -> bool:
        return self.close or self.hang_up or self.cut is not None or self.framing == "close"


Answer = Reply | Callable[[Seen], Reply]


@dataclass(slots=True)
class RangedFile:
    """Answers as a good static server does; `cuts` lists, a request each, after how many bytes to hang up."""

    body: bytes
    headers: Headers = (("ETag", '"v1"'),)
    cuts: Sequence[int | None] = ()
    framing: Literal["length", "chunked"] = "length"
    served: int = 0

    def __call__(self, seen: Seen) -> Reply:
        cut = self.cuts[self.served] if self.served < len(self.cuts) else None
        self.served += 1
        whole = Reply(self.body, headers=self.headers, cut=cut, framing=self.framing)
        wanted = re.fullmatch(r"bytes=(\d+)-", seen.headers.get("range", ""))
        known = {value for name, value in self.headers if name.lower() in {"etag", "last-modified"}}
        condition = seen.headers.get("if-range")
        if wanted is None or (condition is not None and condition not in known):
            return whole
        return partial(whole, int(wanted[1]))


def partial(whole: Reply, first: int) -> Reply:
    """Return the answer to `Range: bytes={first}-`."""
    size = len(whole.body)
    if first >= size:
        return Reply(status=416, headers=(*whole.headers, ("Content-Range", f"bytes */{size}")))
    span = ("Content-Range", f"bytes {first}-{size - 1}/{size}")
    return replace(whole, status=206, body=whole.body[first:], headers=(*whole.headers, span))


@dataclass(slots=True)
class Origin:
    """A server in threads; `script` says what each path answers, the last answer for ever."""

    listener: socket.socket
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    _scripts: dict[str, list[Answer]] = field(default_factory=dict)
    _live: set[socket.socket] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)
    _closed: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def url(self, path: str = "/stem.mp3", host: str = "") -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{host or self.host}:{self.port}{path}"

    def script(self, *answers: Answer, path: str = "/stem.mp3", host: str = "") -> str:
        """Let `path` answer so, one after the other, and return its URL."""
        self._scripts[path] = list(answers)
        return self.url(path, host)

    def serve(self) -> None:
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self._live.add(conn)
            thread = threading.Thread(target=self._talk, args=(conn, self.connections))
            self._threads.append(thread)
            thread.start()

    def _talk(self, conn: socket.socket, number: int) -> None:
        wire = conn
        try:
            if self.tls is not None:
                wire = self.tls.wrap_socket(conn, server_side=True)
                self._live.add(wire)
                if self._closed.is_set():
                    return
            with wire.makefile("rb") as lines:
                while (seen := _request(lines.readline, number)) is not None:
                    self.seen.append(seen)
                    reply = self._next(seen)
                    self._send(wire, reply)
                    if reply.ends_connection:
                        return
        except OSError:
            pass  # the client went away, or was meant to
        finally:
            wire.close()

    def _next(self, seen: Seen) -> Reply:
        path = re.sub(r"^http://[^/]*", "", seen.target).partition("?")[0]
        answers = self._scripts.get(path, [Reply(status=404)])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer(seen) if callable(answer) else answer

    def _send(self, wire: socket.socket, reply: Reply) -> None:
        head, payload = (reply.head(), reply.payload()) if reply.raw is None else (b"", reply.raw)
        payload = payload[: reply.cut]
        if reply.stall is not None:
            wire.sendall(head + payload[: reply.stall])
            self._closed.wait()
            return
        if reply.drip:
            wire.sendall(head)
            for byte in payload:
                wire.sendall(bytes([byte]))
                if self._closed.wait(reply.drip):
                    return
        else:
            wire.sendall(head + payload)
        if reply.reset:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        """End all connections; `serve` has returned already."""
        self._closed.set()
        for wire in list(self._live):
            _shut(wire)
        for thread in self._threads:
            thread.join()


def _shut(wire: socket.socket) -> None:
    with suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)
    wire.close()


def _request(readline: Callable[[], bytes], connection: int) -> Seen | None:
    first = readline().decode("latin-1").split()
    if len(first) < 2:
        return None  # the connection was closed, or TLS is spoken to a server that knows none
    fields = []
    while line := readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        fields.append((name, value.strip()))
    return Seen(connection, first[0], first[1], tuple(fields))


@contextmanager
def origin(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Origin]:
    """Run an origin on a free loopback port."""
    server = Origin(socket.create_server(("127.0.0.1", 0)), tls, host)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        _shut(server.listener)
        thread.join()
        server.close()
