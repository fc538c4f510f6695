"""A store whose client cannot be made yet: the configuration, or the credentials that it names, are broken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from archiver.adapters.object_store.archive import LateArchive
from archiver.core.capabilities import Capabilities, CreateOnly
from archiver.core.errors import StoreBusy, StorePaused
from archiver.core.model import StoredObject
from archiver.core.reports import Finding
from archiver.ports.store import Successor, UploadJournal
from archiver.ports.transfer import Body

if TYPE_CHECKING:
    from archiver.adapters.object_store.store import S3Store


class LateStore:
    """Makes the store at once, or else at the next call: each raises what keeps it from being made.

    So a process begins with broken credentials as it goes on when they break later: paused, and probed.
    """

    def __init__(self, make: Callable[[], S3Store]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: S3Store | None = None
        self._relied: tuple[Capabilities, CreateOnly] | None = None
        self.archive = LateArchive(lambda: self._store().archive)
        with suppress(StorePaused, StoreBusy):
            self._store()

    def _store(self) -> S3Store:
        with self._lock:
            if self._made is None:
                self._made = self._make()
                if self._relied is not None:
                    self._made.rely_on(*self._relied)
            return self._made

    def renew(self) -> None:
        """Make the store anew, with the credentials and certificates of now; what is under way ends on the old one.

        Raises StorePaused or StoreBusy where it cannot be made: the old one stays then.
        """
        made = self._make()
        with self._lock:
            old, self._made = self._made, made
            if self._relied is not None:
                made.rely_on(*self._relied)
        if old is not None:
            old.close()

    def prove(self, key: str) -> Capabilities:
        """See S3Store."""
        return self._store().prove(key)

    def rely_on(self, known: Capabilities, demand: CreateOnly) -> None:
        """See S3Store; a store that is made later relies on it too."""
        with self._lock:
            self._relied = known, demand
            if self._made is not None:
                self._made.rely_on(known, demand)

    def put(self, key: str, body: Body, *, metadata: Mapping[str, str], journal: UploadJournal) -> StoredObject:
        """See S3Store."""
        return self._store().put(key, body, metadata=metadata, journal=journal)

    def find(self, key: str, *, size: int, sha256: str) -> StoredObject | None:
        """See S3Store."""
        return self._store().find(key, size=size, sha256=sha256)

    def put_document(
        self, key: str, data: bytes, *, same: Callable[[bytes], bool], instead: Successor | None = None
    ) -> StoredObject:
        """See S3Store."""
        return self._store().put_document(key, data, same=same, instead=instead)

    def try_write(self, key: str) -> None:
        """See S3Store."""
        self._store().try_write(key)

    def abort(self, key: str, upload_id: str) -> None:
        """See S3Store."""
        self._store().abort(key, upload_id)

    def uploads(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
        """See S3Store."""
        return self._store().uploads(prefix)

    def probe(
        self,
        key: str,
        demand: CreateOnly = CreateOnly.REQUIRED,
        proven: Callable[[Capabilities], None] = lambda _: None,
    ) -> Iterator[Finding]:
        """See S3Store; a store that cannot be made is the only finding."""
        try:
            store = self._store()
        except (StorePaused, StoreBusy) as error:
            yield Finding("fail", "bucket", str(error), error.hint)
        else:
            yield from store.probe(key, demand, proven)

    def race(self, key: str) -> Finding:
        """See S3Store."""
        return self._store().race(key)

    def close(self) -> None:
        """Close it, if it was made."""
        if self._made is not None:
            self._made.close()
