"""The checksums of a whole object that S3 knows, and which of them can be computed here."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from archiver.core import crc
from archiver.core.capabilities import Multipart


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


def _crc64nvme(data: memoryview | bytes) -> int:
    from anycrc import Model  # noqa: PLC0415 - few stores need it

    value: int = Model("CRC64-NVME").calc(data)
    return value


CRC32 = ChecksumKind("CRC32", 4, zlib.crc32, crc.CRC32.joined)
CRC64NVME = ChecksumKind("CRC64NVME", 8, _crc64nvme, crc.CRC64NVME.joined)
KINDS: Mapping[Multipart, ChecksumKind] = {Multipart.CRC32: CRC32, Multipart.CRC64NVME: CRC64NVME}
"""Those of an upload in parts, the one that is tried first before the others."""


def kind_of(way: Multipart) -> ChecksumKind | None:
    """Return the kind that goes with uploads of that way; None for no kind, and where this machine cannot compute it.

    The library for CRC-64/NVME does not exist for every machine.
    """
    kind = KINDS.get(way)
    return kind if kind is not None and _can_compute(kind) else None


def computed() -> Sequence[ChecksumKind]:
    """Return the kinds that this machine can compute."""
    return [kind for kind in KINDS.values() if _can_compute(kind)]


def _can_compute(kind: ChecksumKind) -> bool:
    try:
        kind.of(b"")
    except ImportError:
        return False
    return True
