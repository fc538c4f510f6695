"""S3Store: the bucket, as the pipeline sees it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from archiver.adapters.object_store.archive import S3Archive
from archiver.adapters.object_store.asking import Asking
from archiver.adapters.object_store.calls import Answer, Labels, ObjectOptions, S3Calls, stored_object
from archiver.adapters.object_store.checksums import kind_of
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.damaged import DamagedObjects
from archiver.adapters.object_store.document import DOCUMENT, Document
from archiver.adapters.object_store.faults import Absent, Conflict
from archiver.adapters.object_store.multipart import Multipart
from archiver.adapters.object_store.probe import probe
from archiver.adapters.object_store.proving import Prober
from archiver.adapters.object_store.race import race
from archiver.adapters.object_store.reconcile import Reconciler
from archiver.adapters.object_store.retries import Retries
from archiver.adapters.object_store.upload import Upload
from archiver.core.capabilities import Capabilities, CreateOnly, Listing
from archiver.core.errors import (
    AccessRefused,
    CredentialsMissing,
    CredentialsRefused,
    StoreMisfit,
    StoreUnfit,
    StoreUnproven,
)
from archiver.core.model import StoredObject
from archiver.core.profiles import MOST_PARTS
from archiver.core.refusals import NoMultipart
from archiver.core.reports import Finding
from archiver.ports.runtime import UNWATCHED, Checkpoint, Clock, EventLog, Jitter, Watch, unobserved
from archiver.ports.store import Successor, UploadJournal
from archiver.ports.transfer import Body, Buffers

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1024 * 1024
_TRIAL = b"{}"
PUT_LIMIT = 5 * 1024 * MIB
"""Bytes; Amazon S3's limit of one PutObject."""


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
        self._damaged = DamagedObjects()
        self._writer: Reconciler | None = None
        self.archive = S3Archive(self._calls, self._retries)

    def prove(self, key: str) -> Capabilities:
        """See `archiver.ports.store.ProvableStore`."""
        return Prober(Asking(self._calls, self._retries, self._clock), key).prove()

    def rely_on(self, known: Capabilities, demand: CreateOnly) -> None:
        """See `archiver.ports.store.ProvableStore`."""
        self._writer = Reconciler(self._calls, self._retries, self._checkpoint, self._damaged, known, demand)

    def _sure(self) -> Reconciler:
        """Return what writes by what was proven; raise StoreUnproven or StoreUnfit."""
        writer = self._writer
        if writer is None:
            raise StoreUnproven("nobody has proven yet what the store can do")
        if not writer.known.create_only and writer.demand is CreateOnly.REQUIRED:
            raise StoreUnfit("the store overwrites in spite of If-None-Match")
        return writer

    def put(self, key: str, body: Body, *, metadata: Mapping[str, str], journal: UploadJournal) -> StoredObject:
        """See `archiver.ports.store.ObjectStore`; raises ValueError for metadata that is not printable ASCII."""
        labels, writer = Labels(body.content_type, metadata), self._sure()
        in_one = writer.known.large_as_one(writer.demand)
        kind = kind_of(writer.known.multipart)
        parts = Multipart(self._calls, writer, self._retries, self._checkpoint, self._log, journal, key, kind)
        size = self._largest_whole(key, body.length) if in_one else self._sizes.buffer_for(body.length)
        return Upload(self._buffers, size, labels, parts, partial(self._put_whole, writer), in_one).go_on(body)

    def _largest_whole(self, key: str, length: int | None) -> int:
        """Return the buffer for a body that must go in one PutObject; raise NoMultipart before it is fetched."""
        most = min(self._buffers.most, PUT_LIMIT)
        if length is not None and length > most:
            raise NoMultipart(f"{key}: {length} bytes, and the store takes no safe upload in parts; {most} fit in one")
        return most if length is None else max(length, 1)

    def find(self, key: str, *, size: int, sha256: str) -> StoredObject | None:
        """See `archiver.ports.store.ObjectStore`; reads back an object that has the right size."""

        def look() -> StoredObject | None:
            answer = self._calls.head(key, bare=True)
            if answer["ContentLength"] != size or self._calls.sha256(key, answer.get("ETag") or "") != sha256:
                return None
            return stored_object(key, Content(size, sha256), answer)

        try:
            return self._retries.call(look)
        except Absent:
            return None

    def put_document(
        self, key: str, data: bytes, *, same: Callable[[bytes], bool], instead: Successor | None = None
    ) -> StoredObject:
        """See `archiver.ports.store.ObjectStore`; raises KeyTaken for an object too large to be a sidecar."""
        stored = Document(self._calls, self._sure(), key, data, same, instead).put()
        self._checkpoint("document.put")
        return stored

    def try_write(self, key: str) -> None:
        """See `archiver.ports.store.ObjectStore`: begin and abort an upload, put an object, look at it.

        Where only uploads in parts are refused the store still works: for all that is small.
        """
        writer = self._sure()
        self._retries.call(lambda: self._try_upload(key, writer))
        self._retries.call(lambda: self._try_put(key, writer))

    def _try_upload(self, key: str, writer: Reconciler) -> None:
        if writer.known.large_as_one(writer.demand):
            return
        try:
            upload_id = self._calls.create(key, DOCUMENT, kind_of(writer.known.multipart))
        except (CredentialsMissing, CredentialsRefused):
            raise
        except (StoreMisfit, AccessRefused):
            return
        self._calls.abort(key, upload_id)

    def _try_put(self, key: str, writer: Reconciler) -> None:
        if writer.known.create_only:
            with suppress(Conflict):
                self._calls.put(key, Content.of(_TRIAL), DOCUMENT, IfNoneMatch="*")
        bare = not writer.known.names_etag
        try:
            self._calls.head(key, bare=bare)
        except Absent:
            if writer.known.create_only:
                raise
            self._calls.put(key, Content.of(_TRIAL), DOCUMENT)

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
        way = Listing.PREFIX if self._writer is None else self._writer.known.listing
        if way is Listing.NONE:
            return iter(())
        if way is Listing.WHOLE:
            return (upload for upload in self._calls.uploads("") if upload[0].startswith(prefix))
        return self._calls.uploads(prefix)

    def probe(
        self,
        key: str,
        demand: CreateOnly = CreateOnly.REQUIRED,
        proven: Callable[[Capabilities], None] = lambda _: None,
    ) -> Iterator[Finding]:
        """Find out, for `check`, whether the bucket does what integrity needs; see `probe.probe`."""
        return probe(Asking(self._calls, self._retries, self._clock), key, demand, proven)

    def race(self, key: str) -> Finding:
        """Find out, for `check --race`, whether create-only writes are atomic; see `race.race`."""
        return race(Asking(self._calls, self._retries, self._clock), key)

    def close(self) -> None:
        """Close the idle connections, the client's too."""
        self._calls.close()

    def _put_whole(self, writer: Reconciler, key: str, content: Content, labels: Labels) -> StoredObject:
        self._checkpoint("put.begun")
        labels = labels.naming(content)

        def send(condition: Mapping[str, str]) -> Answer:
            answer = self._calls.put(key, content, labels, **condition)
            self._checkpoint("put.done")
            return answer

        return writer.write(key, content, send)
