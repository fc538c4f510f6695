"""Capabilities: what one bucket was proven to do, and what follows where it cannot give a guarantee. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

PROBE_VERSION = 1
"""Raised whenever the probe asks more, or otherwise: what an older one found is proven anew."""


class CreateOnly(StrEnum):
    """The demand on create-only writes: the setting `store.create_only`."""

    REQUIRED = "required"
    """A store that overwrites is refused."""
    BEST_EFFORT = "best-effort"
    """A look before each write takes the place of what the store cannot do."""


class Multipart(StrEnum):
    """The way in which an upload in parts was seen to end well."""

    CRC32 = "crc32"
    """With one CRC-32 of the whole object."""
    CRC64NVME = "crc64nvme"
    """With one CRC-64/NVME of the whole object."""
    PLAIN = "plain"
    """Without a checksum of the whole."""
    NONE = "none"
    """Not at all."""


class Listing(StrEnum):
    """The way in which an open upload was seen in a list."""

    PREFIX = "prefix"
    WHOLE = "whole"
    """Only in a list of the whole bucket."""
    KEY = "key"
    """Only where its own key is asked for."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Capabilities that a bucket was proven to have; the defaults are those of Amazon S3."""

    create_only: bool = True
    """PutObject under If-None-Match over an object was refused, and left it as it was."""
    create_only_multipart: bool = True
    """CompleteMultipartUpload under If-None-Match over an object was refused, and left it as it was."""
    multipart: Multipart = Multipart.CRC32
    checks_sha256: bool = True
    """A PutObject whose bytes have another SHA-256 than it names was refused."""
    checks_parts: bool = True
    """A part whose bytes have another checksum than it names was refused."""
    checks_whole: bool = True
    """A completion whose parts have another checksum than it names was refused."""
    names_sha256: bool = True
    """HeadObject names the SHA-256 of an object put under it."""
    echoes: bool = False
    """HeadObject names a wrong checksum that was sent: what it names is our own word."""
    etag_is_md5: bool = True
    """The ETag of an object that was put in one piece is the MD5 of its bytes."""
    names_etag: bool = True
    replaces: bool = True
    """PutObject under If-Match took the right ETag and refused a wrong one."""
    listing: Listing = Listing.PREFIX

    @property
    def believes_sha256(self) -> bool:
        """True where a SHA-256 that the store names is its own finding."""
        return self.checks_sha256 and not self.echoes

    @property
    def believes_whole(self) -> bool:
        """True where the checksum that the store names after an upload in parts is its own finding."""
        return self.checks_whole and not self.echoes

    def as_json(self) -> str:
        """Return them for the ledger."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def of_json(cls, text: str) -> Capabilities | None:
        """Return what `as_json` wrote; None where another version wrote it."""
        try:
            said = json.loads(text)
            if set(said) != {field.name for field in fields(cls)}:
                return None
            return cls(**said | {"multipart": Multipart(said["multipart"]), "listing": Listing(said["listing"])})
        except (ValueError, TypeError):
            return None

    def large_as_one(self, demand: CreateOnly) -> bool:
        """Return whether a large object must go in one PutObject, for in parts it would not be safe."""
        return self.multipart is Multipart.NONE or (demand is CreateOnly.REQUIRED and not self.create_only_multipart)


class Gap(NamedTuple):
    """A guarantee that the store cannot give, and what is done instead."""

    subject: str
    found: str
    follows: str


_LOOK = "best-effort: a look before each write takes its place; an object of another writer may be overwritten"
_AS_ONE = "large files go in one request as far as memory allows, else they are refused"
_READ_BACK = "each large file is read back"


def gaps(known: Capabilities, demand: CreateOnly) -> Sequence[Gap]:
    """Return what the store cannot do, each with what follows, the gravest first."""
    return [*_in_writing(known, demand), *_in_proving(known), *_in_clearing(known)]


def _in_writing(known: Capabilities, demand: CreateOnly) -> Iterator[Gap]:
    best = demand is CreateOnly.BEST_EFFORT
    if not known.create_only:
        refused = 'nothing is written to it, unless store.create_only is "best-effort"'
        yield Gap("create-only", "the store overwrites in spite of If-None-Match", _LOOK if best else refused)
    if known.multipart is Multipart.NONE:
        yield Gap("multipart", "no upload in parts was completed", _AS_ONE)
    elif not known.create_only_multipart:
        overwrites = "a completed upload overwrites in spite of If-None-Match"
        yield Gap("create-only in parts", overwrites, _LOOK if best else _AS_ONE)
    if not known.replaces:
        follows = "a manifest that must change is read, compared and written under the task's lease"
        yield Gap("replacement", "If-Match is refused, or not heeded", follows)


def _in_proving(known: Capabilities) -> Iterator[Gap]:
    if not known.believes_sha256:
        echo = "a wrong SHA-256 is taken, and named as the object's own"
        found = echo if known.echoes else "an object with a wrong SHA-256 is taken"
        by_etag = "small files are proven by their ETag"
        yield Gap("checksum", found, by_etag if known.etag_is_md5 else "each file is read back")
    if known.multipart is Multipart.PLAIN:
        yield Gap("checksum of parts", "no checksum of a whole upload is taken", _READ_BACK)
    elif known.multipart is not Multipart.NONE and not known.believes_whole:
        yield Gap("checksum of parts", "an upload with a wrong checksum is taken", _READ_BACK)
    if not known.names_etag:
        yield Gap("ETag", "the store names none", "a file is read back without knowing whether it is the one looked at")


def _in_clearing(known: Capabilities) -> Iterator[Gap]:
    follows = "only those that the ledger knows are cleared: add a lifecycle rule for the others"
    if known.listing is Listing.KEY:
        yield Gap("open uploads", "an open upload is seen only under its own key", follows)
    elif known.listing is Listing.NONE:
        yield Gap("open uploads", "an open upload is not seen in a list", follows)


@dataclass(frozen=True, slots=True)
class Proof:
    """Capabilities that a bucket was proven to have, and when."""

    known: Capabilities
    at: datetime


def is_best_effort(known: Capabilities, demand: CreateOnly) -> bool:
    """Return whether writes rest on a look before them, and not on the store."""
    lacks = not known.create_only or (known.multipart is not Multipart.NONE and not known.create_only_multipart)
    return demand is CreateOnly.BEST_EFFORT and lacks
