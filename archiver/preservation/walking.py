"""A check's place, noted as it goes on: one that breaks off is gone on with from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from archiver.core.errors import LeaseLost
from archiver.core.fixity_faults import FixityFault
from archiver.core.model import TaskId
from archiver.core.walks import Walk, WalkSums, is_before, is_from
from archiver.ports.fixity import Walks
from archiver.ports.runtime import Clock

NOTED_EVERY: Final = 10.0
"""Seconds between two places: so much is judged twice, at most, and the object under way."""


@dataclass(slots=True)
class Walking:
    """Keeps the place of one check by hand, of the whole archive or of some ids; for one thread."""

    walks: Walks
    walk: Walk
    ids: Sequence[TaskId] | None
    prefix: str
    clock: Clock
    monotonic: Callable[[], float]
    every: float = NOTED_EVERY
    _is_ours: bool = True
    """False once another process goes on with it: this one does all the rest as well, and notes nothing."""
    _noted: float = field(default=float("-inf"), init=False)

    @property
    def is_due(self) -> bool:
        """True while a place is to be noted."""
        return self._is_ours and self.monotonic() >= self._noted + self.every

    def note(self, place: str, sums: WalkSums) -> None:
        """Note that all before the place was judged, and is written down; raises LedgerFault."""
        self._noted = self.monotonic()
        try:
            self.walk = self.walks.note(self.walk, place, sums, now=self.clock())
        except LeaseLost:
            self._is_ours = False

    def end(self, *, is_whole: bool) -> None:
        """Note that a check of all that was judged stands in the ledger; forget the walk where that is the whole."""
        if not self._is_ours:
            return
        if is_whole:
            self.walks.end(self.walk)
        else:
            self.walks.report(self.walk)

    def is_behind(self, fault: FixityFault, place: str) -> bool:
        """Return whether the object was looked at before that place, if it was to be."""
        if not place:
            return False
        return fault.task_id in self._ids(place)[0] if self.ids is not None else is_before(self._folder(fault), place)

    def comes_to(self, fault: FixityFault) -> bool:
        """Return whether the rest of the walk, as it stands, looks at the object."""
        place = self.walk.place
        if self.ids is not None:
            return fault.task_id in self._ids(place)[1]
        return not place or is_from(self._folder(fault), place)

    def _ids(self, place: str) -> tuple[Sequence[TaskId], Sequence[TaskId]]:
        ids, number = self.ids or (), int(place or 0)
        return ids[:number], ids[number:]

    def _folder(self, fault: FixityFault) -> str:
        return fault.task_id or fault.key.removeprefix(self.prefix)
