"""One HTTP exchange with one origin: no redirect, bounded in time and in bytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from archiver.adapters.provider.deadline import DeadlineBoundTransport
from archiver.adapters.provider.flavours import KIE, Flavour
from archiver.core.errors import ApiBusy
from archiver.core.http import content_codings
from archiver.core.records.envelope import MAX_ANSWER
from archiver.core.text import scrub

SHORTEST_KEY = 8
"""Characters; a shorter key is left in answers, where it may stand by chance."""

_UNPACKED = ("gzip", "x-gzip", "deflate")
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The provider's API: its place, and the way to it."""

    base_url: str
    user_agent: str
    proxy: str | None = None
    allow_http: bool = False
    """True lets `base_url` be http."""
    flavour: Flavour = KIE


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whole and decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """Sends requests to paths below the endpoint's base URL, and nowhere else.

    Raises ValueError for a base URL that is not absolute http(s), that carries credentials, a query or
    a fragment, or that is http where `allow_http` is false; for a proxy that is not http(s); and for a
    User-Agent that no header can carry.
    """

    def __init__(self, endpoint: Endpoint, *, auth: httpx.Auth, clock: Callable[[], float]) -> None:
        if not (endpoint.user_agent.isascii() and endpoint.user_agent.isprintable()):
            raise ValueError("the User-Agent must be printable ASCII")
        self._base_url = _base_of(endpoint)
        self._transport = DeadlineBoundTransport(_proxy_of(endpoint), clock)
        self._client = httpx.Client(
            transport=self._transport,
            auth=auth,
            follow_redirects=False,
            trust_env=False,
            headers={"User-Agent": endpoint.user_agent, "Accept": "application/json", "Accept-Encoding": "gzip"},
        )

    def renew_trust(self) -> None:
        """Verify by the certificates of now on new connections; raises OSError, and all is as it was then."""
        self._transport.renew_trust()

    def exchange(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        seconds: float,
        most: int = MAX_ANSWER,
    ) -> Answer:
        """Send one request and read its whole answer, of `most` bytes at most, in `seconds`, or raise ApiBusy."""
        request = self._client.build_request(method, self._base_url + path, params=params, json=json)
        try:
            with self._transport.within(seconds):
                response = self._client.send(request, stream=True)
                try:
                    return Answer(
                        response.status_code, response.headers, _without_key(request, _read_capped(response, most))
                    )
                finally:
                    response.close()
        except (httpx.HTTPError, httpx.StreamError, OSError, zlib.error) as fault:
            # The fault's chain holds the request, and the request holds the key.
            raise ApiBusy(f"{type(fault).__name__}: {scrub(str(fault))[:200]}") from None

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def _base_of(endpoint: Endpoint) -> str:
    url = _parsed(endpoint.base_url, "the provider's base URL")
    if url.scheme not in ("https", "http") or not url.host:
        raise ValueError("the provider's base URL must be absolute: https://host")
    if url.scheme == "http" and not endpoint.allow_http:
        raise ValueError("the provider's base URL must be https: the API key travels with every request")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("the provider's base URL must not carry credentials, a query or a fragment")
    return str(url).rstrip("/")


def _proxy_of(endpoint: Endpoint) -> httpx.Proxy | None:
    if endpoint.proxy is None:
        return None
    url = _parsed(endpoint.proxy, "the proxy")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("the proxy must be http://host:port or https://host:port")
    return httpx.Proxy(url)


def _parsed(url: str, what: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL:
        raise ValueError(f"{what} is no URL") from None


def _without_key(request: httpx.Request, body: bytes) -> bytes:
    """Return an answer's body without the key of its request, which an error may repeat."""
    key = request.headers.get("authorization", "").rpartition(" ")[2]
    return body.replace(key.encode(), b"***") if len(key) >= SHORTEST_KEY else body


def _read_capped(response: httpx.Response, most: int) -> bytes:
    """Read the body, at most so many bytes before and after decoding.

    httpx would decode each piece without a limit, and 64 KiB of gzip can hold 64 MiB.
    """
    codings = content_codings(response.headers)
    packed = bool(codings)
    if len(codings) > 1 or (packed and codings[0] not in _UNPACKED):
        raise ApiBusy(f"the answer came in the encoding {', '.join(codings)!r}, which was not asked for")
    unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
    body = bytearray()
    received = 0
    for piece in response.iter_raw():
        received += len(piece)
        body += unpack.decompress(piece, most + 1 - len(body)) if packed else piece
        if len(body) > most or received > most:
            raise ApiBusy(f"the answer is larger than {most} bytes")
    if packed and received and not unpack.eof:
        raise ApiBusy("the answer ended early")
    return bytes(body)
