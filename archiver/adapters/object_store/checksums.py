"""The checksums of a whole object that S3 knows, and which of them can be computed here."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from archiver.core.capabilities import Multipart
from archiver.core.crc32 import joined


@dataclass(frozen=True, slots=True)
class ChecksumKind:
    """A way to compute one, piece by piece."""

    name: str
    """As S3's ChecksumAlgorithm has it."""
    size: int
    """Bytes."""
    of: Callable[[memoryview | bytes], int]
    joined: Callable[[int, int, int], int]
    """Returns that of two runs of bytes, from theirs and the length of the second."""

    @property
    def field(self) -> str:
        """Its name in boto3's arguments and answers."""
        return f"Checksum{self.name}"

    @property
    def header(self) -> str:
        """Its name on the wire."""
        return f"x-amz-checksum-{self.name.lower()}"

    def over(self, data: memoryview | bytes) -> Checksum:
        """Return that of `data`."""
        return Checksum(self, self.of(data))


@dataclass(frozen=True, slots=True)
class Checksum:
    """One checksum of some bytes."""

    kind: ChecksumKind
    value: int

    @property
    def text(self) -> str:
        """As S3's headers want it: base64 of its big-endian bytes."""
        return base64.b64encode(self.value.to_bytes(self.kind.size, "big")).decode()


CRC32 = ChecksumKind("CRC32", 4, zlib.crc32, joined)
KINDS: Mapping[Multipart, ChecksumKind] = {Multipart.CRC32: CRC32}
"""Those of an upload in parts, the one that is tried first before the others."""
