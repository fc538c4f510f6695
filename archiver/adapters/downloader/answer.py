"""The origin's answers as errors of the core: statuses, validators, ranges and failures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import cast

import httpx

from archiver.adapters.downloader.transport import Response
from archiver.core.errors import ArchiverError, BodyChanged, BodyShort, BodySlow, LinkSpent, OriginBusy, OriginFaulty
from archiver.core.http import content_codings, date_of, retry_after

EXCERPT = 4096
"""Bytes of an error page that are looked at."""
EXCERPT_SECONDS = 2.0
"""The bytes that came by then are all there is to judge by."""

_BLOCK = re.compile(rb"error code: (1[0-9]{3})\b")
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')
_CONTENT_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18})", re.IGNORECASE)
_PLACE = re.compile(rb"((?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*|)(.*)", re.DOTALL)
_UNSAFE = re.compile(rb"[^\x21-\x7e]")
_STRONG_AGE = timedelta(seconds=60)


class Hiccup(OriginBusy):
    """A failure that a second try within seconds may mend."""


class FaultyHiccup(Hiccup, OriginFaulty):
    """An answer that a second try within seconds may mend."""


class CookieAsked(OriginFaulty):
    """The origin sends us round in a circle until a cookie comes back, which we do not keep."""

    code = "cdn.cookie_asked"
    hint = "the origin gives the file to browsers alone: open the URL shown by `stem-archiver show ID` in one"


class ClientBlocked(OriginBusy):
    """The CDN's firewall refuses us (Cloudflare's `error code: 1010` and kin); says nothing of the link."""

    code = "cdn.client_blocked"
    hint = "set provider.user_agent to another value (error code 1010), or download.proxy to another way out"


def expect_audio(response: Response) -> None:
    """Raise what is wrong with the answer to a GET without a range, as far as its head shows it."""
    error = refusal(response)
    if error is not None:
        raise error
    coding = foreign_coding(response.headers)
    if coding:
        raise OriginFaulty(f"the origin sent {coding!r} though identity was asked for")


def location_of(response: Response) -> str:
    """Return where a redirect leads, percent-encoded from its bytes as they came; its host is read as UTF-8.

    Raises OriginFaulty where it names two places.
    """
    place, *more = {value for name, value in response.fields if name.lower() == b"location"}
    if more:
        raise OriginFaulty("a redirect to two places")
    authority, path = cast("re.Match[bytes]", _PLACE.fullmatch(place)).groups()
    return authority.decode(errors="replace") + _UNSAFE.sub(lambda byte: b"%%%02X" % ord(byte[0]), path).decode()


def refusal(response: Response) -> ArchiverError | None:
    """Return what is wrong with the answer to a GET without a range; None when it is a 200, or a 206 with all of it."""
    status = response.status_code
    if status == httpx.codes.OK:
        return None
    if status == httpx.codes.PARTIAL_CONTENT:
        return None if is_all(response) else BodyChanged("a part (206) though no range was asked for")
    if status == httpx.codes.EXPECTATION_FAILED:
        return OriginFaulty("the origin answered 417 to an Expect that was not sent: a proxy may have added it")
    wait = retry_after(response.headers)
    if status in {401, 403, 404, 410}:
        return _blocked(response) or LinkSpent(status=status, retry_after=wait)
    if status in {408, 429, 503}:
        return Hiccup(f"the origin answered {status}", retry_after=wait)
    kind = FaultyHiccup if status >= httpx.codes.INTERNAL_SERVER_ERROR else OriginFaulty
    return kind(f"the origin answered {status}", retry_after=wait)


def _blocked(response: Response) -> ClientBlocked | None:
    if response.status_code != httpx.codes.FORBIDDEN:
        return None
    if response.headers.get("cf-mitigated", "").lower() == "challenge":
        return ClientBlocked("the CDN asks for a browser challenge")
    found = _BLOCK.search(_excerpt(response))
    return ClientBlocked(f"the CDN blocks this client: error code {found[1].decode()}") if found else None


def _excerpt(response: Response) -> bytes:
    stream, view, got = response.stream, memoryview(bytearray(EXCERPT)), 0
    stream.finish_within(EXCERPT_SECONDS)
    try:
        while got < EXCERPT and (size := stream.reader.receive(view[got:])):
            got += size
    except httpx.TransportError:
        pass  # what came is all there is to judge by
    return bytes(view[:got])


def foreign_coding(headers: Mapping[str, str]) -> str:
    """Return the content codings, which nobody asked for; empty when the bytes come as they are."""
    return ", ".join(content_codings(headers))


def media_type(headers: Mapping[str, str]) -> str:
    """Return the origin's Content-Type, without parameters and in lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def validator(headers: Mapping[str, str]) -> str | None:
    """Return what If-Range may say of this answer (RFC 9110, section 13.1.5), None when it cannot be resumed.

    A strong ETag; or, where there is no ETag at all, a Last-Modified that the origin's own Date shows
    to be at least a minute old.
    """
    if headers.get("accept-ranges", "").strip().lower() == "none":
        return None
    etag = headers.get("etag")
    if etag is not None:
        return etag if _STRONG_ETAG.fullmatch(etag) else None
    modified, now = date_of(headers.get("last-modified", "")), date_of(headers.get("date", ""))
    if modified is None or now is None or now - modified < _STRONG_AGE:
        return None
    return headers["last-modified"]


def same_version(first: Mapping[str, str], later: Mapping[str, str]) -> bool:
    """Return whether two answers may be of the same bytes, as far as their fields show it."""
    return all(
        first.get(field) == later.get(field) for field in ("etag", "last-modified") if field in first and field in later
    )


def content_range(headers: Mapping[str, str]) -> tuple[int | None, int | None, int] | None:
    """Return first and last position (None in a 416) and the whole length; None when it does not say all that."""
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if found is None:
        return None
    first, last, whole = found.groups()
    return (None if first is None else int(first), None if last is None else int(last), int(whole))


def is_all(response: Response) -> bool:
    """Return whether a 206 holds the whole resource, by its range and its length."""
    span = content_range(response.headers)
    return span is not None and span[:2] == (0, span[2] - 1) and response.stream.reader.length in {None, span[2]}


def rest_of(first: Response, later: Response, *, at: int, length: int | None) -> int:
    """Return the whole length when `later` holds exactly what `first` lacks from position `at` on.

    Raises BodyChanged when it holds anything else, and what `refusal` says of other statuses.
    """
    if later.status_code != httpx.codes.PARTIAL_CONTENT:
        changed = later.status_code in {httpx.codes.OK, httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE}
        error = None if changed else refusal(later)
        raise error or BodyChanged(f"on resume the origin answered {later.status_code}")
    span = content_range(later.headers)
    if span is None or span[:2] != (at, span[2] - 1) or length not in {None, span[2]}:
        raise BodyChanged("on resume the origin offered another range than was asked for")
    if later.stream.reader.length not in {None, span[2] - at}:
        raise BodyChanged("on resume the origin announced another length than its range has")
    lost_tag = "etag" in first.headers and "etag" not in later.headers
    if lost_tag or not same_version(first.headers, later.headers) or foreign_coding(later.headers):
        raise BodyChanged("on resume the origin offered another version")
    if later.url.place != first.url.place:
        raise BodyChanged("on resume the origin sent us elsewhere")
    return span[2]


def whole_length(response: Response) -> int | None:
    """Return the resource's whole length, if the answer to a GET with or without a range names it.

    Raises what `refusal` says of a status that is about no range.
    """
    if response.status_code in {httpx.codes.PARTIAL_CONTENT, httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE}:
        span = content_range(response.headers)
        return None if span is None else span[2]
    error = refusal(response)
    if error is not None:
        raise error
    return response.stream.reader.length


def fault(error: httpx.TransportError) -> ArchiverError:
    """Translate a failure before the first byte of the body."""
    if isinstance(error, httpx.RemoteProtocolError):
        return FaultyHiccup(str(error))
    permanent = isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
    return (OriginBusy if permanent else Hiccup)(str(error))


def body_fault(error: httpx.TransportError, *, got: int, length: int | None) -> ArchiverError:
    """Translate a failure inside the body, `got` bytes into it."""
    of = "" if length is None else f" of {length}"
    kind: type[ArchiverError] = OriginFaulty
    if isinstance(error, httpx.ReadTimeout):
        kind = BodySlow
    elif isinstance(error, httpx.ReadError):
        kind = BodyShort
    return kind(f"{error} ({got}{of} bytes came)")
