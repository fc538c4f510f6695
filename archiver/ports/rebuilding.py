"""The ledger as it is rebuilt from the bucket, and compared with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from archiver.core.backup import Head
from archiver.core.model import TaskId
from archiver.core.rebuilding import RebuildMark, Totals
from archiver.core.rebuilt_rows import Document, Judged
from archiver.core.task_rows import TaskRows
from archiver.core.whole_task import WholeTask


class Proving(Protocol):
    """Proves manifests and spells the rows of their tasks, in whatever process. Safe to share among threads."""

    def __call__(self, documents: Sequence[Document]) -> tuple[Sequence[Judged], TaskRows]:
        """Return what became of each, and the rows of those that were understood, in their order; raise LedgerFault."""


class Rebuilds(Protocol):
    """A rebuild, of which there is one at a time. A mark keeps `run`, `worker` and `backfill` away until its end."""

    def unfinished(self) -> RebuildMark | None:
        """Return the mark of a rebuild that is not finished."""

    def begin(self, *, now: datetime) -> RebuildMark:
        """Return the mark of the rebuild that is not finished, or set a new one; raise LedgerFull."""

    def take_backup(self, pieces: Callable[[], Iterable[bytes]], before: RebuildMark, after: RebuildMark) -> Head:
        """Take the open tasks, rejects and holds of a backup, which `pieces` gives from its start each time.

        Raises BackupBroken and BackupRefused, with nothing taken.
        """

    def take(self, tasks: Sequence[WholeTask] | TaskRows, before: RebuildMark, after: RebuildMark) -> None:
        """Write tasks, in the place of those from the backup, and move the mark.

        Raises LedgerFault, with nothing written, where another process moved it meanwhile.
        """

    def end(self, mark: RebuildMark) -> Totals:
        """Take the mark away; return what the ledger holds."""

    def whole(self, ids: Collection[TaskId]) -> Sequence[WholeTask]:
        """Return those of the tasks that the ledger knows, by id."""

    def page(self, after: str, size: int) -> Sequence[WholeTask]:
        """Return so many tasks, by id, from behind the id `after`."""
