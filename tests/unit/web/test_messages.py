"""Requests read from bytes: what is taken, what is refused, and that no bytes take more than their share of time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.web.messages import Answer, Refused, Request, RequestReader

HEAD = b"POST /a/b?c=d HTTP/1.1\r\nHost: h\r\n"


def read(*pieces: bytes) -> Request | int | None:
    """Return the request that the pieces hold, the status that refuses them, or None where more must come."""
    reader, request = RequestReader(), None
    try:
        for piece in pieces:
            request = reader.feed(piece)
    except Refused as refused:
        return int(refused.status)
    return request


def taken(*pieces: bytes) -> Request:
    request = read(*pieces)
    assert isinstance(request, Request)
    return request


def test_request_is_read_with_its_first_value_of_each_field_and_its_body() -> None:
    request = taken(HEAD + b"X-A:  one \r\nx-a: two\r\nContent-Length: 3\r\n\r\nabcmore")
    assert request == Request("POST", "/a/b", {"host": "h", "x-a": "one", "content-length": "3"}, b"abc", "c=d")


def test_request_with_bare_line_ends_and_one_empty_line_before_it_is_read() -> None:
    assert taken(b"\r\nGET / HTTP/1.0\nA: b\n\n") == Request("GET", "/", {"a": "b"}, b"")


def test_body_in_chunks_is_read_without_extensions_and_trailers() -> None:
    chunks = b"3;x=y\r\nabc\r\n02\r\nde\r\n0\r\nTrailer: t\r\n\r\n"
    assert taken(HEAD + b"Transfer-Encoding: Chunked\r\n\r\n" + chunks).body == b"abcde"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"\n\n\n", 400),
        (b"\x16\x03\x01\x00\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"G{T / HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (b"GET /\t HTTP/1.1\r\n\r\n", 400),
        (HEAD + b"no colon\r\n\r\n", 400),
        (HEAD + b": no name\r\n\r\n", 400),
        (HEAD + b"na me: x\r\n\r\n", 400),
        (HEAD + b"name : x\r\n\r\n", 400),
        (HEAD + b" folded: x\r\n\r\n", 400),
        (HEAD + b"A: x\0\r\n\r\n", 400),
        (HEAD + b"A: x\ry\r\n\r\n", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1_0\r\n\r\n", 400),
        (HEAD + "Content-Length: ²\r\n\r\n".encode("latin-1"), 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
        (HEAD + b"Content-Length: 65537\r\n\r\n", 413),
        (HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n8000\r\n" + b"a" * 32_768 + b"\r\n8001\r\n", 413),
        (HEAD + b"a: b\r\n" * 100, 431),
        (b"GET /" + b"a" * 16_384, 431),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * 16_384, 431),
    ],
)
def test_request_that_is_not_exactly_one_or_too_large_is_refused(said: bytes, status: int) -> None:
    assert read(said) == status


@pytest.mark.parametrize(
    "said",
    [
        HEAD + b"a: b\r\n" * 99 + b"\r\n",
        HEAD + b"A: " + b"x" * (16_384 - len(HEAD) - len(b"A: \r\n\r\n")) + b"\r\n\r\n",
        HEAD + b"Content-Length: 65536\r\n\r\n" + b"a" * 65_536,
    ],
)
def test_request_just_within_the_limits_is_read(said: bytes) -> None:
    assert isinstance(read(said), Request)


def test_head_of_one_byte_more_than_16_kib_is_refused() -> None:
    assert read(HEAD + b"A: " + b"x" * (16_385 - len(HEAD) - len(b"A: \r\n\r\n")) + b"\r\n\r\n") == 431


def test_reader_knows_when_the_head_has_come_and_whether_the_client_waits_to_go_on() -> None:
    reader = RequestReader()
    assert reader.feed(HEAD + b"Expect: 100-Continue\r\nContent-Length: 1\r\n") is None
    assert (reader.has_head, reader.awaits_continue) == (False, False)
    assert reader.feed(b"\r\n") is None
    assert (reader.has_head, reader.awaits_continue) == (True, True)
    assert reader.feed(b"x") is not None


def test_answer_to_a_head_has_the_length_of_its_body_and_no_body() -> None:
    answer = Answer(404, "text/plain", b"none", {"A": "b"})
    head = (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nA: b\r\nConnection: close\r\n\r\n"
    )
    assert (answer.encoded(), answer.encoded(has_body=False)) == (head + b"none", head)


# --- whatever comes

FIELDS = [b"Content-Length: 3", b"Transfer-Encoding: chunked", b"A:b", b"A:\tb ", b"content-length:3", b"Expect: x"]
FIELD = st.sampled_from(FIELDS) | st.binary(max_size=9).map(b"A: ".__add__) | st.binary(max_size=9)
START = st.sampled_from([b"POST /x?y HTTP/1.1", b"GET / HTTP/1.0"]) | st.binary(max_size=20)
BODY = st.sampled_from([b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"1;x\na\n0\nT: u\n\n"]) | st.binary(max_size=20)
END = st.sampled_from([b"\r\n", b"\n"])
WHOLE = st.builds(
    lambda start, fields, end, body: end.join([start, b"Host: h", *fields, b"", body]),
    START,
    st.lists(FIELD, max_size=4),
    END,
    BODY,
)


@given(said=WHOLE, cuts=st.lists(st.integers(0, 120), max_size=6))
def test_request_is_the_same_however_its_bytes_come(said: bytes, cuts: list[int]) -> None:
    ends = [0, *sorted(min(cut, len(said)) for cut in cuts), len(said)]
    pieces = [said[start:end] for start, end in pairwise(ends)]
    assert first(pieces) == first([said])


def first(pieces: list[bytes]) -> Request | int | None:
    reader = RequestReader()
    try:
        return next((request for piece in pieces if (request := reader.feed(piece)) is not None), None)
    except Refused as refused:
        return int(refused.status)


@given(said=WHOLE)
def test_request_that_is_taken_is_one_to_h11_too_and_the_same(said: bytes) -> None:
    request = read(said)
    if isinstance(request, Request) and "host" in request.fields:
        assert by_h11(said) == (request.method, request.path, request.body)


def by_h11(said: bytes) -> tuple[str, str, bytes]:
    connection, method, path, body = h11.Connection(h11.SERVER), "", "", b""
    connection.receive_data(said)
    for event in iter(connection.next_event, h11.NEED_DATA):
        match event:
            case h11.Request():
                method, path = event.method.decode(), event.target.decode().partition("?")[0]
            case h11.Data():
                body += event.data
            case _:
                break
    return method, path, body


# --- growth


def hostile(size: int) -> Iterator[bytes]:
    blanks = b" " * size
    yield b"GET / HTTP/1.1\r\nA: b" + blanks + b"\0\r\n\r\n"
    yield b"GET / HTTP/1.1\r\nA:" + blanks + b"b\r\n\r\n"
    yield b"GET" + blanks + b"/ HTTP/1.1\r\n\r\n"
    yield b"\r" * size
    yield b"GET / HTTP/1.1\r\nA: b\r\n" + b" c\r\n" * (size // 4)
    yield HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\na\n\n" * (size // 5)
    yield HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + blanks


@pytest.mark.parametrize("number", range(7))
def test_hostile_head_takes_less_than_ten_milliseconds_whole_and_byte_by_byte(number: int) -> None:
    said = list(hostile(16_000))[number]
    assert cpu_of([said]) < 0.01
    assert cpu_of([said[at : at + 1] for at in range(len(said))]) < 0.1, "16,000 times a few microseconds"


def cpu_of(pieces: list[bytes]) -> float:
    return min(_cpu_of(pieces) for _ in range(3))


def _cpu_of(pieces: list[bytes]) -> float:
    began = time.thread_time()
    read(*pieces)
    return time.thread_time() - began
