"""The body of an answer, received into the caller's buffer."""

from __future__ import annotations

import re
from typing import Protocol

import httpx

from archiver.adapters.http1.connection import Connection

EXTRAS_MAX = 16 * 1024
"""Bytes of a chunked body's extensions and trailers, and of blanks in its framing, all together."""
TRAILERS_MAX = 256
"""Lines after the last chunk."""
_LINE_END = 2
_DIGITS_MAX = 15

_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")


class Reader(Protocol):
    """The body of one answer."""

    @property
    def length(self) -> int | None:
        """Bytes announced; None when none were."""

    @property
    def ended(self) -> bool:
        """True once the end was reached, as far as the framing can tell."""

    @property
    def framing(self) -> int:
        """Bytes so far that stood between those of the body."""

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
    framing = 0

    def __init__(self, connection: Connection, length: int) -> None:
        self._connection = connection
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
        size = self._connection.receive(view[: self._left] if len(view) > self._left else view)
        if not size:
            raise httpx.ReadError(f"the connection was closed {self._left} bytes early")
        self._left -= size
        return size


class ChunkedReader:
    """A chunked body; ends only with a whole last-chunk line."""

    framed = True
    length = None

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._left = 0
        self._begun = False
        self._extras = EXTRAS_MAX
        self.framing = 0
        self.ended = False

    def receive(self, view: memoryview) -> int:
        """See Reader."""
        if not self._left and not self.ended:
            self._next_chunk()
        if self.ended:
            return 0
        size = self._connection.receive(view[: self._left] if len(view) > self._left else view)
        if not size:
            raise httpx.ReadError(f"the connection was closed {self._left} bytes before the end of a chunk")
        self._left -= size
        return size

    def _next_chunk(self) -> None:
        deadline = self._connection.deadline()
        if self._begun and self._line(deadline) not in {b"", b"\r\n"}:
            raise httpx.RemoteProtocolError("a chunk is longer than its size")
        self._begun = True
        line = self._line(deadline)
        if not line:
            raise httpx.ReadError("the connection was closed before the last chunk")
        size = _CHUNK.fullmatch(line)
        if size is None:
            raise httpx.RemoteProtocolError("a malformed chunk size")
        self._spend(len(line) - len(size[1]) - _LINE_END)
        self._left = int(size[1], 16)
        if not self._left:
            self._skip_trailers(deadline)
            self.ended = True

    def _skip_trailers(self, deadline: float) -> None:
        for _ in range(TRAILERS_MAX):
            line = self._line(deadline)
            if not line.strip(b"\r\n"):
                return
            self._spend(len(line))
        raise httpx.RemoteProtocolError("endless trailers")

    def _line(self, deadline: float) -> bytes:
        line = self._connection.line(deadline, self._extras + _DIGITS_MAX + _LINE_END)
        self.framing += len(line)
        return line

    def _spend(self, extra: int) -> None:
        self._extras -= extra
        if self._extras < 0:
            raise httpx.RemoteProtocolError("endless chunk extensions or trailers")


class CloseReader:
    """A body that ends when the connection is closed."""

    framed = False
    framing = 0
    length = None

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.ended = False

    def receive(self, view: memoryview) -> int:
        """See Reader."""
        size = self._connection.receive(view)
        self.ended = not size
        return size
