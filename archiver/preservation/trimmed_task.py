"""A task that was trimmed from the ledger, as its manifest tells it."""

from __future__ import annotations

from dataclasses import replace

from archiver.core.keys import manifest_key
from archiver.core.manifest_bounds import LARGEST
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.manifest_read import read_manifest
from archiver.core.rebuilt import rebuilt
from archiver.core.reports import TaskRow
from archiver.ports.archive import Archive


def by_manifest(archive: Archive, prefix: str, row: TaskRow) -> TaskRow:
    """Return the task with the stems and the history that its manifest has: one request.

    Raises ManifestBroken, also where there is none, and what the store raises.
    """
    found = archive.document(manifest_key(prefix, row.task_id), limit=LARGEST)
    if found is None:
        raise ManifestBroken("there is none")
    whole = rebuilt(read_manifest(found.data, row.task_id), f"{prefix}{row.task_id}/")
    return replace(row, stems=whole.stems, history=whole.history)
