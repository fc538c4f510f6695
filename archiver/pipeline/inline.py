"""Files that stand in the record itself: written by us, and stored as those that are fetched."""

from __future__ import annotations

import hashlib

from archiver.core.errors import NotTaken
from archiver.core.model import Claim, RecordInfo, StemRow
from archiver.core.records.again import source_of
from archiver.core.records.kinds.names import KindName
from archiver.core.records.record import record_in
from archiver.core.written import WrittenFile, written


def is_inline(row: StemRow) -> bool:
    """Return whether the stem's file stands in the record: nothing is asked for."""
    return row.url == "" and not row.not_taken


def file_in(claim: Claim, answer: RecordInfo | None, row: StemRow) -> WrittenFile:
    """Return the file of that stem out of the record; raise NotTaken where it holds it no more.

    `answer` is the record as it was just read; without one it is read from what the claim keeps of it.
    """
    record = answer or record_in(claim.document, claim.kind or KindName.SEPARATION)
    source = source_of(row, record.stems, claim.stems)
    if source is None or source.content is None:
        raise NotTaken("the record holds it no more")
    return written(source.content, source.written_as)


class InlineBody:
    """Satisfies archiver.ports.transfer.Download."""

    def __init__(self, file: WrittenFile) -> None:
        self._data = file.data
        self.length = len(file.data)
        self.extension = file.extension
        self.content_type = file.content_type
        self.size = 0

    @property
    def sha256(self) -> str:
        """Lower-case hex of all bytes handed out so far."""
        return hashlib.sha256(self._data[: self.size]).hexdigest()

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`, or return the fewer bytes that are left."""
        piece = self._data[self.size : self.size + len(buffer)]
        buffer[: len(piece)] = piece
        self.size += len(piece)
        return len(piece)

    def forget(self) -> None:
        """Do nothing: it is never suspended."""

    def doubt(self, duration: float | None) -> str:
        """Return the empty string: it is what the record says."""
        del duration
        return ""
