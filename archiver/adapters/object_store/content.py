"""The bytes of one object as we know them, and whether an object in the store is made of just those."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass


def crc32_header(checksum: int) -> str:
    """Return a CRC-32 as S3's headers want it: base64 of four big-endian bytes."""
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of one object: their size, hash, and either themselves or their CRC-32."""

    size: int
    sha256: str
    """Lower-case hex."""
    data: memoryview | None = None
    known_crc32: int | None = None

    @classmethod
    def of(cls, data: bytes) -> Content:
        """Return the content that is `data`."""
        return cls(len(data), hashlib.sha256(data).hexdigest(), memoryview(data))

    @property
    def sha256_header(self) -> str:
        """The hash as S3's headers want it."""
        return base64.b64encode(bytes.fromhex(self.sha256)).decode()

    def named_by(self, answer: Mapping[str, object]) -> bool | None:
        """Say whether an answer's own checksums are ours: True, False, or None when it proves nothing.

        A multipart object's SHA-256 is a hash of hashes (composite, ends in `-N`) and tells nothing. An
        ETag is the MD5 only of a single, unencrypted put: equality proves, a difference does not.
        """
        if "ContentLength" in answer and answer["ContentLength"] != self.size:
            return False
        if sha256 := _whole(answer, "ChecksumSHA256"):
            return sha256 == self.sha256_header
        if crc32 := _whole(answer, "ChecksumCRC32"):
            return crc32 == self.crc32_header
        if self.data is not None and answer.get("ETag") == f'"{_md5(self.data)}"':
            return True
        return None

    @property
    def crc32(self) -> int:
        """The CRC-32, computed when it is not known yet."""
        return zlib.crc32(self.data or b"") if self.known_crc32 is None else self.known_crc32

    @property
    def crc32_header(self) -> str:
        """The CRC-32 as S3's headers want it."""
        return crc32_header(self.crc32)


def _md5(data: memoryview) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _whole(answer: Mapping[str, object], name: str) -> str:
    """Return the checksum called `name` if it is one of the whole object, else an empty string."""
    value = str(answer.get(name) or "")
    if answer.get("ChecksumType") == "COMPOSITE":
        return ""
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error:
        return ""
    return value
