"""The calls that read: our own once boto3 has shown the way, and boto3's where the answer is no plain one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import httpx

from archiver.adapters.object_store.calls import Answer, S3Calls
from archiver.adapters.object_store.exchange import Incoming
from archiver.adapters.object_store.faults import Absent, Conflict, NoAnswer, translated
from archiver.adapters.object_store.listing import Page, PageReader
from archiver.core.errors import StoreBusy
from archiver.core.misses import StoreStranger
from archiver.core.reading import ObjectLong
from archiver.ports.archive import FoundDocument, ListedObject, ObjectHead

PAGE = 1000
"""The most entries of a listing that S3 gives at once."""
_BLOCK = 64 * 1024
_OK = 200
_PARTIAL = 206
_NOT_FOUND = 404
_UNMET = frozenset({412, 416})
_ERROR_MAX = 16 * 1024
_NO_KEY = re.compile(rb"<Code>\s*NoSuchKey\s*</Code>")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_META = "x-amz-meta-"
_CHECKSUMS = {
    "x-amz-checksum-sha256": "ChecksumSHA256",
    "x-amz-checksum-crc32": "ChecksumCRC32",
    "x-amz-checksum-crc32c": "ChecksumCRC32C",
    "x-amz-checksum-crc64nvme": "ChecksumCRC64NVME",
    "x-amz-checksum-type": "ChecksumType",
}


class _Source(Protocol):
    """A body that comes, of either kind."""

    def receive(self, view: memoryview) -> int:
        """Receive some bytes; 0 at the end."""

    def close(self) -> None:
        """End it."""


class Body:
    """See `archiver.ports.archive.ObjectBody`."""

    def __init__(self, head: ObjectHead, source: _Source, left: int, skip: int = 0) -> None:
        self.head = head
        self._source = source
        self._left = left
        self._skip = skip

    def readinto(self, view: memoryview) -> int:
        """See `archiver.ports.archive.ObjectBody`."""
        while self._skip:
            self._skip -= self._receive(memoryview(bytearray(min(self._skip, _BLOCK))))
        if not self._left or not view:
            return 0
        size = self._receive(view[: self._left])
        self._left -= size
        return size

    def _receive(self, view: memoryview) -> int:
        with _received("GetObject"):
            size = self._source.receive(view)
        if not size:
            raise NoAnswer(f"GetObject: the body ended {self._left} bytes early")
        return size

    def close(self) -> None:
        """See `archiver.ports.archive.ObjectBody`."""
        self._source.close()


@contextmanager
def _received(call: str) -> Iterator[None]:
    try:
        with translated(call):
            yield
    except httpx.TransportError as error:
        raise NoAnswer(f"{call}: the answer was cut ({type(error).__name__})") from None


class _BotoBody:
    """boto3's body as a source."""

    def __init__(self, body: Any, progress: Callable[[], None]) -> None:  # noqa: ANN401 - botocore's StreamingBody
        self._body = body
        self._progress = progress

    def receive(self, view: memoryview) -> int:
        """See _Source."""
        piece = self._body.read(len(view))
        view[: len(piece)] = piece
        self._progress()
        return len(piece)

    def close(self) -> None:
        """See _Source."""
        self._body.close()


@dataclass(frozen=True, slots=True)
class _Part:
    """The bytes that are asked for, and of which object."""

    begin: int
    end: int | None
    """None for all that follow."""
    etag: str

    @property
    def range(self) -> str:
        """The field of that name; empty where the whole object is meant."""
        last = "" if self.end is None else self.end - 1
        return f"bytes={self.begin}-{last}" if self.begin or self.end is not None else ""

    def stop(self, whole: int) -> int:
        """Return where the part ends in an object of so many bytes."""
        return whole if self.end is None else min(self.end, whole)


@dataclass(frozen=True, slots=True)
class ReadCalls:
    """GetObject, HeadObject and ListObjectsV2 of one bucket, once each.

    Raises Absent and Conflict, and what `faults.translated` does.
    """

    calls: S3Calls
    most: int = PAGE
    """Entries of a listing that one request asks for."""

    def open(self, key: str, *, offset: int = 0, end: int | None = None, etag: str = "") -> Body:
        """GetObject from `offset` on, to before `end`; see `archiver.ports.archive.Archive.open` and `Spans`."""
        part = _Part(offset, end, etag)
        headers = {"Range": part.range} if part.range else {}
        if etag:
            headers["If-Match"] = f'"{etag}"'
        answer = self.calls.quick.ask("GetObject", key, headers)
        if answer is not None:
            with _closed_on_error(answer):
                if answer.status in {_OK, _PARTIAL}:
                    return _body(answer.headers, answer.status, answer, part)
                _refuse(answer)
            answer.close()
        return self._open_by_boto(key, headers, part)

    def _open_by_boto(self, key: str, headers: Mapping[str, str], part: _Part) -> Body:
        names = {"Range": "Range", "If-Match": "IfMatch"}
        given: dict[str, Any] = {names[name]: value for name, value in headers.items()}
        try:
            with translated("GetObject"):
                answer = self.calls.client.get_object(Bucket=self.calls.bucket, Key=key, **given)
        except Absent:
            self.calls.quick.learn("GetObject", key)  # it was understood; in a new archive nothing else ever comes
            raise
        self.calls.quick.learn("GetObject", key)
        source = _BotoBody(answer["Body"], self.calls.watch.progress)
        with _closed_on_error(source):
            about = answer["ResponseMetadata"]
            return _body(about["HTTPHeaders"], about["HTTPStatusCode"], source, part)

    def document(self, key: str, limit: int) -> FoundDocument:
        """GetObject of at most `limit` bytes, read whole; raises ObjectLong."""
        with closing(self.open(key)) as body:
            if body.head.size > limit:
                raise ObjectLong(f"{key}: {body.head.size} bytes; at most {limit} are read")
            data = memoryview(bytearray(body.head.size))
            at = 0
            while at < len(data):
                at += body.readinto(data[at:])
            return FoundDocument(bytes(data), body.head)

    def head(self, key: str) -> ObjectHead:
        """HeadObject, with the checksums that the store keeps."""
        answer = self.calls.quick.ask("HeadObject", key, {"x-amz-checksum-mode": "ENABLED"})
        if answer is not None:
            with _closed_on_error(answer):
                if answer.status == _OK:
                    fields = answer.headers
                    answer.close()
                    return _head(fields, _number(fields.get("content-length")))
            answer.close()
        said = self.calls.head(key, bare=True)
        self.calls.quick.learn("HeadObject", key)
        fields = said["ResponseMetadata"]["HTTPHeaders"]
        return _head(fields, _number(fields.get("content-length")))

    def page(self, prefix: str, *, delimiter: str = "", after: str = "", token: str = "") -> Page:
        """ListObjectsV2: the page that `token` names, or else the first one behind `after`."""
        asked = {"Delimiter": delimiter, "StartAfter": after if not token else "", "ContinuationToken": token}
        given = {name: value for name, value in asked.items() if value}
        answer = self.calls.quick.ask("ListObjectsV2", "", {}, _query(prefix, self.most, given))
        if answer is not None:
            try:
                if answer.status == _OK:
                    return _page(answer)
            finally:
                answer.close()
        with translated("ListObjectsV2"):
            said = self.calls.client.list_objects_v2(
                Bucket=self.calls.bucket, Prefix=prefix, MaxKeys=self.most, **_as_any(given)
            )
            self.calls.quick.learn("ListObjectsV2", "")
        return _page_of(said)


def _as_any(given: Mapping[str, str]) -> dict[str, Any]:
    return dict(given)


_PARAMETERS = {"Delimiter": "delimiter", "StartAfter": "start-after", "ContinuationToken": "continuation-token"}


def _query(prefix: str, most: int, given: Mapping[str, str]) -> str:
    named = {_PARAMETERS[name]: value for name, value in given.items()}
    fields = {"list-type": "2", "encoding-type": "url", "max-keys": str(most), "prefix": prefix, **named}
    return "?" + urlencode(sorted(fields.items()), quote_via=quote, safe="-_.~")


@contextmanager
def _closed_on_error(source: _Source) -> Iterator[None]:
    try:
        yield
    except BaseException:
        source.close()
        raise


def _refuse(answer: Incoming) -> None:
    """Raise what an answer that is no object means, where that is sure without boto3."""
    if answer.status in _UNMET:
        _read_away(answer)
        raise Conflict(f"GetObject: {answer.status}")
    if answer.status == _NOT_FOUND and _NO_KEY.search(_read_away(answer)):
        raise Absent(f"GetObject: {answer.status} NoSuchKey")


def _read_away(answer: Incoming) -> bytes:
    """Read the text of an error, as far as it is worth it."""
    data = bytearray()
    scratch = memoryview(bytearray(_ERROR_MAX))
    with _received("GetObject"):
        while (left := _ERROR_MAX - len(data)) and (size := answer.receive(scratch[:left])):
            data += scratch[:size]
    return bytes(data)


def _body(fields: Mapping[str, str], status: int, source: _Source, part: _Part) -> Body:
    """Return the body of that part, once the answer's own fields agree with what was asked."""
    length = _number(fields.get("content-length"))
    whole, begins = length, 0
    if status == _PARTIAL or (part.range and "content-range" in fields):  # rclone calls a part 200
        found = _RANGE.fullmatch(fields.get("content-range", "").strip())
        if found is None:
            raise StoreBusy("GetObject: a part of the object that does not say which")
        begins, last, whole = int(found[1]), int(found[2]), int(found[3])
        if begins != part.begin or last + 1 != part.stop(whole) or length != last + 1 - begins:
            raise StoreBusy("GetObject: another part of the object than was asked for")
    elif part.begin > whole:
        raise Conflict("GetObject: the object ends before the offset")
    head = _head(fields, whole)
    if part.etag and head.etag and head.etag != part.etag:
        raise Conflict("GetObject: another object stands there, in spite of If-Match")
    return Body(head, source, part.stop(whole) - part.begin, part.begin - begins)


def _number(text: str | None) -> int:
    if text is None or not (text.isascii() and text.isdigit()):
        raise StoreStranger("an answer that names no length")
    return int(text)


def _head(fields: Mapping[str, str], size: int) -> ObjectHead:
    return ObjectHead(
        size=size,
        etag=fields.get("etag", "").removeprefix("W/").strip('"'),
        content_type=fields.get("content-type", ""),
        storage_class=fields.get("x-amz-storage-class", ""),
        modified=_moment(fields.get("last-modified")),
        metadata={name[len(_META) :].lower(): text for name, text in fields.items() if name.startswith(_META)},
        checksums={_CHECKSUMS[name]: text for name, text in fields.items() if name in _CHECKSUMS},
    )


def _moment(text: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else None


def _page(answer: Incoming) -> Page:
    reader = PageReader()
    scratch = memoryview(bytearray(_BLOCK))
    with _received("ListObjectsV2"):
        while size := answer.receive(scratch):
            reader.feed(scratch[:size])
    return reader.page()


_OF_EVERY_PAGE = frozenset({"IsTruncated", "Name", "KeyCount"})


def _page_of(said: Answer) -> Page:
    """Return a page as boto3 read it, which reads any page of the web as a listing of nothing."""
    if not _OF_EVERY_PAGE & said.keys():
        raise StoreStranger("ListObjectsV2: no answer of S3")
    page = Page(token=said.get("NextContinuationToken", "") if said.get("IsTruncated") else "")
    for each in said.get("Contents", ()):
        etag = str(each.get("ETag", "")).strip('"')
        page.objects.append(ListedObject(each["Key"], each["Size"], etag, each.get("StorageClass", "")))
    page.folders.extend(each["Prefix"] for each in said.get("CommonPrefixes", ()))
    if said.get("IsTruncated") and not page.token:
        raise StoreStranger("ListObjectsV2: the answer is cut off, and names no next page")
    return page
