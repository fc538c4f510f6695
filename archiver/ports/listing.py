"""Listings of tasks for the page: any filter, in an order, at any depth, in bounded time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from archiver.core.listing import TaskCount, TaskFilter, TaskOrder, TaskPage, TaskPlace
from archiver.ports.ledger import RETENTION

PAGE = 50
"""Tasks on a page."""

COUNTED = 10_000
"""Tasks that are counted where no running count is kept."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The time, and what is near to a deadline at it."""

    now: datetime
    at_risk: timedelta
    retention: timedelta = RETENTION


class Listings(Protocol):
    """Tasks as the page lists them."""

    def page(
        self,
        wanted: TaskFilter,
        order: TaskOrder,
        moment: Moment,
        *,
        start: TaskPlace | None = None,
        back: bool = False,
        size: int = PAGE,
    ) -> TaskPage:
        """Return the tasks behind `start`, or, if `back`, those before it, at most `size`; all of one moment.

        Some thousand tasks are looked at, at most: where few of them are what is asked for, a page has fewer, and
        says where to go on. Going on from page to page meets each task once. A task that moves meanwhile is met at
        most once, too, but for one whose deadline becomes later, or that is taken over from the bucket as older.
        """

    def count(self, wanted: TaskFilter, moment: Moment) -> TaskCount:
        """Return how many there are: exactly where only states are asked for, else of COUNTED that are looked at."""
