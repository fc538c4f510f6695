"""HTTP/1.1 on one connection: request heads out, answer heads and bodies in.

Parsed here and not by http.client, which reads a chunk size that was cut short as a smaller one ("0"
for "0a00", say, and so an end where there is none), takes the first of two Content-Lengths, and fills a
whole buffer before it lets anyone look at the clock. Bodies are received into the caller's buffer.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

import httpx

RECEIVE = 8192
"""Bytes asked of the socket while a head or a chunk size is read."""
LINE_MAX = 65536
HEAD_LINES_MAX = 256
INTERIM_MAX = 8
"""1xx answers that may precede the real one."""

_STATUS = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_LENGTH = re.compile(r"[0-9]{1,18}")

Headers = list[tuple[bytes, bytes]]


class Wire:
    """One connection, buffered just enough to read lines from it."""

    def __init__(self, sock: socket.socket, *, read_timeout: float, clock: Callable[[], float]) -> None:
        self._sock = sock
        self._timeout = read_timeout
        self._clock = clock
        self._rest = bytearray()
        self.idle_since = 0.0
        self.answered = False
        sock.settimeout(read_timeout)

    def send(self, data: bytes) -> None:
        """Send all of `data`; raise httpx.WriteError or WriteTimeout."""
        self.answered = False
        try:
            self._sock.sendall(data)
        except TimeoutError as error:
            raise httpx.WriteTimeout("the request could not be sent in time") from error
        except OSError as error:
            raise httpx.WriteError(reason_of(error)) from error

    def receive(self, view: memoryview) -> int:
        """Receive once into `view`; 0 when the other side has closed. Raises httpx.ReadError or ReadTimeout."""
        if self._rest:
            size = min(len(view), len(self._rest))
            view[:size] = self._rest[:size]
            del self._rest[:size]
            return size
        try:
            return self._sock.recv_into(view)
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"nothing came for {self._timeout:g} s") from error
        except OSError as error:
            raise httpx.ReadError(reason_of(error)) from error

    def deadline(self) -> float:
        """Until when lines that are asked for now must have come, however slowly they drip."""
        return self._clock() + self._timeout

    def line(self, deadline: float) -> bytes:
        """Read one line with its newline; b"" when the other side closed before any byte of it."""
        while (end := self._rest.find(b"\n") + 1) == 0:
            if len(self._rest) > LINE_MAX:
                raise httpx.RemoteProtocolError("an endless line in a head or chunk size")
            if self._clock() > deadline:
                raise httpx.ReadTimeout("a head or chunk size came too slowly")
            if not self._fetch():
                if self._rest:
                    raise httpx.ReadError("the connection was closed in the middle of a line")
                return b""
        line = bytes(self._rest[:end])
        del self._rest[:end]
        return line

    def _fetch(self) -> int:
        kept, self._rest = self._rest, bytearray()
        buffer = bytearray(RECEIVE)
        size = self.receive(memoryview(buffer))
        self.answered = self.answered or size > 0
        self._rest = kept + buffer[:size]
        return size

    def heard(self, wait: float = 0.0) -> int | None:
        """Return 1 when unasked-for bytes came, 0 when the other side closed, None when it is silent."""
        if self._rest:
            return 1
        if not self._readable(wait):
            return None
        self._sock.settimeout(wait)
        try:
            return self._sock.recv_into(bytearray(1))
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError:
            return 0
        finally:
            self._sock.settimeout(self._timeout)

    def _readable(self, wait: float) -> bool:
        """Whether there may be something to receive: one call of the system for what is nearly always silent."""
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return True
        waiting = select.poll()
        waiting.register(self._sock, select.POLLIN)
        return bool(waiting.poll(wait * 1000))

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()


class Reader(Protocol):
    """The body of one answer."""

    @property
    def length(self) -> int | None:
        """Bytes announced; None when none were."""

    @property
    def ended(self) -> bool:
        """True once the end was reached, as far as the framing can tell."""

    @property
    def framed(self) -> bool:
        """False when only the closing of the connection marks the end: a cut looks the same."""

    def receive(self, view: memoryview) -> int:
        """Receive some bytes of the body into `view`; 0 only at the end.

        Raises httpx.ReadError when the connection ends before the body does, httpx.ReadTimeout, or
        httpx.RemoteProtocolError.
        """


class LengthReader:
    """A body of announced length."""

    framed = True

    def __init__(self, wire: Wire, length: int) -> None:
        self._wire = wire
        self.length = length
        self._left = length

    @property
    def ended(self) -> bool:
        """True once all announced bytes came."""
        return self._left == 0

    def receive(self, view: memoryview) -> int:
        """See Reader."""
        if not self._left:
            return 0
        size = self._wire.receive(view[: self._left] if len(view) > self._left else view)
        if not size:
            raise httpx.ReadError(f"the connection was closed {self._left} bytes early")
        self._left -= size
        return size


class ChunkedReader:
    """A chunked body; ends only with a whole last-chunk line."""

    framed = True
    length = None

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._left = 0
        self._begun = False
        self.ended = False

    def receive(self, view: memoryview) -> int:
        """See Reader."""
        if not self._left and not self.ended:
            self._next_chunk()
        if self.ended:
            return 0
        size = self._wire.receive(view[: self._left] if len(view) > self._left else view)
        if not size:
            raise httpx.ReadError(f"the connection was closed {self._left} bytes before the end of a chunk")
        self._left -= size
        return size

    def _next_chunk(self) -> None:
        deadline = self._wire.deadline()
        if self._begun and self._wire.line(deadline).strip(b"\r\n"):
            raise httpx.RemoteProtocolError("a chunk is longer than its size")
        self._begun = True
        line = self._wire.line(deadline)
        if not line:
            raise httpx.ReadError("the connection was closed before the last chunk")
        size = _CHUNK.fullmatch(line)
        if size is None:
            raise httpx.RemoteProtocolError("a malformed chunk size")
        self._left = int(size[1], 16)
        if not self._left:
            self._skip_trailers(deadline)
            self.ended = True

    def _skip_trailers(self, deadline: float) -> None:
        for _ in range(HEAD_LINES_MAX):
            if not self._wire.line(deadline).strip(b"\r\n"):
                return
        raise httpx.RemoteProtocolError("endless trailers")


class CloseReader:
    """A body that ends when the connection is closed."""

    framed = False
    length = None

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.ended = False

    def receive(self, view: memoryview) -> int:
        """See Reader."""
        size = self._wire.receive(view)
        self.ended = not size
        return size


class Head:
    """Status and header fields of an answer, and what they say of the body's framing."""

    def __init__(self, status: int, minor: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers
        self._minor = minor

    @classmethod
    def read(cls, wire: Wire) -> Head | None:
        """Read the head of the final answer; None when the connection was closed before any byte of it."""
        deadline = wire.deadline()
        for _ in range(INTERIM_MAX):
            line = wire.line(deadline)
            if not line:
                return None
            status = _STATUS.fullmatch(line)
            if status is None:
                raise httpx.RemoteProtocolError("the answer is not HTTP/1")
            head = cls(int(status[2]), int(status[1]), _fields(wire, deadline))
            if head.status >= httpx.codes.OK:
                return head
        raise httpx.RemoteProtocolError("endless interim answers")

    def _tokens(self, name: bytes) -> list[str]:
        values = (value for field, value in self.headers if field.lower() == name)
        return [token.strip().lower() for value in values for token in value.decode("latin-1").split(",")]

    @property
    def keeps_alive(self) -> bool:
        """True when another request may follow on the same connection."""
        connection = self._tokens(b"connection")
        ambiguous = self._tokens(b"transfer-encoding") and self._tokens(b"content-length")
        return not ambiguous and "close" not in connection and (self._minor > 0 or "keep-alive" in connection)

    def reader(self, wire: Wire) -> Reader:
        """Return the body's reader (RFC 9112, section 6.3); raise httpx.RemoteProtocolError when that is unclear."""
        if self.status in {httpx.codes.NO_CONTENT, httpx.codes.NOT_MODIFIED}:
            return LengthReader(wire, 0)
        codings = self._tokens(b"transfer-encoding")
        if codings:
            if codings != ["chunked"]:
                raise httpx.RemoteProtocolError("a transfer coding that was not asked for")
            return ChunkedReader(wire)
        lengths = set(self._tokens(b"content-length"))
        if not lengths:
            return CloseReader(wire)
        length = lengths.pop()
        if lengths or not _LENGTH.fullmatch(length):
            raise httpx.RemoteProtocolError("a Content-Length that is no length")
        return LengthReader(wire, int(length))


def _fields(wire: Wire, deadline: float) -> Headers:
    headers: Headers = []
    for _ in range(HEAD_LINES_MAX):
        line = wire.line(deadline)
        if line in {b"\r\n", b"\n"}:
            return headers
        if line[:1] in {b" ", b"\t"} and headers:
            headers[-1] = (headers[-1][0], headers[-1][1] + b" " + line.strip())
            continue
        field = _FIELD.fullmatch(line)
        if field is None:
            raise httpx.RemoteProtocolError("a malformed header field" if line else "the head was cut short")
        headers.append((field[1], field[2]))
    raise httpx.RemoteProtocolError("endless header fields")


def request_head(method: bytes, target: bytes, headers: Headers) -> bytes:
    """Return a request's head as it is sent; raise httpx.LocalProtocolError for what would break its lines."""
    lines = [b"%s %s HTTP/1.1" % (method, target), *(b"%s: %s" % field for field in headers)]
    if any(b"\r" in line or b"\n" in line or b"\0" in line for line in lines):
        raise httpx.LocalProtocolError("a control character in the request")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def reason_of(error: OSError) -> str:
    """Return what went wrong in words that hold no address and no URL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    return error.strerror or type(error).__name__
