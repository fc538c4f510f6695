"""The ledger, as it is drawn: series over time, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from archiver.core.model import TaskId
from archiver.core.reports import Moved, Overview

Series = Sequence[tuple[datetime, int]]
"""Moments, the earliest first, each with its number."""


class Plots(Protocol):
    """Series over time."""

    def overview(self, *, now: datetime, at_risk: timedelta, retention: timedelta) -> tuple[Overview, Series]:
        """Return what Reports.overview does, and by deadline, to a quarter of an hour, the stems not stored yet.

        All of one look, as every open task adds to what it takes. A task of which no stem is known counts as one; of
        which no deadline is known, `retention` counts as it.
        """

    def archived(self, *, since: datetime) -> Series:
        """Return the tasks that were archived since then, by the hour in which they were."""

    def moves(self, *, most: int) -> Sequence[tuple[TaskId, Moved]]:
        """Return the last moves of all tasks, the latest first."""

    def changes(self) -> str:
        """Return a mark that is another once anything was written into the ledger."""
