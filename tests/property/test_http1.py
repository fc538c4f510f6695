"""The HTTP/1.1 reader beside h11 and http.client: what it takes for an answer they take for the same, or it is refused.

h11 is the stricter of the two and goes first; where it refuses, http.client must agree. On its own http.client is no
judge: it takes a list of equal lengths for none, and 1xx answers other than 100 for final ones.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from dataclasses import dataclass
from typing import cast

import h11
import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archiver.adapters.http1 import Connection, Head

LENGTH = b"content-length"
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
    near, far = socket.socketpair()
    with near, far:
        far.sendall(data)
        far.shutdown(socket.SHUT_WR)
        connection = Connection(near, read_timeout=10, clock=time.monotonic)
        try:
            head = Head.read(connection)
            if head is None:
                return None
            reader, body, buffer = head.reader(connection), bytearray(), memoryview(bytearray(64))
            while size := reader.receive(buffer):
                body += buffer[:size]
        except httpx.TransportError:
            return None
        assert reader.ended
        return seen(head.status, head.headers, bytes(body))


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
        assert found == (by_h11(data) or by_http_client(data))


@pytest.mark.parametrize("status", NO_BODY)
@given(body=bodies)
def test_status_without_a_body_is_read_as_h11_reads_it(status: int, body: bytes) -> None:
    data = b"HTTP/1.1 %d x\r\nContent-Length: 5\r\n\r\n%s" % (status, body)
    assert ours(data) == by_h11(data) == seen(status, [(LENGTH, b"5")], b"")


@given(answers(faults=0))
def test_answer_without_fault_is_read_as_h11_reads_it(data: bytes) -> None:
    assert ours(data) == by_h11(data)
