"""The names that the page answers to, parsed as addresses. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address

_NAME = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
_AUTHORITY = re.compile(rf"(\[[0-9a-f:.]{{2,45}}\]|{_NAME})(?::(0|[1-9][0-9]{{0,4}}))?", re.ASCII)
_ORIGIN = re.compile(r"(https?)://([!-~]{1,300})", re.ASCII)
_PORTS = {"http": 80, "https": 443}

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Authority:
    """Host and port of an address."""

    host: str
    """In lower case; an IPv6 address in its shortest form, without brackets."""
    port: int | None
    """None where none is named."""


def authority(text: str) -> Authority | None:
    """Read `host`, `host:port` or `[address]:port`; None for anything else."""
    found = _AUTHORITY.fullmatch(text.lower())
    if found is None or (found[2] and int(found[2]) > 65535):  # noqa: PLR2004 - the highest port
        return None
    port = int(found[2]) if found[2] else None
    if not found[1].startswith("["):
        return Authority(found[1], port)
    try:
        return Authority(str(ip_address(found[1][1:-1])), port)
    except ValueError:
        return None


class Hosts:
    """The Host headers that are answered: loopback with our port, and the `further` names with any."""

    def __init__(self, further: Collection[str], port: int = 0) -> None:
        self._further = frozenset(name.lower() for name in further)
        self.port = port
        """The port that is listened on; nothing on loopback is answered while it is 0."""

    def knows(self, host: str) -> bool:
        """Return whether a request for this Host is answered."""
        asked = authority(host)
        if asked is None:
            return False
        if asked.host in self._further:
            return True
        return asked.host in LOOPBACK and (asked.port or _PORTS["http"]) == self.port

    def is_own(self, origin: str, host: str) -> bool:
        """Return whether the Origin of a request is that of the Host, which is known, that it was sent to."""
        found, asked = _ORIGIN.fullmatch(origin), authority(host)
        named = authority(found[2]) if found else None
        if found is None or named is None or asked is None or not self.knows(host):
            return False
        port = _PORTS[found[1]]
        is_safe = found[1] == "https" or named.host in LOOPBACK
        return is_safe and named.host == asked.host and (named.port or port) == (asked.port or port)
