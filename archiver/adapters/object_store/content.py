"""What we know of the bytes we sent, and whether an object in the store is made of just those."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, cast

BLOCK = 256 * 1024
"""Bytes handed to the socket at a time: urllib3 allows each send the connect timeout, so a slow line
needs blocks that it can take within that."""


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


def opened(data: memoryview) -> IO[bytes]:
    """Return `data` as a file that boto3 can send without copying it; close it after use."""
    return cast("IO[bytes]", _View(data))


class _View(io.RawIOBase):
    """A seekable file over borrowed memory."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return all the rest for a negative `size`, else the next BLOCK, be `size` even smaller; empty at the end.

        urllib3 asks for 16 KiB at a time and sends whatever it gets: larger blocks are fewer calls. A
        block is a memoryview, uncopied; sockets and hashes take that for bytes.
        """
        if size < 0:
            return self.readall()
        block = self._data[self._at : self._at + BLOCK]
        self._at += len(block)
        return cast("bytes", block)

    def readall(self) -> bytes:
        """Return a copy of all the rest."""
        rest = bytes(self._data[self._at :])
        self._at += len(rest)
        return rest

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to `offset`; return the new place."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """Return the place in bytes from the start."""
        return self._at

    def seekable(self) -> bool:
        """Always: botocore goes back to the start to send again."""
        return True

    def readable(self) -> bool:
        """Always."""
        return True
