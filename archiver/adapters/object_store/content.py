"""The bytes of one object as we know them, and whether an object in the store is made of just those."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from archiver.adapters.object_store.checksums import Checksum, computed
from archiver.core.capabilities import Capabilities

SHA256_NAME = "sha256"
"""Of the metadata of an object that was put in one piece."""
BEGIN_NAME = "sha256-begin"
"""Of the metadata of an object that was put in parts: see Content.begin."""


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of one object: their size, hash, and either themselves or a checksum of the whole, if any."""

    size: int
    sha256: str
    """Lower-case hex."""
    data: memoryview | None = None
    checksum: Checksum | None = None
    begin: str = ""
    """How it begins, where it comes in parts: so many bytes, a colon, and their SHA-256."""

    @classmethod
    def of(cls, data: bytes | memoryview) -> Content:
        """Return the content that is `data`."""
        return cls(len(data), hashlib.sha256(data).hexdigest(), memoryview(data))

    @property
    def sha256_header(self) -> str:
        """The hash as S3's headers want it."""
        return base64.b64encode(bytes.fromhex(self.sha256)).decode()

    def named_by(self, answer: Mapping[str, object], known: Capabilities) -> bool | None:
        """Say whether an answer's own checksums are ours: True, False, or None when it proves nothing.

        Believes only what the store was proven to find out by itself. A multipart object's SHA-256 is a hash of
        hashes (composite, ends in `-N`) and tells nothing. An ETag that is the MD5 of our bytes proves them; any
        other asks for a look.
        """
        if "ContentLength" in answer and answer["ContentLength"] != self.size:
            return False
        if known.believes_sha256 and (sha256 := _whole(answer, "ChecksumSHA256")):
            return sha256 == self.sha256_header
        if known.believes_whole and (same := self._named_as_whole(answer)) is not None:
            return same
        if self.data is not None and answer.get("ETag") == f'"{_md5(self.data)}"':
            return True
        return None

    def is_meant_by(self, answer: Mapping[str, object]) -> bool:
        """Return whether the object was sent as this content, whatever its bytes are now.

        Its metadata has our SHA-256, or a checksum is named that is ours: be it but an echo, it was sent along.
        """
        named = _metadata(answer, SHA256_NAME) == self.sha256 or _whole(answer, "ChecksumSHA256") == self.sha256_header
        return named or self._named_as_whole(answer) is True

    def begins_as(self, answer: Mapping[str, object]) -> bool:
        """Return whether the object was sent in parts, of which the first was as ours."""
        return bool(self.begin) and _metadata(answer, BEGIN_NAME) == self.begin

    def _named_as_whole(self, answer: Mapping[str, object]) -> bool | None:
        for kind in computed():
            text = _whole(answer, kind.field)
            if text and self.data is not None:
                return text == kind.over(self.data).text
            if text and self.checksum is not None and self.checksum.kind is kind:
                return text == self.checksum.text
        return None


def _metadata(answer: Mapping[str, object], name: str) -> str:
    """Return what the object's metadata says under `name`, which some stores (rclone) begin in capitals."""
    said = cast("Mapping[str, str]", answer.get("Metadata") or {})
    return next((text for each, text in said.items() if each.lower() == name), "")


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
