"""Files that stand in the record itself: written by us, and stored as those that are fetched."""

from __future__ import annotations

import hashlib

from archiver.core.errors import NotTaken
from archiver.core.model import Claim, RecordInfo, StemName, StemRow
from archiver.core.records.kinds.names import KindName
from archiver.core.records.record import record_in
from archiver.core.written import WrittenFile, written


def is_inline(row: StemRow) -> bool:
    """Return whether the stem's file stands in the record: nothing is asked for."""
    return row.url == "" and not row.not_taken


def file_in(claim: Claim, answer: RecordInfo | None, name: StemName) -> WrittenFile:
    """Return the file that the record holds under that name; raise NotTaken where it holds none.

    `answer` is the record as it was just read; without one it is read from what the claim keeps of it.
    """
    record = answer or record_in(claim.document, claim.kind or KindName.SEPARATION)
    for source in record.stems:
        if source.name == name and source.content is not None:
            return written(source.content, source.written_as)
    raise NotTaken("the record holds it no more")


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
