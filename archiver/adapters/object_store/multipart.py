"""One upload in parts, written down before its first part and left open by no exit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from archiver.adapters.object_store.calls import Answer, Labels, Part, S3Calls
from archiver.adapters.object_store.checksums import Checksum, ChecksumKind
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.faults import Absent
from archiver.adapters.object_store.pieces import Pieces
from archiver.adapters.object_store.reconcile import Reconciler
from archiver.adapters.object_store.retries import Retries
from archiver.core.errors import ArchiverError, StoreBusy
from archiver.core.model import StoredObject
from archiver.ports.runtime import Checkpoint, EventLog
from archiver.ports.store import UploadJournal
from archiver.ports.transfer import Suspended


def _once(work: Callable[[], None]) -> None:
    work()


@dataclass(slots=True)
class Multipart:
    """An upload to one key: `put`, and `go_on` after each Suspended, are all its life; else `abandon` is."""

    calls: S3Calls
    reconciler: Reconciler
    retries: Retries
    checkpoint: Checkpoint
    log: EventLog | None
    journal: UploadJournal
    key: str
    kind: ChecksumKind | None
    """Of the checksum that the store is given of the whole, if any."""
    _upload_id: str = ""
    """Empty before the upload is made, and after its end."""
    _parts: list[Part] = field(default_factory=list)

    def put(self, pieces: Pieces, first: memoryview, labels: Labels) -> StoredObject:
        """Upload `first` and all that `pieces` still gives; see `archiver.ports.store.ObjectStore.put`."""
        self.journal.opening(self.key)
        labels = labels.beginning(pieces.begin)
        self._upload_id = self.retries.call(lambda: self.calls.create(self.key, labels, self.kind))
        return self._send_all(pieces, first)

    def go_on(self, pieces: Pieces) -> StoredObject:
        """Upload all that `pieces` still gives."""
        return self._send_all(pieces, None)

    def abandon(self) -> None:
        """Abort what there is of the upload."""
        if self._upload_id:
            self._discard()

    @property
    def is_begun(self) -> bool:
        """True while the upload is open."""
        return bool(self._upload_id)

    def _send_all(self, pieces: Pieces, first: memoryview | None) -> StoredObject:
        content = None
        try:
            if first is not None:
                self.checkpoint("multipart.created")
                self.journal.opened(self.key, self._upload_id)
            self._send(pieces, first)
            self.checkpoint("multipart.completing")
            content = pieces.content()
            stored, answered = self._complete(content)
        except Suspended:
            raise
        except StoreBusy:
            found = self._discard() and content and self.reconciler.look(self.key, content)
            if not found:
                raise
            return found
        except BaseException:
            self._discard()
            raise
        if answered:
            self.journal.closed(self.key, self._upload_id)
            self._upload_id = ""
        else:
            # An equal object of another writer may stand there, with our upload still open beside it.
            self._discard(self.retries.call)
        return stored

    def _send(self, pieces: Pieces, piece: memoryview | None) -> None:
        while not pieces.ended or piece is not None:
            piece = pieces.next() if piece is None else piece
            self._parts.append(self._part(len(self._parts) + 1, piece, pieces.checksum_of(piece)))
            self.checkpoint("multipart.part")
            piece = None

    def _part(self, number: int, piece: memoryview, checksum: Checksum | None) -> Part:
        return self.retries.call(lambda: self.calls.part(self.key, self._upload_id, number, piece, checksum))

    def _complete(self, content: Content) -> tuple[StoredObject, bool]:
        """Return the object, and whether the store's own answer says that it is of this upload."""
        answered = False

        def send(condition: Mapping[str, str]) -> Answer:
            nonlocal answered
            answer = self.calls.complete(self.key, self._upload_id, self._parts, content.checksum, **condition)
            answered = True
            self.checkpoint("multipart.completed")
            return answer

        return self.reconciler.write(self.key, content, send, in_parts=True), answered

    def _discard(self, call: Callable[[Callable[[], None]], None] = _once) -> bool:
        """Abort; return whether the store knows no such upload: it was completed, or another aborted it.

        Where the abort is not certain the journal keeps the upload, for the next sweep.
        """
        gone, upload_id, self._upload_id = False, self._upload_id, ""
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
