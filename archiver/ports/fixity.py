"""The ledger, as the bucket is held against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from archiver.core.fixity import KnownTask
from archiver.core.fixity_cost import Holdings
from archiver.core.model import TaskId


class KnownObjects(Protocol):
    """The tasks with the objects that were stored for them. Writes nothing."""

    def holdings(self, ids: Sequence[TaskId] | None = None) -> Holdings:
        """Count what should stand in the bucket, of all tasks or of these."""

    def known(self, task_id: TaskId) -> KnownTask | None:
        """Return one task as it is now."""

    def all_known(self) -> Iterator[KnownTask]:
        """Yield every task in the order of the ids' bytes, some hundred in memory at a time."""
