"""S3Store: the bucket, as the pipeline sees it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from archiver.adapters.object_store.asking import Asking
from archiver.adapters.object_store.calls import Labels, ObjectOptions, S3Calls, stored_object
from archiver.adapters.object_store.checksums import KINDS
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.faults import Absent, Conflict
from archiver.adapters.object_store.multipart import Multipart
from archiver.adapters.object_store.probe import probe
from archiver.adapters.object_store.proving import Prober
from archiver.adapters.object_store.reconcile import Reconciler, hidden
from archiver.adapters.object_store.retries import Retries
from archiver.adapters.object_store.upload import Upload
from archiver.core.capabilities import Capabilities, CreateOnly
from archiver.core.errors import KeyTaken, StoreBusy
from archiver.core.model import StoredObject
from archiver.core.reports import Finding
from archiver.ports.runtime import UNWATCHED, Checkpoint, Clock, EventLog, Jitter, Watch, unobserved
from archiver.ports.store import UploadJournal
from archiver.ports.transfer import Body, Buffers

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1024 * 1024
DOCUMENT = Labels("application/json")
_TRIAL = b"{}"
DOCUMENT_LIMIT = 4 * MIB
"""Bytes; a larger object under a sidecar's key is none of ours."""
MOST_PARTS = 10_000
"""Amazon S3's limit of parts in one upload (its user guide, "multipart upload limits")."""


@dataclass(frozen=True, slots=True)
class PutSizes:
    """Bytes up to which an object goes in one PutObject, and of each part of a larger one."""

    single_max: int = 16 * MIB
    part: int = 8 * MIB

    def buffer_for(self, length: int | None) -> int:
        """Return the bytes of memory that a body of `length` bytes needs at once; None where it names no length."""
        if length is None:
            return max(self.single_max, self.part)
        if length <= self.single_max:
            return max(length, 1)
        return max(self.part, -(-length // MOST_PARTS))


class S3Store:
    """A bucket on any S3 that knows If-None-Match and checksums; satisfies `archiver.ports.store.ObjectStore`.

    A body goes in one PutObject under its SHA-256, or, as `sizes` say, in parts under a CRC-32 of the whole.
    Nothing is trusted: an object counts as stored once the store has named our checksum, or a read-back has.
    Safe to share among threads.

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
        options: ObjectOptions = ObjectOptions(),  # noqa: B008 - it is frozen
        sizes: PutSizes = PutSizes(),
        log: EventLog | None = None,
        on_busy: Callable[[], None] = lambda: None,
        checkpoint: Checkpoint = unobserved,
        watch: Watch = UNWATCHED,
    ) -> None:
        self._calls = S3Calls.of(client, bucket, options, watch)
        self._buffers = buffers
        self._sizes = sizes
        self._clock = clock
        self._log = log
        self._checkpoint = checkpoint
        self._retries = Retries(sleep, jitter, clock, on_busy)
        self._known = Capabilities()
        self._demand = CreateOnly.REQUIRED
        self._reconciler = Reconciler(self._calls, self._retries, checkpoint)

    def prove(self, key: str) -> Capabilities:
        """See `archiver.ports.store.ProvableStore`."""
        return Prober(Asking(self._calls, self._retries, self._clock), key).prove()

    def rely_on(self, known: Capabilities, demand: CreateOnly) -> None:
        """See `archiver.ports.store.ProvableStore`."""
        self._known, self._demand = known, demand

    def put(self, key: str, body: Body, *, metadata: Mapping[str, str], journal: UploadJournal) -> StoredObject:
        """See `archiver.ports.store.ObjectStore`; raises ValueError for metadata that is not printable ASCII."""
        labels = Labels(body.content_type, metadata)
        kind = KINDS.get(self._known.multipart)
        parts = Multipart(self._calls, self._reconciler, self._retries, self._checkpoint, self._log, journal, key, kind)
        size = self._sizes.buffer_for(body.length)
        return Upload(self._buffers, size, labels, parts, self._put_whole).go_on(body)

    def find(self, key: str, *, size: int, sha256: str) -> StoredObject | None:
        """See `archiver.ports.store.ObjectStore`; reads back an object that has the right size."""

        def look() -> StoredObject | None:
            answer = self._calls.head(key)
            if answer["ContentLength"] != size or self._calls.sha256(key, answer["ETag"]) != sha256:
                return None
            return stored_object(key, Content(size, sha256), answer)

        try:
            return self._retries.call(look)
        except Absent:
            return None

    def put_document(self, key: str, data: bytes, *, same: Callable[[bytes], bool]) -> StoredObject:
        """See `archiver.ports.store.ObjectStore`; raises KeyTaken for an object too large to be a sidecar."""
        content = Content.of(data)
        stored = self._retries.call(lambda: self._try_document(key, content, data, same), final=())
        self._checkpoint("document.put")
        return stored

    def try_write(self, key: str) -> None:
        """See `archiver.ports.store.ObjectStore`: begin and abort an upload, put an object, look at it."""

        def send() -> None:
            self._calls.abort(key, self._calls.create(key, DOCUMENT, KINDS.get(self._known.multipart)))
            with suppress(Conflict):
                self._calls.put(key, Content.of(_TRIAL), DOCUMENT, IfNoneMatch="*")
            self._calls.head(key)

        self._retries.call(send)

    def abort(self, key: str, upload_id: str) -> None:
        """See `archiver.ports.store.ObjectStore`."""
        with suppress(Absent):
            self._retries.call(lambda: self._calls.abort(key, upload_id))
        self._checkpoint("multipart.aborted")

    def uploads(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
        """Yield key, upload id and begin of every open multipart upload under `prefix`, whoever began it.

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

    def _put_whole(self, key: str, content: Content, labels: Labels) -> StoredObject:
        self._checkpoint("put.begun")

        def send() -> StoredObject | None:
            answer = self._calls.put(key, content, labels, IfNoneMatch="*")
            self._checkpoint("put.done")
            return stored_object(key, content, answer) if content.named_by(answer, self._known) else None

        return self._reconciler.write(key, content, send)

    def _try_document(self, key: str, content: Content, data: bytes, same: Callable[[bytes], bool]) -> StoredObject:
        try:
            return self._write_document(key, content, IfNoneMatch="*")
        except Conflict:
            with hidden(key):
                theirs, etag = self._calls.read(key, limit=DOCUMENT_LIMIT)
        if theirs is None:
            raise KeyTaken(f"{key}: an object too large to be ours stands there")
        if theirs == data or same(theirs):
            return stored_object(key, Content.of(theirs), {"ETag": etag})
        return self._write_document(key, content, IfMatch=etag)

    def _write_document(self, key: str, content: Content, **condition: str) -> StoredObject:
        answer = self._calls.put(key, content, DOCUMENT, **condition)
        if content.named_by(answer, self._known):
            return stored_object(key, content, answer)
        if stored := self._reconciler.look(key, content):
            return stored
        raise StoreBusy(f"{key}: the store said yes, but shows no such object")
