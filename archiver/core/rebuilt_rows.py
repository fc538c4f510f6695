"""Manifests proven by their seals, and the rows of their tasks: all of a rebuild that only reckons. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from archiver.core.keys import folder_of
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.manifest_read import read_manifest
from archiver.core.model import TaskId
from archiver.core.rebuilt import needs_record, rebuilt
from archiver.core.task_rows import TaskRows


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest as it was read, and the record beside it once that was asked for."""

    task: TaskId
    data: bytes
    record: bytes | None = None
    record_was_asked: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on one document."""

    trouble: str = ""
    """Why it is not understood; empty where it is."""
    format: int = 0
    wants_record: bool = False
    """True where its record is needed and was not asked for: there are no rows of it yet."""


_WANTS_RECORD: Final = Judged(wants_record=True)


def proven(prefix: str, documents: Sequence[Document]) -> tuple[Sequence[Judged], TaskRows]:
    """Return what became of each document, and the rows of the tasks of those that were understood, in their order."""
    rows = TaskRows()
    return [_proven(prefix, each, rows) for each in documents], rows


def _proven(prefix: str, document: Document, rows: TaskRows) -> Judged:
    try:
        manifest = read_manifest(document.data, document.task)
        if needs_record(manifest) and not document.record_was_asked:
            return _WANTS_RECORD
        rows.add(rebuilt(manifest, folder_of(prefix, document.task), document.record))
    except ManifestBroken as broken:
        return Judged(str(broken))
    return Judged(format=manifest.format)
