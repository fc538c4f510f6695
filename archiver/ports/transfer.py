"""Audio on its way: the client that fetches it, the body that flows, and the threads and memory it flows through."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol


class TransferPool(Protocol):
    """The threads that move stems, shared by all tasks."""

    def submit(self, deadline: datetime, work: Callable[[], None], host: str) -> Future[None]:
        """Run `work`, which fetches from `host`; the earliest deadline goes first."""

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
        """

    @property
    def sha256(self) -> str:
        """Lower-case hex of all bytes handed out; final once readinto returned less than asked."""

    @property
    def size(self) -> int:
        """Bytes handed out so far."""


class Downloader(Protocol):
    """The anonymous client of the CDN."""

    def open(self, url: str) -> AbstractContextManager[Body]:
        """GET `url`, judge status, address and first bytes, and hand out the body.

        Raises OriginBusy, LinkSpent, BodyNotAudio, BodyEmpty, BodyTooLarge or AddressForbidden.
        """


class Buffers(Protocol):
    """The one budget of memory that all transfers share."""

    def buffer(self, size: int) -> AbstractContextManager[memoryview]:
        """Wait, in order of arrival, for `size` bytes' share and lend a buffer of exactly that size.

        Its contents are whatever the last borrower left. Ask for one at a time: a thread that already
        holds one must not wait for another. Raises StoreBusy once the budget is closed.
        """
