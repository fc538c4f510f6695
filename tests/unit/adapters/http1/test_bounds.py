"""Answers of a hostile server: bounded in bytes, in time, in memory and in what they cost to read."""

from __future__ import annotations

import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from threading import Thread

import httpx
import pytest

from archiver.adapters.http1 import Connection, Head, body, race
from archiver.adapters.http1.head import HeadLimits

KIB = 1024
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HEAD = 64 * KIB


@contextmanager
def answering(data: bytes, *, read_timeout: float = 10.0, drip: float = 0.0) -> Iterator[Connection]:
    """A connection whose other side sends so much, and then is silent; `drip` is seconds between single bytes."""
    near, far = socket.socketpair()

    def send() -> None:
        with far:
            try:
                for at in range(0, len(data), 1 if drip else len(data)):
                    far.sendall(data[at : at + 1] if drip else data)
                    time.sleep(drip)
                far.recv(1)
            except OSError:
                pass  # the reader has heard enough

    thread = Thread(target=send)
    thread.start()
    try:
        with closing(Connection(near, read_timeout=read_timeout, clock=time.monotonic)) as connection:
            yield connection
    finally:
        near.close()
        thread.join()


def head_of(size: int, fill: Callable[[int], bytes]) -> bytes:
    """A head of exactly so many bytes, most of them made by `fill`."""
    head = OK + fill(size - len(OK) - 2) + b"\r\n"
    assert len(head) == size
    return head


def one_field(size: int) -> bytes:
    return b"X: " + b"y" * (size - 5) + b"\r\n"


def many_fields(size: int) -> bytes:
    rest, line = size, b""
    while rest > 600:
        line += b"X: " + b"y" * 295 + b"\r\n"
        rest -= 300
    return line + one_field(rest)


@pytest.mark.parametrize("fill", [one_field, many_fields])
def test_head_of_64_kib_is_read_and_one_byte_more_is_refused(fill: Callable[[int], bytes]) -> None:
    with answering(head_of(HEAD, fill)) as connection:
        head = Head.read(connection)
    assert head is not None
    assert head.status == 200
    with answering(head_of(HEAD + 1, fill)) as connection, pytest.raises(httpx.RemoteProtocolError, match="endless"):
        Head.read(connection)


def test_interim_answers_count_for_the_size_of_the_head() -> None:
    interim = b"HTTP/1.1 103 Hints\r\nLink: " + b"x" * 20_000 + b"\r\n\r\n"
    with answering(interim * 3 + OK + b"\r\n") as connection:
        assert Head.read(connection) is not None
    with answering(interim * 4 + OK + b"\r\n") as connection, pytest.raises(httpx.RemoteProtocolError, match="endless"):
        Head.read(connection)


def test_interim_answers_have_one_deadline_together() -> None:
    interim = b"HTTP/1.1 103 Hints\r\n\r\n"
    began = time.monotonic()
    with (
        answering(interim * 6 + OK + b"\r\n", read_timeout=0.5, drip=0.02) as connection,
        pytest.raises(httpx.ReadTimeout),
    ):
        Head.read(connection)
    assert time.monotonic() - began < 1.5


def test_last_wait_for_a_head_ends_with_its_deadline() -> None:
    began = time.monotonic()
    with answering(b"HTTP/1.1", read_timeout=1.0, drip=0.1) as connection, pytest.raises(httpx.ReadTimeout):
        Head.read(connection)
    assert time.monotonic() - began < 1.5


BLANKS = b" " * 65_000
HOSTILE = {
    "blanks before the last letter": b"x: a" + BLANKS + b"b\r\n\r\n",
    "blanks before a NUL": b"x:" + BLANKS + b"\0\r\n\r\n",
    "blanks before a bare CR": b"x:" + BLANKS + b"\rb\r\n\r\n",
    "tabs and blanks": b"x:" + b" \t" * 32_500 + b"b\0\r\n\r\n",
    "a fold of blanks and a NUL": b"x: a\r\n" + BLANKS + b"\0\r\n\r\n",
    "folds": b"x: a\r\n" + (b" " + b"b" * 250 + b"\r\n") * 250 + b"\r\n",
    "a long name": b"x" * 65_000 + b"\r\n\r\n",
    "commas": b"Connection: " + b"," * 65_000 + b"\r\n\r\n",
    "lengths": b"Content-Length: " + b"5," * 32_500 + b"5\r\n\r\n",
    "codings": b"Transfer-Encoding: " + b"a," * 32_500 + b"\r\n\r\n",
    "digits": b"Content-Length: " + b"5" * 65_000 + b"\r\n\r\n",
    "many fields": b"Connection: a\r\n" * 255 + b"\r\n",
    "only newlines in a value": b"x: " + b"\r" * 65_000 + b"\n\r\n",
}


def read_whole(data: bytes) -> float:
    """Read a head and what it says of the body; return the CPU-seconds of this thread."""
    with answering(data) as connection:
        time.sleep(0.01)
        began = time.thread_time()
        try:
            head = Head.read(connection)
            assert head is not None
            head.reader(connection)
            assert head.keeps_alive in {True, False}
        except httpx.RemoteProtocolError:
            pass
        return time.thread_time() - began


@pytest.mark.parametrize("fields", HOSTILE.values(), ids=HOSTILE.keys())
def test_head_of_64_kib_costs_ten_milliseconds_at_most(fields: bytes) -> None:
    assert min(read_whole(OK + fields) for _ in range(5)) < 0.010


def test_status_line_of_64_kib_costs_ten_milliseconds_at_most() -> None:
    for reason in (BLANKS + b"\0\rx", BLANKS + b"\rx", b"a " * 32_500 + b"\r\r"):
        assert min(read_whole(b"HTTP/1.1 200 " + reason + b"\r\n\r\n") for _ in range(5)) < 0.010


# --- chunks


def body_of(connection: Connection) -> tuple[int, int]:
    """Read a body to its end or its refusal; return its bytes and those of its framing."""
    head = Head.read(connection)
    assert head is not None
    reader, buffer, got = head.reader(connection), memoryview(bytearray(65_536)), 0
    try:
        while size := reader.receive(buffer):
            got += size
    except httpx.RemoteProtocolError:
        pass
    return got, reader.framing


def test_chunk_extensions_of_a_body_are_refused_beyond_16_kib() -> None:
    with answering(CHUNKED + b"1;" + b"e" * 16_000 + b"\r\nx\r\n0\r\n\r\n") as connection:
        assert body_of(connection) == (1, 16_000 + 11)
    for extension, chunks in ((60_000, 1), (6_000, 3), (10, 1_700), (1, 16_400)):
        with answering(CHUNKED + (b"1;" + b"e" * (extension - 1) + b"\r\n\0\r\n") * (chunks + 100)) as connection:
            got, framing = body_of(connection)
        assert got < chunks
        assert framing < 2 * 16 * KIB + 6 * chunks


@pytest.mark.parametrize("trailer", [b"t: " + b"x" * 17_000 + b"\r\n", (b"t: " + b"x" * 95 + b"\r\n") * 170])
def test_trailers_of_a_body_are_refused_beyond_16_kib(trailer: bytes) -> None:
    with answering(CHUNKED + b"1\r\nx\r\n0\r\n" + trailer + b"\r\n") as connection:
        head = Head.read(connection)
        assert head is not None
        reader = head.reader(connection)
        assert reader.receive(memoryview(bytearray(10))) == 1
        with pytest.raises(httpx.RemoteProtocolError, match="endless"):
            reader.receive(memoryview(bytearray(10)))


# --- memory


def held(data: bytes, connections: int) -> float:
    """Return the most KiB that reading such a head on each of so many connections at once takes and keeps."""

    def read(connection: Connection) -> object:
        try:
            return httpx.Response(200, headers=Head.read(connection).headers)  # type: ignore[union-attr]
        except httpx.RemoteProtocolError as error:
            return str(error)

    managers = [answering(data) for _ in range(connections)]
    opened = [manager.__enter__() for manager in managers]
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(lambda _: time.sleep(0.01), range(connections)))
        tracemalloc.start()
        try:
            kept = list(pool.map(read, opened))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    for manager in managers:
        manager.__exit__(None, None, None)
    assert len(kept) == connections
    return peak / KIB


@pytest.mark.parametrize(
    "fields",
    [
        b"X: " + b"y" * (HEAD - 30) + b"\r\n\r\n",
        (b"X: " + b"y" * 245 + b"\r\n") * 255 + b"\r\n",
        (b"X: " + b"y" * 65_000 + b"\r\n") * 250 + b"\r\n",
        b"x: a\r\n" + (b" " + b"b" * 250 + b"\r\n") * 250 + b"\r\n",
    ],
    ids=["one field", "many fields", "250 lines of 64 KiB", "folds"],
)
def test_hostile_heads_on_16_connections_take_a_few_mib(fields: bytes) -> None:
    assert held(OK + fields, 16) < 16 * 4 * 64


@pytest.mark.parametrize("name", [b"Connection", b"Content-Length", b"Transfer-Encoding"])
def test_list_of_64_elements_that_framing_depends_on_is_read_and_one_of_65_is_refused(name: bytes) -> None:
    def head(elements: int) -> bytes:
        return OK + name + b": " + b",".join([b"5"] * elements) + b"\r\n\r\n"

    with answering(head(64)) as connection:
        assert Head.read(connection) is not None
    with answering(head(65)) as connection, pytest.raises(httpx.RemoteProtocolError, match="endless list"):
        Head.read(connection)


def test_bounds_without_further_words_are_these() -> None:
    assert HeadLimits() == HeadLimits(size=65_536, lines=256, interim=7)
    assert (body.EXTRAS_MAX, body.TRAILERS_MAX, race.ADDRESSES_MAX) == (16_384, 256, 32)
