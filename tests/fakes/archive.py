"""A bucket in memory as it is read, held to the same contract suite as the real one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from archiver.core.reading import ObjectAbsent, ObjectChanged, ObjectLong
from archiver.ports.archive import FoundDocument, ListedObject, ObjectHead


class Kept(Protocol):
    """What a fake bucket holds."""

    @property
    def objects(self) -> Mapping[str, bytes]: ...
    @property
    def metadata(self) -> Mapping[str, Mapping[str, str]]: ...
    @property
    def content_types(self) -> Mapping[str, str]: ...
    def _strike(self, method: str, key: str) -> None: ...


@dataclass
class MemoryObject:
    """`archiver.ports.archive.ObjectBody` over bytes; gives at most `most` at a time."""

    head: ObjectHead
    data: bytes
    at: int = 0
    most: int = 64 * 1024
    closed: bool = False

    def readinto(self, view: memoryview) -> int:
        piece = self.data[self.at : self.at + min(len(view), self.most)]
        view[: len(piece)] = piece
        self.at += len(piece)
        return len(piece)

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class FakeArchive:
    """`archiver.ports.archive.Archive` in memory; scripted failures of the bucket go by its methods' names."""

    bucket: Kept

    def folders(self, prefix: str, *, after: str = "") -> Iterator[str]:
        self.bucket._strike("folders", prefix)
        begin = prefix + after + "/"
        found = {
            key[: key.index("/", len(prefix)) + 1]
            for key in self.bucket.objects
            if key.startswith(prefix) and "/" in key[len(prefix) :]
        }
        for folder in sorted(found, key=str.encode):
            if not after or folder.encode() > begin.encode():
                yield folder[len(prefix) : -1]

    def objects(self, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        self.bucket._strike("objects", prefix)
        for key in sorted(self.bucket.objects, key=str.encode):
            if key.startswith(prefix) and key.encode() > after.encode():
                data = self.bucket.objects[key]
                yield ListedObject(key, len(data), etag_of(data), "STANDARD")

    def document(self, key: str, *, limit: int) -> FoundDocument | None:
        self.bucket._strike("document", key)
        head = self._head(key)
        if head is None:
            return None
        if head.size > limit:
            raise ObjectLong(f"{key}: {head.size} bytes")
        return FoundDocument(self.bucket.objects[key], head)

    def head(self, key: str) -> ObjectHead | None:
        self.bucket._strike("head", key)
        return self._head(key)

    def _head(self, key: str) -> ObjectHead | None:
        data = self.bucket.objects.get(key)
        if data is None:
            return None
        kind = self.bucket.content_types.get(key, "application/octet-stream")
        return ObjectHead(len(data), etag_of(data), kind, metadata=dict(self.bucket.metadata.get(key, {})))

    def open(self, key: str, *, offset: int = 0, etag: str = "") -> MemoryObject:
        self.bucket._strike("open", key)
        head = self._head(key)
        if head is None:
            raise ObjectAbsent(f"{key}: nothing stands there")
        if (etag and etag != head.etag) or (offset and offset >= head.size):
            raise ObjectChanged(f"{key}: another object stands there")
        return MemoryObject(head, self.bucket.objects[key], offset)

    def span(self, key: str, begin: int, end: int, *, etag: str) -> MemoryObject:
        body = self.open(key, offset=begin, etag=etag)
        return MemoryObject(body.head, body.data[:end], begin)

    def link(self, key: str, *, name: str, seconds: int) -> str:
        return f"https://store.example/{key}?X-Amz-Expires={seconds}&X-Amz-Signature=secret"


def etag_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
