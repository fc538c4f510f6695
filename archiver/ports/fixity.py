"""The ledger, as the bucket is held against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from archiver.core.fixity import KnownTask
from archiver.core.fixity_cost import Holdings
from archiver.core.levels import Level
from archiver.core.model import TaskId
from archiver.core.slices import Checked, Course, Place, Round, SliceLease, Standing
from archiver.core.walks import Walk, WalkSums
from archiver.ports.ledger import IsAlive


class KnownObjects(Protocol):
    """The tasks with the objects that were stored for them."""

    def holdings(self, ids: Sequence[TaskId] | None = None) -> Holdings:
        """Count what should stand in the bucket, of all tasks or of these."""

    def known(self, task_id: TaskId) -> KnownTask | None:
        """Return one task as it is now."""

    def all_known(self, *, after: str = "") -> Iterator[KnownTask]:
        """Yield every task beyond `after` in the order of the ids' bytes, some hundred in memory at a time."""

    def known_of_slice(self, number: int, *, begin: str = "") -> Iterator[KnownTask]:
        """Yield every task of a slice from `begin` on, in the order of the ids' bytes."""

    def note_etag(self, task_id: TaskId, key: str, *, before: str, now: str) -> bool:
        """Write down the ETag that an object of equal bytes has now; return False where another was noted meanwhile."""


class Rounds(Protocol):
    """Rounds of verification, and the slices that they are done by. A slice is leased to one worker at a time.

    Methods that take a SliceLease raise LeaseLost when another worker took the slice over; nothing is written then.
    No end of a slice counts as later than now: a clock that ran ahead must not hide it.
    """

    def newest(self, course: Course) -> Round | None:
        """Return the newest round, finished or not."""

    def begin(self, course: Course, *, now: datetime) -> Round:
        """Return the round that is not finished, or else begin the next."""

    def end(self, round_: Round, *, now: datetime) -> bool:
        """End a round all of whose slices are done; return False, and do nothing, where one is not."""

    def take(
        self,
        course: Course,
        *,
        owner: str,
        now: datetime,
        lease: timedelta,
        round_: Round | None = None,
        listing: bool = False,
    ) -> SliceLease | None:
        """Lease a slice, where it was left, or from its start; None where none is free.

        With a round, one that is not done in it. Without, the one under way, else the one checked longest ago.
        `listing` takes the walk through the listing, and only that.
        """

    def note(self, held: SliceLease, place: Place, checked: Checked) -> SliceLease:
        """Write down how far it is, and return the lease as it is now. No crash of ours undoes it; a power cut may."""

    def finish(self, held: SliceLease, checked: Checked, *, now: datetime) -> None:
        """Write down that a slice was gone through to its end, which ends the lease.

        It does not count as checked anew where an object of it was not read.
        """

    def renew(self, owner: str, *, now: datetime, lease: timedelta) -> None:
        """Prolong all leases of `owner`."""

    def release(self, owner: str) -> None:
        """End all leases of `owner`; what it had begun is gone on with by whoever takes it next."""

    def release_dead(self, is_alive: IsAlive) -> None:
        """End the leases of those whose processes are known to be dead."""

    def standings(self, course: Course, *, now: datetime) -> Sequence[Standing]:
        """Return how each slice stands, by number; none where the course was never begun. The listing is left out."""

    def left(self, round_: Round) -> int:
        """Return how many slices of a round are not done yet, the listing among them."""

    def kept_since(self) -> datetime | None:
        """Return since when every object is to be read within a span; None where none is."""

    def keep_since(self, now: datetime | None) -> datetime | None:
        """Note that every object is to be read within a span from now on, unless it is so already; return since when.

        None ends it.
        """


class Walks(Protocol):
    """Checks by hand that are under way, or broke off: one for each level and selection.

    Methods that take a Walk raise LeaseLost where another process goes on with it; nothing is written then.
    """

    def take(self, level: Level, selection: str, *, now: datetime, within: timedelta, anew: bool = False) -> Walk:
        """Return the walk that broke off within that time, or begin one; it is the caller's from now on.

        `anew` begins one in any case. Those of whatever kind that broke off earlier are forgotten.
        """

    def note(self, walk: Walk, place: str, sums: WalkSums, *, now: datetime) -> Walk:
        """Write down how far it is, and return it so. No crash of ours undoes it; a power cut may."""

    def report(self, walk: Walk) -> None:
        """Write down that a check of all up to its place stands in the ledger. Does nothing where it is another's."""

    def end(self, walk: Walk) -> None:
        """Forget it: it came to its end. Does nothing where it is another's."""
