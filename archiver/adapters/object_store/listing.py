"""One page of a listing, read by expat: botocore's parser takes twenty times as long over a thousand keys.

The answer is somebody else's: no document type, so no entities, a bounded depth, and a bounded size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote_plus
from xml.parsers import expat

from archiver.core.misses import StoreStranger
from archiver.ports.archive import ListedObject

PAGE_MAX = 16 * 1024 * 1024
"""Bytes of one page: a thousand of the longest keys, each byte as three, and room."""
DEPTH_MAX = 16
_DIGITS_MAX = 19


@dataclass(slots=True)
class Page:
    """One answer to ListObjectsV2."""

    objects: list[ListedObject] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    """The common prefixes, with their "/"."""
    token: str = ""
    """Names the next page; empty on the last one."""


class PageReader:
    """Reads one page from the pieces that it is fed."""

    def __init__(self) -> None:
        self._page = Page()
        self._path: list[str] = []
        self._entry: dict[str, str] = {}
        self._named: dict[str, str] = {}
        self._prefixes: list[str] = []
        self._entries: list[dict[str, str]] = []
        self._text: list[str] = []
        self._size = 0
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text.append
        self._parser.StartDoctypeDeclHandler = _refuse_doctype

    def feed(self, piece: bytes | memoryview) -> None:
        """Take the next bytes; raise StoreStranger for what is no page of a listing."""
        self._size += len(piece)
        if self._size > PAGE_MAX:
            raise StoreStranger("ListObjectsV2: an endless answer")
        self._parse(bytes(piece), last=False)

    def page(self) -> Page:
        """End, and return the page; raise StoreStranger where it is cut or none."""
        self._parse(b"", last=True)
        decode = unquote_plus if self._named.get("EncodingType") == "url" else str
        for entry in self._entries:
            size = entry.get("Size", "")
            if not (size.isascii() and size.isdigit() and len(size) <= _DIGITS_MAX) or "Key" not in entry:
                raise StoreStranger("ListObjectsV2: an entry without key or size")
            etag = entry.get("ETag", "").strip('"')
            self._page.objects.append(
                ListedObject(decode(entry["Key"]), int(size), etag, entry.get("StorageClass", ""))
            )
        self._page.folders.extend(map(decode, self._prefixes))
        if self._named.get("IsTruncated", "").strip() == "true":
            self._page.token = self._named.get("NextContinuationToken", "")
            if not self._page.token:
                raise StoreStranger("ListObjectsV2: the answer is cut off, and names no next page")
        return self._page

    def _parse(self, data: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(data, last)
        except (expat.ExpatError, UnicodeDecodeError) as error:
            raise StoreStranger(f"ListObjectsV2: no answer of S3 ({type(error).__name__})") from None

    def _begin(self, name: str, _: dict[str, str]) -> None:
        self._path.append(name.rpartition(" ")[2])
        if len(self._path) > DEPTH_MAX or (len(self._path) == 1 and self._path[0] != "ListBucketResult"):
            raise StoreStranger("ListObjectsV2: no answer of S3")
        self._text.clear()

    def _end(self, _: str) -> None:
        path = self._path
        name = path.pop()
        if len(path) == 1:
            self._close_entry(name)
        elif len(path) == 2:  # noqa: PLR2004 - within an entry
            if path[1] == "Contents":
                self._entry[name] = "".join(self._text)
            elif path[1] == "CommonPrefixes" and name == "Prefix":
                self._prefixes.append("".join(self._text))
        self._text.clear()

    def _close_entry(self, name: str) -> None:
        if name == "Contents":
            self._entries.append(self._entry)
            self._entry = {}
        elif name != "CommonPrefixes":
            self._named[name] = "".join(self._text)


def _refuse_doctype(*_: object) -> None:
    raise StoreStranger("ListObjectsV2: an answer with a document type")
