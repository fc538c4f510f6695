"""Audio for the emulated provider: of any size at next to no cost, or from memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import ClassVar


@dataclass(frozen=True)
class EmulatedStem:
    """Audio of any size that costs next to nothing: MP3 frames of silence with noise in their spare bytes.

    No two blocks of it are equal, and no two stems with different `seed`; the last frame may be cut.
    """

    size: int
    """Bytes."""
    seed: str

    BLOCK: ClassVar[int] = 156 * 417
    """Bytes; 417 is a frame of 128 kbit/s at 44.1 kHz."""

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, span: slice) -> bytes:
        """Return the bytes of a span with step 1."""
        start, stop, _ = span.indices(self.size)
        return b"".join(bytes(chunk) for chunk in self.chunks(start, stop))

    def chunks(self, start: int, stop: int) -> Iterator[memoryview]:
        """Return the bytes from `start` up to `stop`, in pieces of at most BLOCK."""
        while start < stop:
            number, offset = divmod(start, self.BLOCK)
            frame, rest = self._first_frame(number), self._rest
            piece = frame[offset:] if offset < len(frame) else rest[offset - len(frame) :]
            piece = piece[: stop - start]
            yield piece
            start += len(piece)

    @cached_property
    def etag(self) -> str:
        """A strong validator, from what makes up the content rather than from all of it."""
        return f'"{hashlib.md5(f"{self.seed} {self.size}".encode(), usedforsecurity=False).hexdigest()}"'

    @cached_property
    def sha256(self) -> str:
        """Lower-case hex of all the bytes."""
        digest = hashlib.sha256()
        for chunk in self.chunks(0, self.size):
            digest.update(chunk)
        return digest.hexdigest()

    @cached_property
    def _rest(self) -> memoryview:
        noise = Random(self.seed)
        return memoryview(b"".join(_frame(noise.randbytes(381)) for _ in range(155)))

    def _first_frame(self, number: int) -> memoryview:
        return memoryview(_frame(number.to_bytes(8, "big") + bytes(373)))


def _frame(spare: bytes) -> bytes:
    return b"\xff\xfb\x90\x00" + bytes(32) + spare


@dataclass(frozen=True)
class Recorded:
    """Audio that stands in memory, with the same interface as EmulatedStem."""

    data: bytes

    def __len__(self) -> int:
        return len(self.data)

    def chunks(self, start: int, stop: int) -> Iterator[memoryview]:
        """Return the bytes from `start` up to `stop`."""
        yield memoryview(self.data)[start:stop]

    @cached_property
    def etag(self) -> str:
        """A strong validator."""
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"'


Audio = bytes | EmulatedStem


def in_pieces(audio: Audio) -> EmulatedStem | Recorded:
    """Return the audio as what can be served piece by piece."""
    return Recorded(audio) if isinstance(audio, bytes) else audio
