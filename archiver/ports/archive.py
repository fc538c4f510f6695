"""The archive, as it is read: what stands in the bucket, without the ledger and without a write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as a listing shows it. Its key is whatever somebody wrote there: not to be trusted."""

    key: str
    size: int
    etag: str
    """Without quotes; empty where the store names none."""
    storage_class: str = ""


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """The store's description of one object, before any byte of it."""

    size: int
    etag: str
    """Without quotes; empty where the store names none."""
    content_type: str = ""
    storage_class: str = ""
    modified: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    checksums: Mapping[str, str] = field(default_factory=dict)
    """The store's own, by the names of boto3 (`ChecksumSHA256`, `ChecksumCRC32`, `ChecksumType`)."""


@dataclass(frozen=True, slots=True)
class FoundDocument:
    """A small object, read whole."""

    data: bytes
    head: ObjectHead


class ObjectBody(Protocol):
    """The bytes of one object from some offset on, as they come. Close it after use, in whatever way that ends."""

    @property
    def head(self) -> ObjectHead:
        """The whole object's; `size` is that of all its bytes."""

    def readinto(self, view: memoryview) -> int:
        """Receive some bytes into `view`; 0 only at the end of the object. Raises StoreBusy for a cut or a silence."""

    def close(self) -> None:
        """Give the connection back, or close it where bytes are left."""


class Bandwidth(Protocol):
    """The one limit on how many bytes a second come in. Safe to share among threads."""

    @property
    def on(self) -> bool:
        """True while `take` must be asked at all."""

    def take(self, most: int) -> int:
        """Wait until some bytes may be received, and return how many, `most` at most. Raises Interrupted."""

    def give_back(self, size: int) -> None:
        """Let others have bytes that were taken and did not come."""


class Links(Protocol):
    """Makes links to objects, for whoever holds no credentials."""

    def link(self, key: str, *, name: str, seconds: int) -> str:
        """Return a URL that gives the object for so many seconds, to be saved as `name`. It is a secret.

        Asks the store nothing. Raises StorePaused without credentials.
        """


class Archive(Protocol):
    """The bucket, read only. Safe to share among threads.

    Every method raises StoreBusy (after a few tries of its own), StorePaused where the store refuses us as a whole or
    this key (AccessRefused), and the errors of `archiver.core.reading` for what is the object's own.
    """

    def folders(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """Yield the names of the folders right under `prefix` (which ends in "/" or is empty), in the store's order.

        1,000 a request. Begins behind the folder `after`, which need not exist.
        """

    def objects(self, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        """Yield every object whose key begins with `prefix`, at whatever depth, from behind the key `after`."""

    def document(self, key: str, *, limit: int) -> FoundDocument | None:
        """Read a small object whole; None where there is none. Raises ObjectLong for one of more than `limit` bytes."""

    def head(self, key: str) -> ObjectHead | None:
        """Return what the store says of the object; None where there is none."""

    def open(self, key: str, *, offset: int = 0, etag: str = "") -> ObjectBody:
        """Begin to read at `offset`, which lies before the object's end.

        With an `etag` only that very object is read. Raises ObjectAbsent, ObjectChanged where another stands there or
        it ends before `offset`, ObjectCold, and otherwise as above.
        """


class Spans(Protocol):
    """Reads parts of objects, for those who need no more: the connection is fit for use again after each."""

    def span(self, key: str, begin: int, end: int, *, etag: str) -> ObjectBody:
        """Begin to read the bytes [begin, end) of that very object; otherwise as `Archive.open`."""


class BrowsedArchive(Archive, Links, Spans, Protocol):
    """The bucket, as people browse it."""
