"""One request and its answer on a connection of botocore's own pool, without http.client between."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from urllib3 import Timeout

from archiver.adapters.object_store.content import BLOCK

if TYPE_CHECKING:
    from urllib3 import HTTPConnectionPool
    from urllib3.connection import HTTPConnection

HEAD_MAX = 64 * 1024
"""Bytes of an answer's head, and of a body worth reading to keep its connection."""
_RECEIVE = 8192
_STATUS = re.compile(rb"HTTP/1\.([01]) ([2-5][0-9]{2})[ \r]")
_LENGTH = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and header fields; names are in lower case."""

    status: int
    headers: Mapping[str, str]


class Unclear(OSError):
    """What came back is no plain HTTP/1 answer, or came to no end."""


def exchange(pool: HTTPConnectionPool, head: bytes, data: memoryview) -> Answer:
    """Send `head` and `data` and return the answer, whose body is not kept.

    Certificates, time limits and socket options are the pool's. Raises TimeoutError, another OSError, or urllib3's
    HTTPError; the connection is closed then.
    """
    # urllib3 has no public way to lend a connection.
    connection = cast("HTTPConnection", pool._get_conn())  # noqa: SLF001 - as said
    clean = False
    try:
        sock = _connected(connection, pool)
        sock.sendall(head)
        for at in range(0, len(data), BLOCK):
            sock.sendall(data[at : at + BLOCK])
        answer, clean = _receive(sock)
    finally:
        if not clean:
            connection.close()
        pool._put_conn(connection)  # noqa: SLF001 - as above
    return answer


def _connected(connection: HTTPConnection, pool: HTTPConnectionPool) -> socket.socket:
    if connection.sock is None:
        connection.timeout = Timeout.resolve_default_timeout(pool.timeout.connect_timeout)
        connection.connect()
    sock: socket.socket = connection.sock
    if sock.gettimeout() != pool.timeout.read_timeout:
        sock.settimeout(pool.timeout.read_timeout)
    return sock


def _receive(sock: socket.socket) -> tuple[Answer, bool]:
    """Return the answer, and whether the connection can be used again."""
    got = bytearray()
    while (end := got.find(b"\r\n\r\n")) < 0:
        _more(sock, got)
    status = _STATUS.match(got)
    if status is None:
        raise Unclear("not a final HTTP/1 answer")
    lines = got[:end].decode("latin-1").split("\r\n")[1:]
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = fields.get("content-length", "")
    framed = _LENGTH.fullmatch(length) and "transfer-encoding" not in fields and int(length) <= HEAD_MAX
    while framed and len(got) < end + 4 + int(length):
        _more(sock, got)
    exact = framed and len(got) == end + 4 + int(length)
    keeps = status[1] == b"1" and "close" not in fields.get("connection", "").lower()
    return Answer(int(status[2]), fields), bool(exact and keeps)


def _more(sock: socket.socket, got: bytearray) -> None:
    block = sock.recv(_RECEIVE)
    if not block or len(got) > 2 * HEAD_MAX:
        raise Unclear("the answer came to no end")
    got += block
