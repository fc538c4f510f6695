"""Fair shares of workers, and then of time, for the two stages."""

from __future__ import annotations

from datetime import timedelta

from archiver.core.model import Stage

HEAD_START = 10
"""Asking may be ahead of storing by one part in so many of the time that is left to the nearest deadline."""


def preferred(listing: int, storing: int, *, ahead: timedelta, left: timedelta) -> Stage:
    """Return the stage for a free worker: find deadlines out, or meet the nearest one that is known.

    `listing` and `storing` workers are at the two; asking has had `ahead` more time than storing, and `left` is
    the time to the nearest deadline of what can be stored, zero where none is known.

    Workers are shared evenly. Where they are even (always, with one) time is, but for a head start of asking:
    the provider may go down, and then what was asked about can still be stored. The head start shrinks to
    nothing as the deadline comes near, so storing has had its half by then, whatever there is to ask.
    """
    if listing != storing:
        return Stage.LIST if listing < storing else Stage.STORE
    return Stage.LIST if ahead <= left / HEAD_START else Stage.STORE


class Shares:
    """The time that each stage has had; see `preferred`. Needs a lock where threads share it."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        """The time that asking has had more than storing."""

    def spend(self, stage: Stage, span: timedelta) -> None:
        """Count the time that a worker spent."""
        self.ahead += span if stage is Stage.LIST else -span

    def forfeit(self, stage: Stage) -> None:
        """Take from a stage that had nothing to do the time it saved up: days of it would starve the other later."""
        self.ahead = (max if stage is Stage.LIST else min)(self.ahead, timedelta())
