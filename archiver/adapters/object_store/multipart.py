"""One upload in parts, written down before its first part and left open by no exit."""

from __future__ import annotations

from dataclasses import dataclass

from archiver.adapters.object_store.calls import Labels, Part, S3Calls
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.pieces import Pieces
from archiver.adapters.object_store.reconcile import Reconciler
from archiver.adapters.object_store.retries import Retries
from archiver.core.errors import ArchiverError
from archiver.core.model import StoredObject
from archiver.ports.runtime import Checkpoint, EventLog
from archiver.ports.store import UploadJournal


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
        upload_id = self.retries.call(lambda: self.calls.create(self.key, labels))
        try:
            self.checkpoint("multipart.created")
            self.journal.opened(self.key, upload_id)
            parts = self._send(upload_id, pieces, first)
            self.checkpoint("multipart.completing")
            stored = self._complete(upload_id, parts, pieces.content())
        except BaseException:
            self._discard(upload_id)
            raise
        self.journal.closed(self.key, upload_id)
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

    def _complete(self, upload_id: str, parts: list[Part], content: Content) -> StoredObject:
        answered = False

        def send() -> None:
            nonlocal answered
            self.calls.complete(self.key, upload_id, parts, content)
            answered = True
            self.checkpoint("multipart.completed")

        stored = self.reconciler.write(self.key, content, send)
        if not answered:
            # An equal object of another writer may stand there, with our upload still open beside it.
            self.retries.call(lambda: self.calls.abort(self.key, upload_id))
        return stored

    def _discard(self, upload_id: str) -> None:
        """Abort; where that is not certain the journal keeps the upload, for the next sweep."""
        try:
            self.calls.abort(self.key, upload_id)
        except ArchiverError as error:
            if self.log:
                self.log.warning("upload.abort_deferred", key=self.key, reason=str(error), hint=error.hint)
            return
        self.journal.closed(self.key, upload_id)
        self.checkpoint("multipart.aborted")
