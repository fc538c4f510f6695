"""A JSON sidecar: written once, and replaced where it must change."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from archiver.adapters.object_store.calls import Labels, S3Calls, stored_object
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.faults import Absent, Conflict
from archiver.adapters.object_store.reconcile import Reconciler, hidden
from archiver.core.errors import KeyTaken, StoreBusy, StoreCorrupt
from archiver.core.manifest_bounds import LARGEST
from archiver.core.model import StoredObject
from archiver.ports.store import Successor

DOCUMENT = Labels("application/json")


@dataclass(frozen=True, slots=True)
class Document:
    """One sidecar and its key; written by what the store was proven to do.

    Where the store has no If-Match it is read, compared, and written without a condition: the task's lease is the
    guard then.
    """

    calls: S3Calls
    writer: Reconciler
    key: str
    data: bytes
    same: Callable[[bytes], bool]
    instead: Successor | None = None

    def put(self) -> StoredObject:
        """See `archiver.ports.store.ObjectStore.put_document`."""
        content = Content.of(self.data)
        return self.writer.retries.call(lambda: self._put_once(content), final=())

    def _put_once(self, content: Content) -> StoredObject:
        create_only = self.writer.known.create_only
        if create_only:
            try:
                return self._write(content, IfNoneMatch="*")
            except Conflict:
                pass
        try:
            with hidden(self.key) if create_only else nullcontext():
                bare = not self.writer.known.names_etag
                theirs, etag = self.calls.read(self.key, limit=LARGEST, bare=bare)
        except Absent:
            if create_only:
                raise
            return self._write(content)
        if theirs is None:
            raise KeyTaken(f"{self.key}: an object too large to be ours stands there")
        if theirs == self.data or self.same(theirs):
            return stored_object(self.key, Content.of(theirs), {"ETag": etag})
        if self.instead is not None:
            content = Content.of(self.instead(theirs, etag))
        return self._write(content, **({"IfMatch": etag} if self.writer.known.replaces else {}))

    def _write(self, content: Content, **condition: str) -> StoredObject:
        answer = self.calls.put(self.key, content, DOCUMENT, **condition)
        if content.named_by(answer, self.writer.known):
            return stored_object(self.key, content, answer)
        standing, same = self.writer.compared(self.key, content)
        if standing is None:
            raise StoreBusy(f"{self.key}: the store said yes, but shows no such object")
        if not same:
            raise StoreCorrupt(f"{self.key}: the store said yes, but shows other bytes")
        return stored_object(self.key, content, standing)
