"""URLs of audio, as httpx reads them; most are of a form in which it changes nothing, and are read here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import httpx

from archiver.core.http import PORTS
from archiver.core.text import MAX_URL

_BYTE: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_ORDINARY: Final = re.compile(
    rf"(https?)://((?:[a-z0-9-]{{1,63}}\.)+[a-z]{{2,63}}|{_BYTE}(?:\.{_BYTE}){{3}})(?::([1-9][0-9]{{0,4}}))?"
    r"(/[A-Za-z0-9._~!$&()*+,;=:@/-]*(?:%[0-9A-Fa-f]{2}[A-Za-z0-9._~!$&()*+,;=:@/-]*)*)"
    r"(\?[A-Za-z0-9._~!$&()*+,;=:@/?-]+(?:%[0-9A-Fa-f]{2}[A-Za-z0-9._~!$&()*+,;=:@/?-]*)*)?"
)


@dataclass(frozen=True, slots=True)
class Url:
    """A URL, normalised: equal ones ask the same of the same."""

    scheme: str
    host: str
    """In ASCII; an IPv6 address without its brackets."""
    port: int | None
    """None for the scheme's own."""
    netloc: str
    """Host and port as the field Host has them."""
    path: str
    """Percent-encoded."""
    query: str
    """With its question mark; empty where there is none."""
    has_userinfo: bool = False

    @classmethod
    def of(cls, text: str) -> Url:
        """Read it; raise ValueError where it is none."""
        found = _ORDINARY.fullmatch(text) if len(text) <= MAX_URL else None
        if found is None or "/." in found[4]:
            return cls._of_any(text)
        scheme, host, port, path, query = found.groups()
        number = None if port is None or int(port) == PORTS[scheme] else int(port)
        return cls(scheme, host, number, host if number is None else f"{host}:{number}", path, query or "")

    @classmethod
    def _of_any(cls, text: str) -> Url:
        if len(text) > MAX_URL:
            raise ValueError("too long")
        try:
            return cls._as_read(httpx.URL(text))
        except httpx.InvalidURL as error:
            raise ValueError(str(error)) from None

    @classmethod
    def _as_read(cls, url: httpx.URL) -> Url:
        path, mark, query = url.raw_path.decode("ascii").partition("?")
        host, netloc = url.raw_host.decode("ascii"), url.netloc.decode("ascii")
        return cls(url.scheme, host, url.port, netloc, path, mark + query, bool(url.userinfo))

    def joined(self, reference: str) -> Url:
        """Return where a redirect from here to `reference` leads; raise ValueError where that is no URL."""
        if len(reference) > MAX_URL:
            raise ValueError("too long")
        try:
            return self._as_read(httpx.URL(f"{self.scheme}://{self.netloc}{self.path}{self.query}").join(reference))
        except httpx.InvalidURL as error:
            raise ValueError(str(error)) from None

    @property
    def place(self) -> tuple[str, str, str]:
        """The URL without its query."""
        return self.scheme, self.netloc, self.path

    @property
    def port_used(self) -> int:
        """The port that is connected to."""
        return PORTS[self.scheme] if self.port is None else self.port
