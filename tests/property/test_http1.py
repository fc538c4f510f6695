"""The HTTP/1.1 reader beside h11 and http.client: what it takes for an answer they take for the same, or it is refused.

h11 is the stricter of the two and goes first; where it refuses, http.client must agree. On its own http.client is no
judge: it takes a list of equal lengths for none, and 1xx answers other than 100 for final ones. Both refuse what every
browser reads (a blank in a field's name, a transfer coding that is none): of such an answer they judge the tidied head.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import time
from dataclasses import dataclass, replace
from typing import cast

import h11
import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archiver.adapters.http1 import Connection, Head

LENGTH, CODING = b"content-length", b"transfer-encoding"
NO_BODY = (204, 304)


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer as one reader understood it; its fields without case, folds and repeated lengths."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    lengths: frozenset[bytes]
    body: bytes


def seen(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> Seen:
    fields = [(name.lower(), b" ".join(value.split())) for name, value in headers]
    lengths = {length.strip() for name, value in fields if name == LENGTH for length in value.split(b",")}
    return Seen(status, tuple(field for field in fields if field[0] != LENGTH), frozenset(lengths), body)


def ours(data: bytes) -> Seen | None:
    found = ours_or_why(data)
    return found if isinstance(found, Seen) else None


def ours_or_why(data: bytes) -> Seen | str:
    """Read `data` with our own reader; return the reason where it refuses."""
    near, far = socket.socketpair()
    with near, far:
        far.sendall(data)
        far.shutdown(socket.SHUT_WR)
        connection = Connection(near, read_timeout=10, clock=time.monotonic)
        try:
            head = Head.read(connection)
            if head is None:
                return "nothing came"
            reader, body, buffer = head.reader(connection), bytearray(), memoryview(bytearray(64))
            while size := reader.receive(buffer):
                body += buffer[:size]
        except httpx.TransportError as error:
            return str(error)
        assert reader.ended
        return seen(head.status, head.headers, bytes(body))


STATUS = re.compile(rb"HTTP/1\.(.)[ \t]+([0-9]{3})(?:[ \t](.*))?")
NO_NAME = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]+")
NO_CODING = re.compile(rb"(?i)transfer-encoding:[ \t]*(?:identity)?[ \t]*")


def tidied(data: bytes) -> bytes:
    """Return the answer as it reads without blanks and other oddities in names, and without codings that are none."""
    lines = re.findall(rb"[^\n]*\n|[^\n]+", data)
    head, final = b"", False
    for at, whole in enumerate(lines):
        line = whole.rstrip(b"\n").removesuffix(b"\r")
        newline = whole[len(line) :]
        if (status := STATUS.fullmatch(line)) is not None:
            line = b"HTTP/1.%s %s %s" % (status[1], status[2], status[3] or b"")
            final = status[2] >= b"200"
        elif not line and final:
            return head + b"".join(lines[at:])
        elif line[:1] not in {b"", b" ", b"\t"}:
            name, colon, value = line.partition(b":")
            line = NO_NAME.sub(b"-", name.rstrip(b" \t")) + colon + value
        if not NO_CODING.fullmatch(line):
            head += line + newline
    return head


def tidy(found: Seen) -> Seen:
    fields = [(NO_NAME.sub(b"-", name), value) for name, value in found.fields]
    none = {(b"transfer-encoding", b"identity"), (b"transfer-encoding", b"")}
    return replace(found, fields=tuple(field for field in fields if field not in none))


def by_h11(data: bytes) -> Seen | None:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    head, body = None, bytearray()
    try:
        client.receive_data(data)
        client.receive_data(b"")
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None
    assert head is not None
    return seen(head.status_code, list(head.headers.raw_items()), bytes(body))


class Stream:
    """What http.client takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def makefile(self, mode: str) -> io.BytesIO:
        return self._file


def by_http_client(data: bytes) -> Seen | None:
    stream = cast("socket.socket", Stream(data))
    heads: list[http.client.HTTPResponse] = []  # kept: one that is forgotten closes the stream
    try:
        while not heads or heads[-1].status < 200:
            heads.append(http.client.HTTPResponse(stream, method="GET"))
            heads[-1].begin()
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in heads[-1].getheaders()]
        return seen(heads[-1].status, headers, heads[-1].read())
    except (http.client.HTTPException, ValueError):
        return None


statuses = st.sampled_from([b"1.1 200 OK", b"1.0 200 OK", b"1.1 206 Partial", b"1.1 404", b"1.1 412 \xe9", b"1.1 503 "])
some_fields = st.lists(
    st.sampled_from([b"X: b", b'ETag: "a"', b"X:", b"X:\t y \t", b"X: b\r\n folded", b"X: \xe9", b"Connection: close"]),
    max_size=3,
)
odd_fields = st.lists(
    st.sampled_from(
        [
            *(b"X Powered By: cdn", b"Content-Type : audio/mpeg", b"X\t: b", b"\xe9\xe8: b", b"(X): b", b"no colon"),
            *(b"Content-Length : 3", b"Content Length: 3", b"Content-Length\xa0: 3", b"Transfer Encoding: chunked"),
            *(b"Transfer-Encoding: identity", b"Transfer-Encoding:", b"Transfer-Encoding: identity, chunked"),
            *(b"Connection : close", b"Content-Encoding: none"),
        ]
    ),
    max_size=2,
)
bodies = st.sampled_from([b"", b"hello", b"hello world" * 3])
interims = st.sampled_from([b"", b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"])
bits = st.sampled_from([b"\r", b"\n", b"\0", b" ", b"\t", b":", b"0", b"1", b"a", b",", b";", b"\x80", b"-", b"\r\n"])


@st.composite
def framed(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Fields that frame a body, and the body in that framing."""
    body = draw(bodies)
    length = b"Content-Length: %d" % max(0, len(body) + draw(st.sampled_from([0, 0, -1, 1])))
    kind = draw(st.sampled_from(["length", "twice", "chunked", "both", "close"]))
    if kind in {"chunked", "both"}:
        pieces = [piece for piece in (body[:3], body[3:]) if piece]
        chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(p), draw(st.sampled_from([b"", b";a=b"])), p) for p in pieces)
        end = b"0\r\n" + draw(st.sampled_from([b"", b"Trailer: x\r\n"])) + b"\r\n"
        return [b"Transfer-Encoding: chunked"] + [length] * (kind == "both"), chunks + end
    return {"length": [length], "twice": [length, length]}.get(kind, []), body


@st.composite
def answers(draw: st.DrawFn, *, faults: int) -> bytes:
    """An answer with so many faults at most: a bit of it put in, changed or left out, or the rest missing."""
    fields, body = draw(framed())
    fields += draw(odd_fields) if faults else []
    newline = draw(st.sampled_from([b"\r\n", b"\r\n", b"\n"]))
    lines = [b"HTTP/" + draw(statuses), *draw(st.permutations([*draw(some_fields), *fields])), b"", b""]
    answer = draw(interims) + newline.join(lines) + body + draw(st.sampled_from([b"", b"", b"extra"]))
    for _ in range(draw(st.integers(0, faults))):
        at = draw(st.integers(0, len(answer)))
        bit, rest = draw(st.sampled_from([(b"", 1), (b"", len(answer))]) | st.tuples(bits, st.sampled_from([0, 1])))
        answer = answer[:at] + bit + answer[at + rest :]
    return answer


@given(answers(faults=3))
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhl\r\n2\r\nlo\r\n0\r\n\r\n")
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\n2\r\nlo\r\n0\r\n\r\n")
@example(b"HTTP/1.1 404\r\nX: b\r\n folded\rContent-Length: 5\r\nConnection: close\r\n\r\nhello")
def test_what_is_accepted_is_what_others_read(data: bytes) -> None:
    found = ours(data)
    if found is None:
        return
    if found.status in NO_BODY:
        assert not found.body
    else:
        judged = tidied(data)
        assert tidy(found) == (by_h11(judged) or by_http_client(judged))


REFUSED = (
    "a malformed header field",
    "a header field that leaves",
    "a transfer coding",
    "a Content-Length that is",
)
"""Reasons for which an answer may be refused that both others take."""


@given(answers(faults=1))
def test_what_both_others_read_alike_is_accepted_or_the_reason_is_said(data: bytes) -> None:
    one, other = by_h11(data), by_http_client(data)
    if one is None or one != other or one.status in NO_BODY:
        return
    found = ours_or_why(data)
    assert found == one or (isinstance(found, str) and found.startswith(REFUSED)), found


@pytest.mark.parametrize(
    ("head", "fields", "body"),
    [
        (b"X Powered By: cdn\r\nContent-Length: 5", [(b"X Powered By", b"cdn"), (LENGTH, b"5")], b"hello"),
        (
            b"Content-Type : audio/mpeg\r\nContent-Length: 5",
            [(b"Content-Type", b"audio/mpeg"), (LENGTH, b"5")],
            b"hello",
        ),
        (b"Transfer-Encoding: identity\r\nContent-Length: 5", [(CODING, b"identity"), (LENGTH, b"5")], b"hello"),
        (b"Transfer-Encoding: identity", [(CODING, b"identity")], b"hello, all"),
        (b"Transfer-Encoding:\r\nContent-Length: 5", [(CODING, b""), (LENGTH, b"5")], b"hello"),
        (b"PHP Warning:  in line 3\r\nContent-Length: 5", [(b"PHP Warning", b"in line 3"), (LENGTH, b"5")], b"hello"),
    ],
    ids=["blank in a name", "blank before the colon", "no coding", "no coding, no length", "empty coding", "a warning"],
)
def test_head_that_every_browser_reads_is_read(head: bytes, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    assert ours_or_why(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\nhello, all") == seen(200, fields, body)


@pytest.mark.parametrize(
    ("field", "why"),
    [
        (b"Content-Length : 5", "a header field that leaves the body's length unclear: 'Content-Length : 5'"),
        (b"Content Length: 5", "a header field that leaves the body's length unclear: 'Content Length: 5'"),
        (b"Transfer-Encoding\t: chunked", "a header field that leaves the body's length unclear"),
        (b"PHP Warning in line 3", "a malformed header field: 'PHP Warning in line 3'"),
        (b"Link <//x.example/a?Signature=sesame>", "a malformed header field: 'Link <//x.example"),
        (b"Content-Length: 5\r\nContent-Length: 6", "a Content-Length that is no length: '5, 6'"),
        (b"Content-Length: +5", "a Content-Length that is no length: '+5'"),
        (b"Transfer-Encoding: gzip, chunked", "a transfer coding that was not asked for: 'gzip, chunked'"),
        (b"Transfer-Encoding: chunked, identity", "a transfer coding that was not asked for: 'chunked, identity'"),
        (b"Transfer-Encoding: identity, chunked\r\nContent-Length: 5", "a transfer coding that was not asked for"),
    ],
)
def test_head_that_readers_understand_differently_is_refused_and_quoted(field: bytes, why: str) -> None:
    found = ours_or_why(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\nhello")
    assert isinstance(found, str)
    assert found.startswith(why)
    assert "sesame" not in found


@pytest.mark.parametrize("status", NO_BODY)
@given(body=bodies)
def test_status_without_a_body_is_read_as_h11_reads_it(status: int, body: bytes) -> None:
    data = b"HTTP/1.1 %d x\r\nContent-Length: 5\r\n\r\n%s" % (status, body)
    assert ours(data) == by_h11(data) == seen(status, [(LENGTH, b"5")], b"")


@given(answers(faults=0))
def test_answer_without_fault_is_read_as_h11_reads_it(data: bytes) -> None:
    assert ours(data) == by_h11(data)
