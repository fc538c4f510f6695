"""TLS on a connection, and within a proxy's TLS."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from archiver.adapters.http1 import Connection, Head, request_head, secure
from tests.fakes.tls import identity


def answer_inside(wire: ssl.SSLSocket, context: ssl.SSLContext, heard: list[bytes]) -> None:
    """Speak TLS as a server within `wire`, take one request and answer it."""
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    inside = context.wrap_bio(coming, going, server_side=True)
    steps: list[Callable[[], object]] = [
        inside.do_handshake,
        lambda: heard.append(inside.read(1000)),
        lambda: inside.write(b"HTTP/1.1 204 x\r\n\r\n"),
    ]
    while steps:
        try:
            steps[0]()
            steps.pop(0)
        except ssl.SSLWantReadError:
            wire.sendall(going.read())
            data = wire.recv(65_536)
            if not data:
                return
            coming.write(data)
    wire.sendall(going.read())


@pytest.mark.parametrize("host", ["api.example", "other.example"])
def test_tls_within_the_tls_of_a_proxy_is_with_the_inner_host(tmp_path: Path, host: str) -> None:
    outer, inner = identity(tmp_path, ["proxy.example"]), identity(tmp_path, ["api.example"])
    near, far = socket.socketpair()
    heard: list[bytes] = []

    def serve() -> None:
        try:
            with outer.server.wrap_socket(far, server_side=True) as wire:
                answer_inside(wire, inner.server, heard)
        except OSError:
            pass  # the client does not trust the certificate, and says so

    thread = threading.Thread(target=serve)
    thread.start()
    way = secure(near, outer.client, "proxy.example", 5.0)
    try:
        if host != "api.example":
            with pytest.raises(httpx.ConnectError, match="not valid"):
                secure(way, inner.client, host, 5.0)
            return
        connection = Connection(secure(way, inner.client, host, 5.0), read_timeout=5.0, clock=time.monotonic)
        connection.send(request_head(b"GET", b"/", [(b"Host", b"api.example")]))
        head = Head.read(connection)
        assert head is not None
        assert head.status == 204
        assert heard == [b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n"]
    finally:
        way.close()
        thread.join()
