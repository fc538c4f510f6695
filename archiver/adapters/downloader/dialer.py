"""New connections: to judged addresses, through the proxy where there is one, with TLS where asked."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import httpx

from archiver.adapters.downloader.address import Guard, Resolve, SockAddr, system_resolve
from archiver.adapters.http1 import Connection, Headers, Origin, Racer, connect, open_tunnel, secure, tcp_connect

Connect = Callable[[SockAddr, float], socket.socket]
"""Opens a TCP connection to an address within so many seconds; raises OSError. Called in threads, side by side."""


@dataclass(frozen=True, slots=True)
class Network:
    """The machine's way to the network."""

    resolve: Resolve = system_resolve
    connect: Connect = tcp_connect
    ssl_context: ssl.SSLContext | None = None
    """How certificates are verified; None for the system's way."""


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """The making and keeping of connections; times in seconds."""

    proxy: str | None = None
    """An HTTP proxy for both schemes, `http://[user:password@]host[:port]`."""
    connect_timeout: float = 10.0
    """For the connection, whichever address gives it, and again for its TLS handshake."""
    read_timeout: float = 20.0
    """Without a byte, and for an answer's whole head."""
    most_idle: int = 16
    """Kept over all origins."""


class Proxy:
    """An HTTP proxy, given as `http://[user:password@]host[:port]`. Raises ValueError for any other kind."""

    def __init__(self, url: str) -> None:
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise ValueError("the proxy is not a URL") from None
        if parsed.scheme != "http" or not parsed.host:
            raise ValueError("only proxies of the form http://[user:password@]host[:port] are known")
        self.host = parsed.raw_host.decode("ascii")
        self.port = parsed.port or 80
        self.credentials: Headers = []
        if parsed.userinfo:
            user = b":".join(unquote(part).encode() for part in (parsed.username, parsed.password))
            self.credentials = [(b"Proxy-Authorization", b"Basic " + base64.b64encode(user))]


class Dialer:
    """Opens connections, and only to addresses that the Guard has judged.

    Through a proxy it is the proxy that resolves names, so only what a URL itself shows is judged;
    the proxy is the operator's own, and its address is not judged.
    """

    def __init__(
        self,
        *,
        guard: Guard,
        network: Network,
        proxy: Proxy | None,
        options: ConnectionOptions,
        clock: Callable[[], float],
    ) -> None:
        self._guard = guard
        self._resolve = network.resolve
        self._racer = Racer(network.connect, clock)
        self._fixed_ssl = network.ssl_context
        self._ssl = network.ssl_context or _system_ssl()
        self._proxy = proxy
        self._connect_timeout = options.connect_timeout
        self._read_timeout = options.read_timeout
        self._clock = clock

    def renew_trust(self) -> None:
        """Verify by the certificates of now on new connections; raises OSError, and all is as it was then."""
        self._ssl = self._fixed_ssl or _system_ssl()

    def dial(self, origin: Origin) -> Connection:
        """Connect to `origin`, with TLS where its scheme says so; raise httpx.ConnectError and kin."""
        scheme, host, port = origin
        if self._proxy is None:
            sock = connect(self._racer, self._guard.addresses(host, port), self._connect_timeout, host)
        else:
            sock = connect(self._racer, self._proxy_addresses(self._proxy), self._connect_timeout, "the proxy")
        try:
            if scheme == "https":
                if self._proxy is not None:
                    open_tunnel(self._connection(sock), host, port, self._proxy.credentials, self._read_timeout)
                sock = secure(sock, self._ssl, host, self._connect_timeout)
            return self._connection(sock)
        except BaseException:
            if self._proxy is None:
                self._racer.lost(sock)
            sock.close()
            raise

    def _connection(self, sock: socket.socket) -> Connection:
        return Connection(sock, read_timeout=self._read_timeout, clock=self._clock)

    def _proxy_addresses(self, proxy: Proxy) -> Sequence[SockAddr]:
        try:
            return self._resolve(proxy.host, proxy.port)
        except (OSError, UnicodeError) as error:
            raise httpx.ProxyError("the proxy's name cannot be resolved") from error


def _system_ssl() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
