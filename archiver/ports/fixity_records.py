"""Records of checks: the faults that they found, and the parts of a day's report."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from archiver.core.fixity import Fixity, Judged
from archiver.core.fixity_faults import FixityFault
from archiver.core.fixity_report import Check, Sealed


class Faults(Protocol):
    """The faults of the archive, one a key."""

    def note(self, found: Sequence[Judged], *, now: datetime) -> Collection[str]:
        """Write down what was found wrong; return the keys of which that was not known. Beyond KEPT_MOST none is kept.

        A fault that is known keeps the time at which it was first seen. One that was acknowledged, and is found
        otherwise, is so no longer, and counts as not known.
        """

    def close(self, keys: Collection[str], *, now: datetime) -> None:
        """Close the open faults of these keys."""

    def standing(self, most: int | None = None) -> Sequence[FixityFault]:
        """Return the open faults, or so many, the oldest first."""

    def acknowledge(self, names: Collection[str], *, now: datetime) -> Sequence[FixityFault]:
        """Acknowledge the open faults of these objects, and of these tasks; return those that were not so before."""

    def acknowledged(self) -> Mapping[Fixity, int]:
        """Return the number of open faults that are acknowledged, by kind."""

    def counts(self) -> Mapping[Fixity, int]:
        """Return the number of open faults by kind, acknowledged or not, without the kinds of which there are none."""


class Checks(Protocol):
    """The checks that are in no report yet, and the reports that were written."""

    def add(self, check: Check) -> None:
        """Write down a check that has ended."""

    def unreported(self) -> Sequence[Check]:
        """Return the checks that are in no report, in the order in which they were written down."""

    def reported(self, report: Sealed, numbers: Collection[int], *, now: datetime) -> None:
        """Write down that a report stands in the bucket, and forget the checks that it covers."""

    def reports(self) -> Sequence[Sealed]:
        """Return all that were written, by their days."""

    def last_report(self) -> Sealed | None:
        """Return the one of the latest day."""

    def oldest(self, *, now: datetime) -> datetime | None:
        """Return when the part of the archive that was not read for the longest time was.

        A slice that was never read counts from when the first of its archived tasks was accepted. None where no slice
        was ever to be read, or there is nothing to read. Never later than `now`.
        """
