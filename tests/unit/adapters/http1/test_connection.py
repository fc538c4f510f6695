"""One connection of HTTP/1.1, and what waits on it: a real pair of sockets, and time in our hands."""

from __future__ import annotations

import os
import random
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread

import httpx
import pytest

from archiver.adapters.downloader.transport import Stream
from archiver.adapters.http1 import Connection, LengthReader, request_head, secure
from tests.fakes.tls import identity

SECONDS = 0.2
"""How long a connection waits here for what never comes."""


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection, and the socket at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with closing(Connection(near, read_timeout=SECONDS, clock=lambda: 0.0)) as connection, far:
        yield connection, far


def test_request_that_nobody_takes_is_a_timeout(ends: tuple[Connection, socket.socket]) -> None:
    with pytest.raises(httpx.WriteTimeout):
        ends[0].send(bytes(64 * 1024 * 1024))


def test_request_into_a_connection_that_was_reset_is_a_write_error(ends: tuple[Connection, socket.socket]) -> None:
    connection, far = ends
    reset(far)
    with pytest.raises(httpx.WriteError):
        connection.send(bytes(64 * 1024 * 1024))


def test_silence_is_told_from_bytes_an_end_and_a_reset(
    ends: tuple[Connection, socket.socket],
) -> None:
    connection, far = ends
    assert connection.peek() is None
    far.sendall(b"!")
    assert connection.peek(10.0) == 1
    reset(far)
    assert connection.peek(10.0) == 0


def reset(far: socket.socket) -> None:
    """Close with a RST."""
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()


@pytest.mark.parametrize("sign", ["\r", "\n", "\0"])
def test_request_whose_lines_would_break_is_not_made(sign: str) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        request_head(b"GET", b"/", [(b"Host", f"a{sign}b".encode())])


def test_stream_is_given_back_once_when_it_was_read_to_its_end(ends: tuple[Connection, socket.socket]) -> None:
    connection, far = ends
    given_back: list[Connection] = []
    stream = Stream(LengthReader(connection, 5), connection, given_back.append, keeps_alive=True)
    far.sendall(b"bytes")
    view = memoryview(bytearray(5))
    assert (stream.reader.receive(view), bytes(view)) == (5, b"bytes")
    stream.close()
    stream.close()
    assert given_back == [connection]


RECORD = 16 * 1024
"""The most bytes that one record of TLS holds (RFC 8446, 5.1)."""


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[Connection, ssl.SSLSocket]]:
    """A connection over TLS, and the socket at its other end."""
    host, made = identity(tmp_path, ["origin.example"]), []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    other = Thread(target=lambda: made.append(host.server.wrap_socket(far, server_side=True)))
    other.start()
    wire = secure(near, host.client, "origin.example", 5.0)
    other.join()
    with closing(Connection(wire, read_timeout=SECONDS, clock=lambda: 0.0)) as connection, made[0]:
        yield connection, made[0]


def received(connection: Connection, size: int) -> tuple[bytes, int]:
    """Receive up to `size` bytes, or to the end; return them and the number of calls that took."""
    view, got, calls = memoryview(bytearray(size)), 0, 0
    while got < size and (more := connection.receive(view[got:])):
        got, calls = got + more, calls + 1
    return bytes(view[:got]), calls


def send_all(far: ssl.SSLSocket, data: bytes) -> None:
    """Send, and wait until the other side's kernel has it: loopback delivers within the call."""
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    far.sendall(data)


def test_records_that_are_there_come_by_one_call(secured: tuple[Connection, ssl.SSLSocket]) -> None:
    connection, far = secured
    data = random.Random(1).randbytes(6 * RECORD)
    send_all(far, data)
    assert received(connection, len(data)) == (data, 1)


def test_no_more_comes_by_one_call_than_is_told_of(secured: tuple[Connection, ssl.SSLSocket]) -> None:
    connection, far = secured
    data = random.Random(2).randbytes(3 * 256 * 1024)
    sender = Thread(target=far.sendall, args=(data,))
    sender.start()
    view, sizes = memoryview(bytearray(len(data))), list[int]()
    while sum(sizes) < len(data):
        sizes.append(connection.receive(view[sum(sizes) :]))
    sender.join()
    assert bytes(view) == data
    assert RECORD < max(sizes) <= 256 * 1024


@pytest.mark.parametrize("records", [1, 2, 5])
def test_records_before_one_that_is_broken_come_before_its_error(
    secured: tuple[Connection, ssl.SSLSocket], records: int
) -> None:
    connection, far = secured
    data = random.Random(3).randbytes(records * RECORD)
    send_all(far, data)
    with socket.socket(fileno=os.dup(far.fileno())) as beneath:
        beneath.sendall(b"no record of TLS")
    view = memoryview(bytearray(len(data) + 1))
    assert (connection.receive(view), bytes(view[:-1])) == (len(data), data)
    for _ in range(2):
        with pytest.raises(httpx.ReadError):
            connection.receive(view)


@pytest.mark.parametrize("says_so", [True, False])
def test_end_behind_the_last_record_is_told_again_and_again(
    secured: tuple[Connection, ssl.SSLSocket], says_so: bool
) -> None:
    connection, far = secured
    data = random.Random(4).randbytes(3 * RECORD)
    send_all(far, data)
    # With a close_notify, and without it.
    far.settimeout(0)
    with suppress(ssl.SSLWantReadError):
        far.unwrap() if says_so else None
    far.shutdown(socket.SHUT_WR)
    assert received(connection, len(data) + 1)[0] == data
    assert [connection.receive(memoryview(bytearray(1))) for _ in range(2)] == [0, 0]


def test_after_a_record_with_nothing_behind_it_records_come_singly_for_a_while(
    secured: tuple[Connection, ssl.SSLSocket],
) -> None:
    connection, far = secured
    far.sendall(b"slow")
    assert received(connection, 4) == (b"slow", 1)
    far.sendall(b"slow")
    assert connection.receive(memoryview(bytearray(100))) == 4
    send_all(far, bytes(20 * RECORD))
    assert received(connection, 20 * RECORD)[1] == 16


def test_silence_behind_a_burst_is_still_a_timeout(secured: tuple[Connection, ssl.SSLSocket]) -> None:
    connection, far = secured
    send_all(far, bytes(2 * RECORD))
    view = memoryview(bytearray(3 * RECORD))
    assert connection.receive(view) == 2 * RECORD
    with pytest.raises(httpx.ReadTimeout):
        connection.receive(view[2 * RECORD :])
