"""S3Archive: the bucket, read only, as `preservation` and the second look see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from archiver.adapters.object_store.calls import S3Calls
from archiver.adapters.object_store.faults import Absent, Conflict
from archiver.adapters.object_store.links import presigned
from archiver.adapters.object_store.listing import Page
from archiver.adapters.object_store.reading import PAGE, ReadCalls
from archiver.adapters.object_store.retries import Retries
from archiver.core.misses import StoreStranger
from archiver.core.reading import ObjectAbsent, ObjectChanged
from archiver.ports.archive import FoundDocument, ListedObject, ObjectBody, ObjectHead

_FINAL = (Absent, Conflict)
_BEHIND_SLASH = "0"
"""The character after "/": behind `folder` and it, nothing of the folder is left."""


@dataclass(frozen=True, slots=True)
class S3Archive:
    """A bucket on any S3; satisfies `archiver.ports.archive.Archive`. Writes nothing. Safe to share among threads."""

    calls: S3Calls
    retries: Retries
    page: int = PAGE
    """Entries of a listing that one request asks for."""

    def folders(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """See `archiver.ports.archive.Archive`."""
        begin = f"{prefix}{after}{_BEHIND_SLASH}" if after else ""
        for page in self._pages(prefix, "/", begin):
            for folder in page.folders:
                name = _below(prefix, folder).removesuffix("/")
                if "/" in name:
                    raise StoreStranger("ListObjectsV2: a folder within a folder")
                yield name

    def objects(self, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        """See `archiver.ports.archive.Archive`."""
        for page in self._pages(prefix, "", after):
            for listed in page.objects:
                _below(prefix, listed.key)
                yield listed

    def _pages(self, prefix: str, delimiter: str, after: str) -> Iterator[Page]:
        seen, token = "", ""
        reads = ReadCalls(self.calls, self.page)
        while True:
            page = self.retries.call(partial(reads.page, prefix, delimiter=delimiter, after=after, token=token))
            yield page
            if not page.token:
                return
            if page.token in {seen, token}:
                raise StoreStranger("ListObjectsV2: the listing goes round in a circle")
            seen, token = token, page.token

    def document(self, key: str, *, limit: int) -> FoundDocument | None:
        """See `archiver.ports.archive.Archive`."""
        with suppress(Absent):
            return self.retries.call(lambda: ReadCalls(self.calls).document(key, limit), final=_FINAL)
        return None

    def head(self, key: str) -> ObjectHead | None:
        """See `archiver.ports.archive.Archive`."""
        with suppress(Absent):
            return self.retries.call(lambda: ReadCalls(self.calls).head(key), final=_FINAL)
        return None

    def open(self, key: str, *, offset: int = 0, etag: str = "") -> ObjectBody:
        """See `archiver.ports.archive.Archive`."""
        return self._opened(key, offset, None, etag)

    def span(self, key: str, begin: int, end: int, *, etag: str) -> ObjectBody:
        """See `archiver.ports.archive.Spans`."""
        return self._opened(key, begin, end, etag)

    def _opened(self, key: str, begin: int, end: int | None, etag: str) -> ObjectBody:
        reads = ReadCalls(self.calls)
        try:
            return self.retries.call(lambda: reads.open(key, offset=begin, end=end, etag=etag), final=_FINAL)
        except Absent:
            raise ObjectAbsent(f"{key}: nothing stands there") from None
        except Conflict:
            raise ObjectChanged(f"{key}: another object stands there") from None

    def link(self, key: str, *, name: str, seconds: int) -> str:
        """See `archiver.ports.archive.Links`."""
        return presigned(self.calls, key, name, seconds)


class LateArchive:
    """An archive whose client may not be made yet: each call makes it, or raises what keeps it from being made."""

    def __init__(self, made: Callable[[], S3Archive]) -> None:
        self._made = made

    def folders(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """See S3Archive."""
        return self._made().folders(prefix, after=after)

    def objects(self, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        """See S3Archive."""
        return self._made().objects(prefix, after=after)

    def document(self, key: str, *, limit: int) -> FoundDocument | None:
        """See S3Archive."""
        return self._made().document(key, limit=limit)

    def head(self, key: str) -> ObjectHead | None:
        """See S3Archive."""
        return self._made().head(key)

    def open(self, key: str, *, offset: int = 0, etag: str = "") -> ObjectBody:
        """See S3Archive."""
        return self._made().open(key, offset=offset, etag=etag)

    def span(self, key: str, begin: int, end: int, *, etag: str) -> ObjectBody:
        """See S3Archive."""
        return self._made().span(key, begin, end, etag=etag)

    def link(self, key: str, *, name: str, seconds: int) -> str:
        """See S3Archive."""
        return self._made().link(key, name=name, seconds=seconds)


def _below(prefix: str, key: str) -> str:
    if not key.startswith(prefix):
        raise StoreStranger("ListObjectsV2: a key that does not begin as was asked")
    return key[len(prefix) :]
