"""The addresses that the download client may go to: https, public, of an allowed host.

URLs come from outside, so each of them, and each redirect, is judged before a socket is opened. A
name is resolved once, and the connection goes to the very address that was judged: a name server
that changes its answer in between changes nothing.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from archiver.adapters.downloader.url import Url
from archiver.core.errors import AddressForbidden, AddressPrivate, OriginBusy

SockAddr = tuple[str, int] | tuple[str, int, int, int]
"""An address as the socket module takes it: four fields for IPv6, two for IPv4."""

Resolve = Callable[[str, int], Sequence[SockAddr]]
"""All stream addresses of a host and port; raises OSError when there are none."""

_NOT_PUBLIC_V4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
"""IANA's special-purpose, multicast and reserved IPv4 blocks."""

_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
"""All of IPv6 that is assigned for public use: what wraps IPv4, ULA, link-local and the rest lie outside."""

_NOT_PUBLIC_V6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # IETF protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: leads to the IPv4 address it embeds
        "3fff::/20",
    )
)

_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\Z")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")
_PORT_MAX = 65535


def is_public(address: str) -> bool:
    """Return whether `address` is a literal IP address that anyone on the internet may be sent to.

    False for anything that is no plain IPv4 or IPv6 address, such as one with a zone.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in block for block in _NOT_PUBLIC_V4)
    if ip.scope_id is not None or ip not in _GLOBAL_UNICAST_V6:
        return False
    return not any(ip in block for block in _NOT_PUBLIC_V6)


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that `host` spells, None when it is a name.

    Raises ValueError for spellings that some resolvers read as an address and others do not: octal,
    hexadecimal, shortened or with a trailing dot.
    """
    if ":" in host:
        return IPv6Address(host)
    last = host.rstrip(".").rpartition(".")[2]
    return IPv4Address(host) if _NUMBER.match(last) else None


def system_resolve(host: str, port: int) -> Sequence[SockAddr]:
    """Ask the system's resolver; its own timeouts apply."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(str(a[0]), a[1], a[2], a[3]) if len(a) == 4 else (str(a[0]), int(a[1])) for *_, a in found]  # noqa: PLR2004 - the length tells the families apart


@dataclass(frozen=True, slots=True)
class Reach:
    """The addresses that the operator allows."""

    allowed_hosts: Sequence[str] = ()
    """Host names, each with all its subdomains; empty for any public host."""
    allow_http: bool = False
    """True lets plain http be fetched too, also where https redirects to it."""
    allow_private_addresses: bool = False
    """True lets any address be used; for tests and the demo."""


class Guard:
    """Judges URLs and the addresses behind them."""

    def __init__(self, reach: Reach, *, resolve: Resolve) -> None:
        self._resolve = resolve
        self._schemes = {"https", "http"} if reach.allow_http else {"https"}
        self._private = reach.allow_private_addresses
        self.allow(reach.allowed_hosts)

    def allow(self, hosts: Sequence[str]) -> None:
        """Admit only these hosts and their subdomains from now on; any, when there are none."""
        self._hosts = tuple(host.lower().removeprefix("*").strip(".") for host in hosts)

    def admit(self, url: Url) -> None:
        """Raise AddressForbidden when the URL alone shows that we do not go there."""
        if url.scheme not in self._schemes:
            raise AddressForbidden(f"scheme {url.scheme[:16]!r}: only {' and '.join(sorted(self._schemes))} is fetched")
        if url.has_userinfo:
            raise AddressForbidden("the URL holds a user name or password")
        if not 0 < url.port_used <= _PORT_MAX:
            raise AddressForbidden(f"no such port: {url.port}")
        self._admit_host(url.host)

    def _admit_host(self, host: str) -> None:
        try:
            ip = literal(host)
        except ValueError:
            raise AddressForbidden(f"an odd spelling of an address: {host[:64]!r}") from None
        name = host.removesuffix(".")
        if ip is None and not _NAME.match(name):
            raise AddressForbidden(f"no host name: {host[:64]!r}")
        if self._hosts and not any(name == allowed or name.endswith(f".{allowed}") for allowed in self._hosts):
            raise AddressForbidden(f"host {name} is not in download.allowed_hosts")
        if self._private:
            return
        # Behind a proxy nothing is resolved here, so what a name shows is refused by name.
        if name == "localhost" or name.endswith(".localhost") or (ip is not None and not is_public(host)):
            raise AddressForbidden(f"not a public address: {name}")

    def addresses(self, host: str, port: int) -> Sequence[SockAddr]:
        """Resolve once, and return every address, judged; only these may be connected to.

        One non-public address among several spoils all: an honest CDN has none. Raises
        AddressPrivate, or OriginBusy when the name cannot be resolved now.
        """
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise OriginBusy(f"cannot resolve {host}: {reason}") from error
        if not found:
            raise OriginBusy(f"cannot resolve {host}: no address")
        for address in () if self._private else found:
            if not is_public(address[0]) or address[3:] not in {(), (0,)}:
                raise AddressPrivate(f"{host} leads to {address[0][:64]}, not a public address")
        return found
