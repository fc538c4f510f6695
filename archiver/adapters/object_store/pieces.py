"""A verified body, cut into pieces of which the last one is known."""

from __future__ import annotations

from archiver.adapters.object_store.checksums import Checksum, ChecksumKind
from archiver.adapters.object_store.content import Content
from archiver.core.errors import BodyEmpty, BodyLong, Preempted, StoreCorrupt
from archiver.ports.transfer import Body, Suspended


class Pieces:
    """A body, read piece by piece into one borrowed buffer.

    A piece is called the last only once the body itself has said so, by returning less than asked; after
    a full buffer one more byte is asked for. So nothing is completed before the body's end is verified.
    """

    def __init__(self, body: Body, buffer: memoryview, kind: ChecksumKind | None) -> None:
        """Read `body` into `buffer`; `kind` is that of the checksum which the whole is to have, if any."""
        self._body = body
        self._buffer = buffer
        self._ahead = memoryview(bytearray(1))
        self._carried = 0
        self._size = 0
        self._kind = kind
        self._whole = 0
        self.begin = ""
        """See Content.begin; of the first piece, and the byte after it, where that is not the last."""
        self.ended = False

    def go_on(self, body: Body, buffer: memoryview) -> None:
        """Read the suspended body on, into a buffer of the same size."""
        self._body, self._buffer = body, buffer

    def next(self) -> memoryview:
        """Return the next piece; it lies in the buffer, and is gone with the next call.

        Raises what the body raises, BodyEmpty for a body without bytes, and BodyLong past its length.
        """
        self._buffer[: self._carried] = self._ahead[: self._carried]
        wanted = self._buffer[self._carried :]
        got = self._body.readinto(wanted)
        self.ended = got < len(wanted) or not self._look_ahead()
        piece = self._buffer[: self._carried + got]
        self._carried = 0 if self.ended else 1
        self._size += len(piece)
        if not self._size:
            raise BodyEmpty("the body has no bytes")
        length = self._body.length
        if length is not None and self._size + self._carried > length:
            raise BodyLong(f"more bytes came than the {length} announced")
        if not self.ended and not self.begin:
            self.begin = f"{self._body.size}:{self._body.sha256}"
        return piece

    def _look_ahead(self) -> int:
        try:
            return self._body.readinto(self._ahead)
        except Suspended as suspended:
            raise Preempted from suspended  # the piece before it would be lost

    def checksum_of(self, piece: memoryview) -> Checksum | None:
        """Return the checksum of `piece` and take it into that of the whole; call it once for each piece."""
        if self._kind is None:
            return None
        alone = self._kind.over(piece)
        self._whole = self._kind.joined(self._whole, alone.value, len(piece))
        return alone

    def content(self, data: memoryview | None = None) -> Content:
        """Return what the whole body was, once it has ended; `data` when it is all there in memory."""
        if self._body.size != self._size:
            raise StoreCorrupt(f"the body counted {self._body.size} bytes, but {self._size} came through")
        whole = None if data is not None or self._kind is None else Checksum(self._kind, self._whole)
        return Content(self._size, self._body.sha256, data, whole, self.begin)
