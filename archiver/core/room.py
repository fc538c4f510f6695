"""The room that a ledger has: by how much it may still grow, and for how long that lasts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

BYTES_A_TASK: Final = 12_083
"""Of a SQLite ledger, of an archived task with twelve stems; measured."""
NEAR: Final = timedelta(days=7)
"""The time before a ledger's disk is full from which on it is said."""
LOOKED_BACK: Final = timedelta(days=7)
"""The span whose new tasks tell how fast the ledger grows."""


@dataclass(frozen=True, slots=True)
class LedgerRoom:
    """The sizes of a ledger in a file."""

    size: int
    """Bytes of the file, and of what was written last and stands beside it."""
    free: int
    """Bytes of the disk that its user may still fill."""
    reusable: int
    """Bytes within the file that nothing stands in."""

    @property
    def room(self) -> int:
        """Bytes by which its content may grow."""
        return self.free + self.reusable

    def lasts(self, new_tasks: int) -> timedelta | None:
        """Return for how long that is enough, at the pace of the tasks of LOOKED_BACK; None for ten years and more."""
        years = timedelta(days=3650)
        growth = new_tasks * BYTES_A_TASK / LOOKED_BACK.total_seconds()
        if not growth or self.room / growth >= years.total_seconds():
            return None
        return timedelta(seconds=self.room / growth)
