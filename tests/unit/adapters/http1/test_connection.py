"""One connection of HTTP/1.1, and what waits on it: a real pair of sockets, and time in our hands."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from archiver.adapters.downloader.transport import Stream
from archiver.adapters.http1 import Connection, LengthReader, request_head

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
