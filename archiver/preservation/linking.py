"""Links to the stems of a task, by its manifest alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from archiver.core.keys import manifest_key
from archiver.core.manifest_bounds import LARGEST
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.manifest_read import Manifest, read_manifest
from archiver.core.model import TaskId
from archiver.core.reading import ObjectLong
from archiver.ports.archive import Archive, Links
from archiver.preservation.retrieval import NO_MANIFEST
from archiver.preservation.wanted import Selection, safe_title, wanted


class LinkableArchive(Archive, Links, Protocol):
    """The bucket, as it is read and linked to."""


class NoLinks(Exception):
    """There is no such stored stem; the message says why, and `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def links_of(
    archive: LinkableArchive, prefix: str, task: TaskId, stem: str | None, seconds: int
) -> Iterator[tuple[str, str]]:
    """Yield name and URL of each stored stem, or of the one; raises NoLinks, StoreBusy or StorePaused."""
    manifest = _manifest(archive, prefix, task)
    title = safe_title(manifest.title)
    asked = wanted(manifest, Selection(stem))
    if not asked.files:
        names = ", ".join(sorted(each.name for each in manifest.stems if each.is_stored)) or "none"
        why = "; ".join(f"{each.stem}: {each.why}" for each in asked.unusable)
        what = f"no stem {stem}" if stem is not None and not why else "no such stored stem"
        raise NoLinks(f"{task} has {what}{f' ({why})' if why else ''}", f"it has: {names}")
    for file in asked.files:
        name = f"{title} - {file.name}" if title else file.name
        yield file.stem, archive.link(f"{prefix}{task}/{file.path}", name=name, seconds=seconds)


def _manifest(archive: Archive, prefix: str, task: TaskId) -> Manifest:
    try:
        found = archive.document(manifest_key(prefix, task), limit=LARGEST)
        if found is None:
            raise NoLinks(f"{task} has no manifest", NO_MANIFEST)
        return read_manifest(found.data, task)
    except (ManifestBroken, ObjectLong) as fault:
        raise NoLinks(f"the manifest of {task} is broken: {fault}") from None
