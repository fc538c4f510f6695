"""One object out of the bucket, its SHA-256 proven as it flows, and gone on with where it broke off."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from archiver.core.errors import Interrupted, StoreBusy
from archiver.core.reading import ObjectChanged
from archiver.ports.archive import Archive, Bandwidth
from archiver.ports.transfer import Buffers, Received, uncounted

BLOCK = 256 * 1024
"""Bytes that are received and hashed at a time."""
READS = 3
"""Reads of a whole object that must agree before its bytes are called wrong."""
TRIES = 4
"""Tries in a row that bring no byte, after which an object is left unread."""
_FIRST_SECONDS = 0.5


class Sink(Protocol):
    """Where an object's bytes go."""

    def write(self, data: memoryview) -> None:
        """Take all of `data`."""

    def begin_again(self) -> None:
        """Throw away what was written."""


class WrongBytes(Exception):
    """The object is another than its manifest tells, each time that it was read; the message says how."""


@dataclass(frozen=True, slots=True)
class Fetching:
    """Parts that all transfers of one command share."""

    archive: Archive
    buffers: Buffers
    bandwidth: Bandwidth
    sleep: Callable[[float], object]
    """Waits so many seconds, or until the command is to end."""
    stopped: Callable[[], bool] = lambda: False
    received: Received = uncounted

    def fetch(self, key: str, size: int, sha256: str, into: Sink) -> None:
        """Write the object's bytes; return only where they are those of `sha256`.

        Raises WrongBytes, ObjectUnread and kin, StoreBusy, StorePaused, Interrupted once stopped, and OSError for what
        keeps them from being written.
        """
        found = ""
        with self.buffers.buffer(BLOCK) as view:
            for _ in range(READS):
                into.begin_again()
                found = _Read(self, key, size, into, view).whole()
                if found == sha256:
                    return
        raise WrongBytes(f"its bytes have the SHA-256 {found}, read {READS} times")

    def read(self, key: str, size: int, into: Sink) -> str:
        """Write the object's bytes once, however often that breaks off; return their SHA-256. Raises as `fetch`."""
        with self.buffers.buffer(BLOCK) as view:
            return _Read(self, key, size, into, view).whole()

    def look(self) -> None:
        """Raise Interrupted once the command is to end."""
        if self.stopped():
            raise Interrupted


@dataclass(slots=True)
class _Read:
    """One read of the whole object, however often it breaks off."""

    shared: Fetching
    key: str
    size: int
    into: Sink
    view: memoryview
    at: int = 0
    etag: str = ""
    begun_again: int = 0

    def whole(self) -> str:
        """Return the SHA-256 of what was written."""
        digest = hashlib.sha256()
        idle = 0
        while True:
            before = self.at
            try:
                self._go_on(digest.update)
                return digest.hexdigest()
            except (StoreBusy, ObjectChanged) as fault:
                idle = 0 if self.at > before else idle + 1
                if idle >= TRIES:
                    raise
                if isinstance(fault, ObjectChanged) or not self.etag:
                    self._begin_again(fault)
                    digest = hashlib.sha256()
            self.shared.sleep(_FIRST_SECONDS * 2**idle)

    def _begin_again(self, fault: StoreBusy | ObjectChanged) -> None:
        """Another object stands there now, or nobody can tell: what came so far is worth nothing."""
        self.begun_again += 1
        if self.begun_again >= READS:
            raise fault
        self.into.begin_again()
        self.at, self.etag = 0, ""

    def _go_on(self, update: Callable[[memoryview], object]) -> None:
        self.shared.look()
        with closing(self.shared.archive.open(self.key, offset=self.at, etag=self.etag)) as body:
            if body.head.size != self.size:
                raise WrongBytes(f"it has {body.head.size} bytes instead of {self.size}")
            self.etag = body.head.etag
            while self.at < self.size:
                piece = self.view[: self._receive(body.readinto)]
                update(piece)
                self.into.write(piece)
                self.at += len(piece)

    def _receive(self, readinto: Callable[[memoryview], int]) -> int:
        self.shared.look()
        bandwidth = self.shared.bandwidth
        most = min(len(self.view), self.size - self.at)
        share = bandwidth.take(most) if bandwidth.on else most
        came = readinto(self.view[:share])
        if not came:
            raise StoreBusy("the object ended before all of it came")
        if bandwidth.on and came < share:
            bandwidth.give_back(share - came)
        self.shared.received(came)
        return came
