"""Trimming: of a task that was archived long ago the ledger keeps a row, and its manifest the rest. Pure."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from archiver.core.keys import MANIFEST_NAME
from archiver.core.model import StemRow, TaskId

MOST_NAMED: Final = 1000
"""Tasks that are named with why they were left alone; the others are counted."""

FolderLine = tuple[str, int, str]
"""An object's name in its task's folder, its size in bytes and its ETag."""


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The remains that a ledger keeps in the place of a task's stems and history."""

    stems: int
    bytes: int
    """Of their objects; an alias has none of its own."""
    digest: str
    """The folder digest; see `folder_digest`."""


def folder_digest(lines: Iterable[FolderLine]) -> str:
    """Return the SHA-256, in unpadded URL-safe Base64, of the sorted lines `path size etag` of a task's folder.

    Those are its stems' objects, each once, and its manifest. The record is none of them: no ledger knows its ETag.
    """
    text = "".join(sorted(f"{path} {size} {etag}\n" for path, size, etag in set(lines)))
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def trimmed_of(stems: Iterable[StemRow], manifest: tuple[int, str]) -> Trimmed:
    """Return what is kept of a task whose stems are all stored, and whose manifest has that size and ETag."""
    receipts = [row.receipt for row in stems if row.receipt is not None]
    lines = {(each.key.rpartition("/")[2], each.size, each.etag) for each in receipts}
    size = sum(each.size for each in receipts if each.alias_of is None)
    return Trimmed(len(receipts), size, folder_digest({*lines, (MANIFEST_NAME, *manifest)}))


def shortest_span(retention: timedelta, grace_after_deadline: timedelta) -> timedelta:
    """Return the least span after its end at which a task may be trimmed: no link of it lives any more."""
    return retention + grace_after_deadline


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A task that was due, and stays as it is."""

    task_id: TaskId
    reason: str


@dataclass(frozen=True, slots=True)
class Trims:
    """The sum of what was trimmed."""

    tasks: int = 0
    rows: int = 0
    """Of stems and history."""
    bytes: int | None = None
    """Freed within the ledger, for it to use again; None where its database does not say."""
    renewed: int = 0
    """Manifests of format 1 that were replaced."""
    left: int = 0
    """Tasks that were left alone because of their manifests."""
    named: tuple[LeftAlone, ...] = field(default=())
    requests: int = 0
    seconds: float = 0.0

    def with_left(self, left: Iterable[LeftAlone]) -> Trims:
        """Return this and further tasks that were left alone."""
        more = tuple(left)
        return replace(self, left=self.left + len(more), named=(*self.named, *more)[:MOST_NAMED])
