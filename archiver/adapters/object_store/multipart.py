"""One upload in parts, written down before its first part and left open by no exit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from archiver.adapters.object_store.calls import Labels, Part, S3Calls
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.faults import Absent
from archiver.adapters.object_store.pieces import Pieces
from archiver.adapters.object_store.reconcile import Reconciler
from archiver.adapters.object_store.retries import Retries
from archiver.core.errors import ArchiverError, StoreBusy
from archiver.core.model import StoredObject
from archiver.ports.runtime import Checkpoint, EventLog
from archiver.ports.store import UploadJournal


def _once(work: Callable[[], None]) -> None:
    work()


@dataclass(frozen=True, slots=True)
class Multipart:
    """Uploads to one key; `put` is all its life."""

    calls: S3Calls
    reconciler: Reconciler
    retries: Retries
    checkpoint: Checkpoint
    log: EventLog | None
    journal: UploadJournal
    key: str

    def put(self, pieces: Pieces, first: memoryview, labels: Labels) -> StoredObject:
        """Upload `first` and all that `pieces` still gives; see `archiver.ports.store.ObjectStore.put`."""
        self.journal.opening(self.key)
        upload_id = self.retries.call(lambda: self.calls.create(self.key, labels))
        content = None
        try:
            self.checkpoint("multipart.created")
            self.journal.opened(self.key, upload_id)
            parts = self._send(upload_id, pieces, first)
            self.checkpoint("multipart.completing")
            content = pieces.content()
            stored, answered = self._complete(upload_id, parts, content)
        except StoreBusy:
            found = self._discard(upload_id) and content and self.reconciler.look(self.key, content)
            if not found:
                raise
            return found
        except BaseException:
            self._discard(upload_id)
            raise
        if answered:
            self.journal.closed(self.key, upload_id)
        else:
            # An equal object of another writer may stand there, with our upload still open beside it.
            self._discard(upload_id, self.retries.call)
        return stored

    def _send(self, upload_id: str, pieces: Pieces, piece: memoryview) -> list[Part]:
        parts: list[Part] = []
        while True:
            parts.append(self._part(upload_id, len(parts) + 1, piece, pieces.crc32_of(piece)))
            self.checkpoint("multipart.part")
            if pieces.ended:
                return parts
            piece = pieces.next()

    def _part(self, upload_id: str, number: int, piece: memoryview, crc32: int) -> Part:
        return self.retries.call(lambda: self.calls.part(self.key, upload_id, number, piece, crc32))

    def _complete(self, upload_id: str, parts: list[Part], content: Content) -> tuple[StoredObject, bool]:
        """Return the object, and whether the store's own answer says that it is of this upload."""
        answered = False

        def send() -> None:
            nonlocal answered
            self.calls.complete(self.key, upload_id, parts, content)
            answered = True
            self.checkpoint("multipart.completed")

        return self.reconciler.write(self.key, content, send), answered

    def _discard(self, upload_id: str, call: Callable[[Callable[[], None]], None] = _once) -> bool:
        """Abort; return whether the store knows no such upload: it was completed, or another aborted it.

        Where the abort is not certain the journal keeps the upload, for the next sweep.
        """
        gone = False
        try:
            call(lambda: self.calls.abort(self.key, upload_id))
        except Absent:
            gone = True
        except ArchiverError as error:
            if self.log:
                self.log.warning("upload.abort_deferred", key=self.key, reason=str(error), hint=error.hint)
            return False
        self.journal.closed(self.key, upload_id)
        self.checkpoint("multipart.aborted")
        return gone
