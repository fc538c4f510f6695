"""The bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Protocol

from archiver.core.capabilities import Capabilities, CreateOnly, Proof
from archiver.core.model import StoredObject
from archiver.ports.transfer import Body

Successor = Callable[[bytes, str], bytes]
"""Returns what replaces an object of these bytes and this ETag."""


class UploadJournal(Protocol):
    """Where multipart uploads are written down before their first part."""

    def opening(self, key: str) -> None:
        """Write down that an upload to `key` is about to be made, whose id may never be learned."""

    def opened(self, key: str, upload_id: str) -> None:
        """Write down that the upload exists; durable when it returns."""

    def closed(self, key: str, upload_id: str) -> None:
        """Strike it out: completed, or aborted for certain."""


class ObjectStore(Protocol):
    """The bucket. Nothing in it is ever deleted, and audio is never overwritten."""

    def put(self, key: str, body: Body, *, metadata: Mapping[str, str], journal: UploadJournal) -> StoredObject:
        """Store the whole body under `key`, create-only and checksummed; return once it is complete.

        An equal object that already stands there is success. Raises KeyTaken for a different one,
        StoreBusy, StoreCorrupt or StorePaused; errors of the body pass through. On any exception no
        object and no part is left behind, or the journal still names the upload.
        """

    def find(self, key: str, *, size: int, sha256: str) -> StoredObject | None:
        """Return the object under `key` if it has just these bytes (hex SHA-256), else None.

        Raises StoreBusy or StorePaused.
        """

    def put_document(
        self, key: str, data: bytes, *, same: Callable[[bytes], bool], instead: Successor | None = None
    ) -> StoredObject:
        """Store a JSON sidecar, create-only.

        Where one stands already and `same(its bytes)` is true it is left; else it is replaced under
        If-Match, by what `instead` makes of its bytes and its ETag where that is given. Raises StoreBusy or
        StorePaused, and what `instead` raises.
        """

    def try_write(self, key: str) -> None:
        """Try what storing takes, under a key that is no task's, where a small object may stay behind.

        Raises StoreBusy or StorePaused.
        """

    def abort(self, key: str, upload_id: str) -> None:
        """Abort a multipart upload; one that is no longer there is success. Raises StoreBusy or StorePaused."""


class ProvableStore(Protocol):
    """The bucket, which relies on what it was proven to do, and writes nothing before."""

    def prove(self, key: str) -> Capabilities:
        """Try everything that guarantees rest on, under `key` and one beside it, which belong to no task.

        Both are written over, uploads that it opens are aborted. Raises StoreBusy or StorePaused.
        """

    def rely_on(self, known: Capabilities, demand: CreateOnly) -> None:
        """Write from now on as the store can; before, `put` and `put_document` raise StoreUnproven."""


class Proofs(Protocol):
    """Proofs of what buckets do. A store is named by endpoint, bucket and the settings that a proof holds for."""

    def of(self, store: str) -> Proof | None:
        """Return what this version of the probe found last; None where it never looked."""

    def note(self, store: str, proof: Proof) -> None:
        """Write down what it found."""


class UploadList(Protocol):
    """The multipart uploads that the bucket holds open, whoever began them."""

    def uploads(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
        """Key, upload id and begin of each under `prefix`. Raises StoreBusy or StorePaused."""

    def abort(self, key: str, upload_id: str) -> None:
        """As ObjectStore.abort."""
