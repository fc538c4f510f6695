"""S3Store: what the pipeline sees of the bucket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from archiver.adapters.object_store.calls import Labels, S3Calls, stored_object
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.faults import Absent, Conflict
from archiver.adapters.object_store.multipart import Multipart
from archiver.adapters.object_store.patience import Patience
from archiver.adapters.object_store.probe import probe
from archiver.adapters.object_store.settle import Settler
from archiver.adapters.object_store.source import Source
from archiver.core.errors import KeyTaken, StoreBusy
from archiver.core.model import StoredObject
from archiver.core.reports import Finding
from archiver.ports.runtime import Checkpoint, Clock, EventLog, Jitter, unobserved
from archiver.ports.store import UploadJournal
from archiver.ports.transfer import Body, Buffers

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1024 * 1024
DOCUMENT = Labels("application/json")
DOCUMENT_LIMIT = 4 * MIB
"""Bytes; a larger object under a sidecar's key is none of ours."""
MOST_PARTS = 10_000
"""Amazon S3's limit of parts in one upload (its user guide, "multipart upload limits")."""


class S3Store:
    """A bucket on any S3 that knows If-None-Match and checksums; satisfies `archiver.ports.store.ObjectStore`.

    Up to `single_put_max` bytes go in one PutObject under their SHA-256; more in parts of `part_size`
    bytes under a CRC-32 of the whole. Nothing is trusted: an object counts as stored once the store has
    named our checksum, or a read-back has. Safe to share among threads.

    Checkpoints: put.begun, put.done, multipart.created (not yet in the journal), multipart.part,
    multipart.completing, multipart.completed, multipart.aborted, head.checking, head.checked, document.put.
    """

    def __init__(
        self,
        client: S3Client,
        *,
        bucket: str,
        buffers: Buffers,
        jitter: Jitter,
        clock: Clock,
        sleep: Callable[[float], object] = time.sleep,
        storage_class: str | None = None,
        sse: str | None = None,
        kms_key_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        single_put_max: int = 16 * MIB,
        part_size: int = 8 * MIB,
        log: EventLog | None = None,
        busy: Callable[[], None] = lambda: None,
        checkpoint: Checkpoint = unobserved,
    ) -> None:
        self._calls = S3Calls.of(client, bucket, storage_class=storage_class, sse=sse, kms_key_id=kms_key_id, tags=tags)
        self._buffers = buffers
        self._single_put_max = single_put_max
        self._part_size = part_size
        self._clock = clock
        self._log = log
        self._checkpoint = checkpoint
        self._patience = Patience(sleep, jitter, clock, busy)
        self._settler = Settler(self._calls, self._patience, checkpoint)

    def put(self, key: str, body: Body, *, metadata: Mapping[str, str], journal: UploadJournal) -> StoredObject:
        """See `archiver.ports.store.ObjectStore`; raises ValueError for metadata that is not printable ASCII."""
        labels = Labels(body.content_type, metadata)
        with self._buffers.buffer(self._buffer_size(body.length)) as buffer:
            source = Source(body, buffer)
            first = source.next()
            if source.ended:
                return self._put_whole(key, source.content(first), labels)
            upload = Multipart(self._calls, self._settler, self._patience, self._checkpoint, self._log, journal, key)
            return upload.put(source, first, labels)

    def find(self, key: str, *, size: int, sha256: str) -> StoredObject | None:
        """See `archiver.ports.store.ObjectStore`; reads back an object that has the right size."""

        def look() -> StoredObject | None:
            answer = self._calls.head(key)
            if answer["ContentLength"] != size or self._calls.sha256(key, answer["ETag"]) != sha256:
                return None
            return stored_object(key, Content(size, sha256), answer)

        try:
            return self._patience.over(look)
        except Absent:
            return None

    def put_document(self, key: str, data: bytes, *, same: Callable[[bytes], bool]) -> StoredObject:
        """See `archiver.ports.store.ObjectStore`; raises KeyTaken for an object too large to be a sidecar."""
        tries = self._patience.begin()
        while True:
            try:
                stored = self._try_document(key, Content.of(data), data, same)
            except StoreBusy as fault:
                tries.after(fault)
            else:
                self._checkpoint("document.put")
                return stored

    def abort(self, key: str, upload_id: str) -> None:
        """See `archiver.ports.store.ObjectStore`."""
        with suppress(Absent):
            self._patience.over(lambda: self._calls.abort(key, upload_id))
        self._checkpoint("multipart.aborted")

    def uploads(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
        """Key, upload id and begin of every open multipart upload under `prefix`, whoever began it.

        Also names those whose id never reached a journal: the process was killed, or the answer was
        lost, just when the store had made them. Raises StoreBusy or StorePaused.
        """
        return self._calls.uploads(prefix)

    def probe(self, key: str) -> Iterator[Finding]:
        """Find out, for `check`, whether the bucket does what integrity needs; see `probe.probe`."""
        return probe(self._calls, key, clock=self._clock)

    def close(self) -> None:
        """Close the idle connections, the client's too."""
        self._calls.close()

    def _buffer_size(self, length: int | None) -> int:
        if length is None:
            return max(self._single_put_max, self._part_size)
        if length <= self._single_put_max:
            return max(length, 1)
        return max(self._part_size, -(-length // MOST_PARTS))

    def _put_whole(self, key: str, content: Content, labels: Labels) -> StoredObject:
        self._checkpoint("put.begun")

        def send() -> StoredObject | None:
            answer = self._calls.put(key, content, labels, IfNoneMatch="*")
            self._checkpoint("put.done")
            return stored_object(key, content, answer) if content.named_by(answer) else None

        return self._settler.settle(key, content, send)

    def _try_document(self, key: str, content: Content, data: bytes, same: Callable[[bytes], bool]) -> StoredObject:
        try:
            return self._write_document(key, content, IfNoneMatch="*")
        except Conflict:
            theirs, etag = self._calls.read(key, limit=DOCUMENT_LIMIT)
        if theirs is None:
            raise KeyTaken(f"{key}: an object too large to be ours stands there")
        if theirs == data or same(theirs):
            return stored_object(key, Content.of(theirs), {"ETag": etag})
        return self._write_document(key, content, IfMatch=etag)

    def _write_document(self, key: str, content: Content, **condition: str) -> StoredObject:
        answer = self._calls.put(key, content, DOCUMENT, **condition)
        if content.named_by(answer):
            return stored_object(key, content, answer)
        if stored := self._settler.look(key, content):
            return stored
        raise StoreBusy(f"{key}: the store said yes, but shows no such object")
