"""One body on its way to one key, in one piece or in parts; it may be suspended, and go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from archiver.adapters.object_store.calls import Labels
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.multipart import Multipart
from archiver.adapters.object_store.pieces import Pieces
from archiver.core.model import StoredObject
from archiver.core.refusals import NoMultipart
from archiver.ports.transfer import Aside, Body, Buffers, Suspended


@dataclass(slots=True)
class Upload:
    """Satisfies `archiver.ports.transfer.Upload`.

    Parts that were stored stay. Of what had come of the next one nothing is lost while there is memory for it.
    """

    buffers: Buffers
    size: int
    """Bytes of the buffer."""
    labels: Labels
    parts: Multipart
    put_whole: Callable[[str, Content, Labels], StoredObject]
    in_one: bool = False
    """True where what does not fit into the buffer is refused, for in parts it would not be safe."""
    _aside: Aside = field(default_factory=Aside)
    _pieces: Pieces | None = None

    def go_on(self, body: Body) -> StoredObject:
        """See `archiver.ports.transfer.Upload`."""
        try:
            with self.buffers.buffer(self.size, self._aside) as buffer:
                if self._pieces is None:
                    self._pieces = Pieces(body, buffer, self.parts.kind)
                else:
                    if not self._aside.intact:
                        body.forget()
                    self._pieces.go_on(body, buffer)
                return self._store(self._pieces)
        except Suspended as suspended:
            suspended.upload = self
            raise
        except BaseException:
            self.abandon()
            raise

    def _store(self, pieces: Pieces) -> StoredObject:
        if self.parts.is_begun:
            return self.parts.go_on(pieces)
        first = pieces.next()
        if pieces.ended:
            return self.put_whole(self.parts.key, pieces.content(first), self.labels)
        if self.in_one:
            raise NoMultipart(
                f"{self.parts.key}: more than {len(first)} bytes, and the store takes no safe upload in parts"
            )
        return self.parts.put(pieces, first, self.labels)

    def abandon(self) -> None:
        """See `archiver.ports.transfer.Upload`."""
        self.parts.abandon()
        self.buffers.give_up(self._aside)
