"""The head of an answer, what it says of the body's framing, and the head of a request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import dropwhile

import httpx

from archiver.adapters.http1.body import ChunkedReader, CloseReader, LengthReader, Reader
from archiver.adapters.http1.connection import Connection
from archiver.core.text import printable, scrub

_STATUS = re.compile(rb"HTTP/1\.([0-9])[ \t]{1,16}([1-9][0-9]{2})(?:[ \t][^\r\n]*)?\r?\n")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n\0]*)\r?\n")
_PLAIN_FIELDS = re.compile(rb"^" + _FIELD.pattern.replace(rb"\r?", rb"\r"), re.MULTILINE)
_ODD_FIELD = re.compile(rb"([^\x00-\x20:\x7f][^\x00-\x08\x0a-\x1f:\x7f]*):([^\r\n\0]*)\r?\n")
"""A field as browsers read it: with blanks in its name or behind it, or with characters that no name should have."""
_FOLDED = re.compile(rb"[ \t]([^\r\n\0]*)\r?\n")
_LENGTH = re.compile(r"[0-9]{1,18}")
_LINE_END = len(b"\r\n")
_AROUND = len(b":") + _LINE_END
_FINAL = 200
_WITHOUT_BODY = (204, 304)
_FRAMING = frozenset((b"connection", b"transfer-encoding", b"content-length"))
_FRAMES_A_BODY = frozenset((b"transferencoding", b"contentlength"))
"""Names, by their letters alone, that no reader may take for another than the next one does."""
_NOT_A_LETTER = re.compile(rb"[^a-z]+")
_NO_CODING = frozenset(("", "identity"))
_QUOTED = 80
"""Characters of a line that are shown where it cannot be read."""
_TOKENS_MAX = 64
"""Elements of the fields that the framing or the connection depends on."""

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """The bounds of a head, beyond which it is refused."""

    lines: int = 256
    """Header fields and their folded lines, of each answer."""
    size: int = 64 * 1024
    """Bytes of status lines and fields, those of the interim answers among them."""
    interim: int = 7
    """Answers 1xx that may precede the final one."""


_ROOMY = HeadLimits()


class Head:
    """Status and header fields of an answer, and what they say of the body's framing."""

    def __init__(self, status: int, minor: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers
        self._minor = minor
        self._framing: dict[bytes, list[str]] = {name: [] for name in _FRAMING}
        for name, value in headers:
            if (known := name.lower()) in _FRAMING:
                self._framing[known] += _tokens(value)

    @classmethod
    def read(cls, connection: Connection, limits: HeadLimits = _ROOMY) -> Head | None:
        """Read the head of the final answer; None when the connection was closed before any byte of it.

        It comes, with all interim answers, within `limits` and within the connection's one deadline for lines.
        """
        lines = _Lines(connection, limits.size)
        for _ in range(limits.interim + 1):
            line = lines.next()
            if not line:
                return None
            status = _STATUS.fullmatch(line)
            if status is None:
                raise httpx.RemoteProtocolError("the answer is not HTTP/1")
            head = cls(int(status[2]), int(status[1]), _fields(lines, limits.lines))
            if head.status >= _FINAL:
                return head
        raise httpx.RemoteProtocolError("endless interim answers")

    @property
    def keeps_alive(self) -> bool:
        """True when another request may follow on the same connection."""
        connection = self._framing[b"connection"]
        ambiguous = self._framing[b"transfer-encoding"] and self._framing[b"content-length"]
        return not ambiguous and "close" not in connection and (self._minor > 0 or "keep-alive" in connection)

    def reader(self, connection: Connection) -> Reader:
        """Return the body's reader (RFC 9112, section 6.3); raise httpx.RemoteProtocolError when that is unclear."""
        if self.status in _WITHOUT_BODY:
            return LengthReader(connection, 0)
        if codings := self._codings():
            if codings != ["chunked"]:
                raise httpx.RemoteProtocolError(f"a transfer coding that was not asked for: {_shown(codings)}")
            return ChunkedReader(connection)
        lengths = set(self._framing[b"content-length"])
        if not lengths:
            return CloseReader(connection)
        length = ", ".join(sorted(lengths))
        if not _LENGTH.fullmatch(length):
            raise httpx.RemoteProtocolError(f"a Content-Length that is no length: {_shown([length])}")
        return LengthReader(connection, int(length))

    def _codings(self) -> list[str]:
        """Return the transfer codings without the `identity` before them, which is none."""
        codings = self._framing[b"transfer-encoding"]
        named = list(dropwhile(_NO_CODING.__contains__, codings))
        # Some readers do not see a coding behind another: beside a length they would take that for the body's.
        return codings if named != codings and named and self._framing[b"content-length"] else named


class _Lines:
    """The lines of a head, bounded together in bytes and in time."""

    def __init__(self, connection: Connection, size: int) -> None:
        self._connection = connection
        self._deadline = connection.deadline()
        self._left = size

    def next(self) -> bytes:
        line = self._connection.line(self._deadline, self._left)
        self._left -= len(line)
        return line

    def ordinary(self, most: int) -> Headers | None:
        """Return the fields where all have come, each by the letter of HTTP and on a line of its own; else None."""
        block = self._connection.block(self._left)
        if not block or block.count(b"\n") > most:
            return None
        fields = _PLAIN_FIELDS.findall(block)
        if sum([len(name) + len(value) for name, value in fields]) + _AROUND * len(fields) + _LINE_END != len(block):
            return None
        self._connection.skip(len(block))
        self._left -= len(block)
        return [(name, value.strip(b" \t")) for name, value in fields]


def _tokens(value: bytes) -> list[str]:
    if value.count(b",") >= _TOKENS_MAX:
        raise httpx.RemoteProtocolError("an endless list in a header field")
    return [token.strip(" \t").lower() for token in value.decode("latin-1").split(",")]


def _fields(lines: _Lines, most: int) -> Headers:
    if (ordinary := lines.ordinary(most)) is not None:
        return ordinary
    headers: Headers = []
    for _ in range(most):
        line = lines.next()
        if line in {b"\r\n", b"\n"}:
            return headers
        field = _FIELD.fullmatch(line)
        if field is not None:
            headers.append((field[1], field[2].strip(b" \t")))
        elif headers and (more := _FOLDED.fullmatch(line)):
            headers[-1] = (headers[-1][0], headers[-1][1] + b" " + more[1].strip(b" \t"))
        else:
            headers.append(_odd_field(line))
    raise httpx.RemoteProtocolError("endless header fields")


def _odd_field(line: bytes) -> tuple[bytes, bytes]:
    """Return a field that is none by the letter of HTTP, where it says nothing of the body's length."""
    if not line:
        raise httpx.RemoteProtocolError("the head was cut short")
    field = _ODD_FIELD.fullmatch(line)
    if field is None:
        raise httpx.RemoteProtocolError(f"a malformed header field: {_shown([line.decode('latin-1')])}")
    if _NOT_A_LETTER.sub(b"", field[1].lower()) in _FRAMES_A_BODY:
        shown = _shown([line.decode("latin-1")])
        raise httpx.RemoteProtocolError(f"a header field that leaves the body's length unclear: {shown}")
    return field[1].rstrip(b" \t"), field[2].strip(b" \t")


def _shown(said: list[str]) -> str:
    """Quote what was said, fit for a log."""
    return repr(printable(scrub(", ".join(said)[: 4 * _QUOTED]))[:_QUOTED])


def request_head(method: bytes, target: bytes, headers: Headers) -> bytes:
    """Return a request's head as it is sent; raise httpx.LocalProtocolError for what would break its lines."""
    lines = [b"%s %s HTTP/1.1" % (method, target), *(b"%s: %s" % field for field in headers)]
    head = b"\r\n".join(lines)
    if not head.count(b"\r") == head.count(b"\n") == len(lines) - 1 or b"\0" in head:
        raise httpx.LocalProtocolError("a control character in the request")
    return head + b"\r\n\r\n"
