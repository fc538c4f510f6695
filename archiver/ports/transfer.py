"""Audio on its way: the client that fetches it, the body that flows, and the threads and memory it flows through."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from archiver.core.errors import Preempted
from archiver.core.model import StoredObject
from archiver.core.records.kinds.names import Media
from archiver.core.transfer import Transfer

Received = Callable[[int], None]
"""Called with the bytes that came since the last call, several times a second; what it raises ends the body."""


def uncounted(size: int) -> None:
    """Count nothing."""


class Suspended(Preempted):
    """A body was broken off where it can go on, from the byte at which it was and from no other version."""

    def __init__(self, came: int) -> None:
        super().__init__()
        self.came = came
        """Bytes that came so far."""
        self.resume: Callable[[Received], AbstractContextManager[Download]] | None = None
        """Hands out the body again, as Downloader.open does; its next readinto asks for the rest. By the downloader."""
        self.upload: Upload | None = None
        """The part that has reached the bucket. By the store."""


class Upload(Protocol):
    """One object on its way into the bucket, whose body was suspended."""

    def go_on(self, body: Body) -> StoredObject:
        """Store the rest; as ObjectStore.put, which may be suspended again."""

    def abandon(self) -> None:
        """Leave no part behind, or the journal still names the upload. Never raises an ArchiverError."""


@dataclass(slots=True, eq=False)
class Aside:
    """A place for what a buffer holds while its transfer is suspended."""

    block: bytearray | None = None
    """None once the memory was needed."""
    intact: bool = False
    """True where the buffer lent last holds what it held when it was put aside."""


class TransferPool(Protocol):
    """The threads that move stems, shared by all tasks."""

    def submit(self, transfer: Transfer, work: Callable[[], None]) -> Future[None]:
        """Run `work`, which moves `transfer`, fairly, the earliest deadline first; again where it raised Preempted.

        The future raises Preempted where the whole task was given up.
        """

    def announced(self, transfer: Transfer, length: int | None) -> None:
        """Note how many bytes are to come."""

    def received(self, transfer: Transfer, size: int) -> timedelta:
        """Note that a block came; return how long the transfer has run. Raises Preempted when it is to end now."""

    def put_off(self, hosts: Collection[str], *, dropped: bool = False) -> timedelta | None:
        """Return how long a task with stems on these hosts is to wait; None: not at all. `dropped`: it was given up."""

    def held_up(self) -> bool:
        """Return whether half of the workers are, or were of late, at what slow hosts or silent ones hold up."""

    def moved(self, host: str, size: int) -> None:
        """Note that `size` bytes came from `host`: the pool may find out by this how many at a time are worth it."""


class Body(Protocol):
    """Audio as it flows in, verified: a reader that cannot end early without raising."""

    @property
    def length(self) -> int | None:
        """Bytes announced by the origin; None when it announced none."""

    @property
    def extension(self) -> str:
        """The extension by the first bytes, never by the URL: mp3, wav, flac, ogg, m4a, aiff, aac and kin."""

    @property
    def content_type(self) -> str:
        """The media type that belongs to `extension`."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` and return its size, or, only at the body's verified end, the fewer bytes left.

        Raises BodyShort, BodySlow, BodyLong, BodyChanged, BodyTooLarge or OriginBusy.
        After Suspended it is to be given the same buffer again, or one of that size after `forget`.
        """

    def forget(self) -> None:
        """Know that what the suspended readinto had put into its buffer is lost: it is to be asked for again."""

    @property
    def sha256(self) -> str:
        """Lower-case hex of all bytes handed out; final once readinto returned less than asked."""

    @property
    def size(self) -> int:
        """Bytes handed out so far."""


class Download(Body, Protocol):
    """A body of the CDN, which knows what sound it should be."""

    def doubt(self, duration: float | None) -> str:
        """Return why the whole body may not be what it should be; empty where nothing shows it.

        It may be of no known format, have no sound in it, or be far shorter than `duration`, in seconds as the record
        says.
        """


class Downloader(Protocol):
    """The anonymous client of the CDN."""

    def open(
        self, url: str, received: Received = uncounted, *, media: Media = Media.AUDIO
    ) -> AbstractContextManager[Download]:
        """GET `url`, judge status, address and first bytes, which must be of that media, and hand out the body.

        Calls `received` with what came, several times a second.
        Raises OriginBusy, LinkSpent, BodyNotAudio, BodyEmpty, BodyTooLarge or AddressForbidden.
        """


class Buffers(Protocol):
    """The one budget of memory that all transfers share."""

    @property
    def most(self) -> int:
        """Bytes of the largest buffer that can ever be lent."""

    def buffer(self, size: int, aside: Aside | None = None) -> AbstractContextManager[memoryview]:
        """Wait, in order of arrival, for `size` bytes' share and lend a buffer of exactly that size.

        Its contents are whatever the last borrower left. Ask for one at a time: a thread that already
        holds one must not wait for another. Raises StoreBusy once the budget is closed.
        On Suspended the buffer is put `aside`, for the next call with it; there it stays while there is room.
        """

    def give_up(self, aside: Aside) -> None:
        """Let go of what is put aside."""
