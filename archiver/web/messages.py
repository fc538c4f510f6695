"""Requests of HTTP/1.1, read from bytes as they come, and answers to them. Pure.

A request is bounded, and read in a time that is linear in its bytes. What is not exactly one is refused.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from string import ascii_letters, digits, hexdigits

HEAD_MAX = 16 << 10
"""Bytes of a request's line and fields, and of what frames the chunks of a body."""

FIELDS_MAX = 100

BODY_MAX = 64 << 10
"""Bytes."""

_TOKEN = f"!#$%&'*+-.^_`|~{digits}{ascii_letters}".encode()
_HEX = hexdigits.encode()
_CONTROLS = bytes({*range(32), 127} - {9})
_SIZE_DIGITS = 9
_ONCE = frozenset({"content-length", "host", "transfer-encoding"})

Wanting = Generator[None, None, bytes]
"""Waits for more bytes at each step."""


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request."""

    method: str
    path: str
    """The target without its query."""
    fields: Mapping[str, str]
    """The first value of each field, by its name in lower case."""
    body: bytes
    query: str = ""
    """All after the first question mark of the target."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, after which the connection ends."""

    status: int
    content_type: str
    body: bytes
    fields: Mapping[str, str]

    def encoded(self, *, has_body: bool = True) -> bytes:
        """Return the answer as HTTP has it; that to a HEAD has no body."""
        head = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            *(f"{name}: {value}" for name, value in self.fields.items()),
            "Connection: close\r\n\r\n",
        ]
        return "\r\n".join(head).encode("latin-1") + (self.body if has_body else b"")


class Refused(Exception):
    """The bytes that came are no request that we take; `status` says why."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class RequestReader:
    """Reads one request; what follows it is left alone."""

    def __init__(self, body_max: int = BODY_MAX) -> None:
        self.has_head = False
        """True once line and fields have come."""
        self.awaits_continue = False
        """True when the client sends the body once it is told to."""
        self._buffer = bytearray()
        self._left = HEAD_MAX
        self._body_max = body_max
        self._steps = self._request()
        self._steps.send(None)

    def feed(self, data: bytes) -> Request | None:
        """Take what came; return the request once it is whole, raise Refused when it is none."""
        self._buffer += data
        try:
            self._steps.send(None)
        except StopIteration as done:
            whole: Request = done.value
            return whole
        return None

    def _request(self) -> Generator[None, None, Request]:
        yield
        line = (yield from self._line()) or (yield from self._line())
        method, target = _asked(line)
        fields = yield from self._fields()
        self.has_head = True
        self.awaits_continue = fields.get("expect", "").lower() == "100-continue"
        body = yield from self._body(fields)
        path, _, query = target.partition("?")
        return Request(method, path, fields, body, query)

    def _fields(self) -> Generator[None, None, dict[str, str]]:
        fields: dict[str, str] = {}
        for _ in range(FIELDS_MAX + 1):
            if not (line := (yield from self._line())):
                return fields
            name, value = _field(line)
            if name in fields and name in _ONCE:
                raise Refused(HTTPStatus.BAD_REQUEST)
            fields.setdefault(name, value)
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _body(self, fields: Mapping[str, str]) -> Wanting:
        if "transfer-encoding" not in fields:
            return (yield from self._exactly(_decimal(fields.get("content-length", "0"))))
        if "content-length" in fields:
            raise Refused(HTTPStatus.BAD_REQUEST)
        if fields["transfer-encoding"].lower() != "chunked":
            raise Refused(HTTPStatus.NOT_IMPLEMENTED)
        return (yield from self._chunks())

    def _chunks(self) -> Wanting:
        body = bytearray()
        while size := _hexadecimal((yield from self._line())):
            body += yield from self._exactly(size, len(body))
            if (yield from self._line()):
                raise Refused(HTTPStatus.BAD_REQUEST)
        while (yield from self._line()):
            pass
        return bytes(body)

    def _line(self) -> Wanting:
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            if start >= self._left:
                raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            yield
        self._left -= end + 1
        if self._left < 0:
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return self._taken(end + 1).removesuffix(b"\n").removesuffix(b"\r")

    def _exactly(self, size: int, before: int = 0) -> Wanting:
        if before + size > self._body_max:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        while len(self._buffer) < size:
            yield
        return self._taken(size)

    def _taken(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def _asked(line: bytes) -> tuple[str, str]:
    match line.split(b" "):
        case [method, target, b"HTTP/1.0" | b"HTTP/1.1"] if _is_token(method) and target and _is_shown(target):
            return method.decode("ascii"), target.decode("ascii")
        case _:
            raise Refused(HTTPStatus.BAD_REQUEST)


def _field(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or not _is_token(name) or len(value.translate(None, _CONTROLS)) != len(value):
        raise Refused(HTTPStatus.BAD_REQUEST)
    return name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")


def _is_token(name: bytes) -> bool:
    return bool(name) and not name.translate(None, _TOKEN)


def _is_shown(target: bytes) -> bool:
    return target.isascii() and target.decode("ascii").isprintable()


def _decimal(number: str) -> int:
    if not number.isascii() or not number.isdigit():
        raise Refused(HTTPStatus.BAD_REQUEST)
    if len(number) > _SIZE_DIGITS:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(number)


def _hexadecimal(line: bytes) -> int:
    number = line.partition(b";")[0].strip(b" \t")
    if not number or number.translate(None, _HEX):
        raise Refused(HTTPStatus.BAD_REQUEST)
    if len(number) > _SIZE_DIGITS:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(number, 16)
