"""A bucket in memory, held to the same contract suite as the real one, and what its tests feed it."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from archiver.core.errors import BodyEmpty, KeyTaken, StoreBusy
from archiver.core.model import StoredObject
from archiver.ports.runtime import Checkpoint, unobserved
from archiver.ports.store import Successor, UploadJournal
from archiver.ports.transfer import Body
from tests.fakes.archive import FakeArchive
from tests.fakes.calls import Calls, unnoticed

PIECE = 64 * 1024


class MemoryBody:
    """A verified body made of `data`; raises `fails_with` after `fails_at` bytes."""

    extension = "mp3"
    content_type = "audio/mpeg"

    def __init__(
        self,
        data: bytes,
        *,
        announced: bool = True,
        fails_at: int | None = None,
        fails_with: BaseException | None = None,
    ) -> None:
        self.length = len(data) if announced else None
        self.size = 0
        self._data = data
        self._fails_at = fails_at
        self._fails_with = fails_with
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def forget(self) -> None:
        raise AssertionError("this body is never suspended")

    def readinto(self, buffer: memoryview) -> int:
        if not self._data:
            raise BodyEmpty
        piece = self._data[self.size : self.size + len(buffer)]
        if self._fails_at is not None and self.size + len(piece) >= self._fails_at and self._fails_with:
            raise self._fails_with
        buffer[: len(piece)] = piece
        self._digest.update(piece)
        self.size += len(piece)
        return len(piece)


@dataclass
class MemoryJournal:
    """Uploads that are written down and not yet struck out, and all that ever were."""

    open: list[tuple[str, str]] = field(default_factory=list)
    ever: list[tuple[str, str]] = field(default_factory=list)

    def opening(self, key: str) -> None:
        pass

    def opened(self, key: str, upload_id: str) -> None:
        self.open.append((key, upload_id))
        self.ever.append((key, upload_id))

    def closed(self, key: str, upload_id: str) -> None:
        if (key, upload_id) in self.open:
            self.open.remove((key, upload_id))


@dataclass
class Failure:
    """Raise `error` in the calls of `method` that come next, before or after their effect."""

    method: str
    error: Exception
    times: int = 1
    after: bool = False


@dataclass
class FakeStore:
    """`archiver.ports.store.ObjectStore` in memory: `objects`, how often each was `written`, open `uploads`."""

    single_put_max: int = 16 * 1024 * 1024
    checkpoint: Checkpoint = unobserved
    objects: dict[str, bytes] = field(default_factory=dict)
    metadata: dict[str, Mapping[str, str]] = field(default_factory=dict)
    content_types: dict[str, str] = field(default_factory=dict)
    written: Counter[str] = field(default_factory=Counter)
    uploads: set[tuple[str, str]] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)
    before: Calls = unnoticed
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _ids: int = 0

    @property
    def archive(self) -> FakeArchive:
        """The same bucket as it is read."""
        return FakeArchive(self)

    def fail(self, method: str, error: Exception, *, times: int = 1, after: bool = False) -> None:
        """Script a failure of `put`, `put_document` or `abort`; `after` means the effect stands all the same."""
        self.failures.append(Failure(method, error, times, after))

    def put(self, key: str, body: Body, *, metadata: Mapping[str, str], journal: UploadJournal) -> StoredObject:
        for text in (*metadata, *metadata.values()):
            if not (text.isascii() and text.isprintable()):
                raise ValueError("metadata must be printable ASCII")
        self._strike("put", key)
        multipart = body.length is None or body.length > self.single_put_max
        upload = self._opened(key, journal) if multipart else None
        try:
            self.checkpoint("multipart.created" if upload else "put.begun")
            data = self._drain(body)
            stored = self._create(key, data)
            begin = f"{len(data[:PIECE])}:{hashlib.sha256(data[:PIECE]).hexdigest()}"
            named = {"sha256-begin": begin} if multipart else {"sha256": hashlib.sha256(data).hexdigest()}
            self.metadata[key], self.content_types[key] = {**metadata, **named}, body.content_type
            self.checkpoint("multipart.completed" if upload else "put.done")
            self._strike("put", key, after=True)
        finally:
            if upload:
                self.uploads.discard(upload)
                journal.closed(*upload)
        return stored

    def find(self, key: str, *, size: int, sha256: str) -> StoredObject | None:
        self._strike("find", key)
        with self._lock:
            data = self.objects.get(key)
            if data is None or len(data) != size or hashlib.sha256(data).hexdigest() != sha256:
                return None
            return self._described(key)

    def put_document(
        self, key: str, data: bytes, *, same: Callable[[bytes], bool], instead: Successor | None = None
    ) -> StoredObject:
        self._strike("put_document", key)
        with self._lock:
            theirs = self.objects.get(key)
            if theirs is None:
                self._write(key, data)
            elif not (theirs == data or same(theirs)):
                self._write(key, data if instead is None else instead(theirs, self._described(key).etag))
            self.content_types[key] = "application/json"
            stored = self._described(key)
        self.checkpoint("document.put")
        self._strike("put_document", key, after=True)
        return stored

    def try_write(self, key: str) -> None:
        self._strike("try_write", key)
        self.objects.setdefault(key, b"{}")

    def abort(self, key: str, upload_id: str) -> None:
        self._strike("abort", key)
        self.uploads.discard((key, upload_id))
        self.checkpoint("multipart.aborted")

    def _strike(self, method: str, key: str, *, after: bool = False) -> None:
        if not after:
            self.before(method, key)
        with self._lock:
            for failure in self.failures:
                if failure.method == method and failure.after == after and failure.times > 0:
                    failure.times -= 1
                    raise failure.error

    def _opened(self, key: str, journal: UploadJournal) -> tuple[str, str]:
        with self._lock:
            self._ids += 1
            upload = (key, f"upload-{self._ids}")
            self.uploads.add(upload)
        journal.opened(*upload)
        return upload

    def _drain(self, body: Body) -> bytes:
        data, piece = bytearray(), memoryview(bytearray(PIECE))
        while got := body.readinto(piece):
            data += piece[:got]
        if hashlib.sha256(data).hexdigest() != body.sha256:
            raise StoreBusy("the body's hash is not that of its bytes")
        return bytes(data)

    def _create(self, key: str, data: bytes) -> StoredObject:
        with self._lock:
            if self.objects.setdefault(key, data) != data:
                raise KeyTaken(f"{key}: another object stands there")
            if not self.written[key]:
                self._write(key, data)
            return self._described(key)

    def _write(self, key: str, data: bytes) -> None:
        self.objects[key] = data
        self.written[key] += 1

    def _described(self, key: str) -> StoredObject:
        data = self.objects[key]
        return StoredObject(key, len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())
