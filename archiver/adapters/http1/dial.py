"""The steps of a new connection: TCP, a proxy's tunnel, TLS. Failures are httpx's exceptions."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from typing import cast

import httpx

from archiver.adapters.http1.connection import Connection, reason_of
from archiver.adapters.http1.head import Head, Headers, request_head
from archiver.adapters.http1.race import Address, Racer


def tcp_connect(address: tuple[str, int] | tuple[str, int, int, int], timeout: float) -> socket.socket:
    """Connect; raise OSError."""
    family = socket.AF_INET if len(address) == 2 else socket.AF_INET6  # noqa: PLR2004 - IPv4 has two fields
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def connect(racer: Racer[Address], addresses: Sequence[Address], seconds: float, whom: str) -> socket.socket:
    """Connect to the address that answers first; raise httpx.ConnectError or ConnectTimeout."""
    try:
        return racer.first(addresses, seconds)
    except OSError as failure:
        kind = httpx.ConnectTimeout if isinstance(failure, TimeoutError) else httpx.ConnectError
        raise kind(f"cannot connect to {whom}: {reason_of(failure)}") from failure


def open_tunnel(connection: Connection, host: str, port: int, credentials: Headers, seconds: float) -> None:
    """Have a proxy connect to `host` in so many seconds.

    Raises httpx.ProxyError when it does not, or another httpx.TransportError.
    """
    target = f"{f'[{host}]' if ':' in host else host}:{port}".encode("ascii")
    connection.send(request_head(b"CONNECT", target, [(b"Host", target), *credentials]))
    connection.finish_within(seconds)
    head = Head.read(connection)
    if head is None or not httpx.codes.is_success(head.status):
        raise httpx.ProxyError(f"the proxy answered {head.status if head else 'nothing'} to CONNECT")
    if connection.peek() is not None:
        raise httpx.ProxyError("the proxy spoke into the tunnel")


def secure(sock: socket.socket, context: ssl.SSLContext, host: str, seconds: float) -> socket.socket:
    """Speak TLS on `sock`, which may speak TLS with a proxy already; raise httpx.ConnectError or ConnectTimeout."""
    sock.settimeout(seconds)
    name = host.removesuffix(".")
    try:
        if not isinstance(sock, ssl.SSLSocket):
            return context.wrap_socket(sock, server_hostname=name)
        from urllib3.util.ssltransport import SSLTransport  # noqa: PLC0415 - for proxies by https alone

        return cast("socket.socket", SSLTransport(sock, context, server_hostname=name))
    except TimeoutError as error:
        raise httpx.ConnectTimeout(f"TLS with {host}: no answer in time") from error
    except OSError as error:
        raise httpx.ConnectError(f"TLS with {host}: {reason_of(error)}") from error
