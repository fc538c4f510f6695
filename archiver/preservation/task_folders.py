"""The folder of one task in the bucket: its manifest, or the objects that none names."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from archiver.core.adoption import FolderObjects, Known
from archiver.core.keys import folder_of, manifest_key, record_key
from archiver.core.manifest_bounds import LARGE, LARGEST
from archiver.core.manifest_read import Manifest, read_manifest
from archiver.core.model import TaskId
from archiver.core.rebuilt import needs_record, rebuilt
from archiver.core.whole_task import WholeTask
from archiver.ports.adoption import Alive
from archiver.ports.archive import FoundDocument
from archiver.preservation.adoption import Adoption


@dataclass(frozen=True, slots=True)
class TaskFolders:
    """The Folders of `ports.adoption`."""

    adoption: Adoption
    _large: threading.Lock = field(default_factory=threading.Lock)

    def whole(self, task: TaskId) -> WholeTask | None:
        """See Folders."""
        manifest = self.manifest(task)
        return None if manifest is None else self.of_manifest(manifest)[0]

    def objects(self, task: TaskId, known: Known, alive: Alive) -> FolderObjects:
        """See Folders."""
        return self.adoption.of(task, known, alive)

    def manifest(self, task: TaskId) -> Manifest | None:
        """Read the manifest; None where there is none. Raises ManifestBroken, ObjectUnread, StoreBusy, StorePaused."""
        found = self.document(task)
        return None if found is None else self.read(found.data, task)

    def document(self, task: TaskId) -> FoundDocument | None:
        """Return the manifest as it stands there; raise ObjectUnread, StoreBusy, StorePaused."""
        return self.adoption.archive.document(manifest_key(self.adoption.prefix, task), limit=LARGEST)

    def read(self, data: bytes, task: TaskId) -> Manifest:
        """Read a manifest that was found; raise ManifestBroken."""
        if len(data) < LARGE:
            return read_manifest(data, task)
        with self._large:
            return read_manifest(data, task)

    def of_manifest(self, manifest: Manifest) -> tuple[WholeTask, int]:
        """Return the task of a manifest, and how many requests that took; raises as `manifest` does."""
        prefix, task = self.adoption.prefix, manifest.task_id
        if not needs_record(manifest):
            return rebuilt(manifest, folder_of(prefix, task)), 0
        record = self.adoption.archive.document(record_key(prefix, task), limit=LARGEST)
        return rebuilt(manifest, folder_of(prefix, task), None if record is None else record.data), 1
