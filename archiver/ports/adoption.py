"""Adoption: the ledger takes from the bucket what it does not know itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from archiver.core.adoption import FolderObjects, Known, StoredFile
from archiver.core.model import Claim, StemRow, TaskId
from archiver.core.records.kinds.names import Media
from archiver.core.whole_task import WholeTask

Alive = Callable[[], object]
"""Called as bytes come in; what it raises ends the look."""


class FileJudge(Protocol):
    """Judges a stored file as a download of that media is judged."""

    def __call__(self, file: StoredFile, media: Media, duration: float | None) -> str | None:
        """Return why the file may not be what it should be, empty where nothing shows it; None where it is no `media`.

        `duration`: seconds as the record says.
        """


class Folders(Protocol):
    """The folders of tasks in the bucket. Safe to share among threads."""

    def whole(self, task: TaskId) -> WholeTask | None:
        """Return the task as its manifest has it; None where there is none.

        Raises ManifestBroken for one that cannot be understood, ObjectUnread, StoreBusy and StorePaused.
        """

    def objects(self, task: TaskId, known: Known, alive: Alive) -> FolderObjects:
        """Read the objects that are the task's and lack in what is `known`, whatever a manifest says.

        Raises StoreBusy, StorePaused, and what `alive` raises.
        """


class Adoptions(Protocol):
    """As the ports of `archiver.ports.ledger`: each method is one transaction, and raises LeaseLost and LedgerFault."""

    def take(self, claim: Claim, whole: WholeTask, *, now: datetime) -> Claim:
        """Take what a manifest tells of a task that is QUEUED and has no stems; return the claim as it now stands.

        One that was archived, lost or listed is LISTED then, settled, and its end is still to be written; one that had
        failed or was missing is QUEUED, and retried. Its history goes before what is known here.
        """

    def adopt(self, claim: Claim, found: Sequence[StemRow], *, now: datetime) -> Claim:
        """Write down stems that are stored, as their receipts say; return the claim as it now stands.

        Those that are not known are new. A task that is QUEUED becomes LISTED, and settled.
        """
