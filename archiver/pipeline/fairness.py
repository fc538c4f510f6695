"""How workers, and then time, are shared between the two stages."""

from __future__ import annotations

from datetime import timedelta

from archiver.core.model import Stage

HEAD_START = 10
"""Asking may be ahead of storing by one part in so many of the time that is left to the nearest deadline."""


def preferred(listing: int, storing: int, *, ahead: timedelta, left: timedelta) -> Stage:
    """Say what a free slot had better do: find deadlines out, or meet the nearest one that is known.

    `listing` and `storing` slots are at it; asking has had `ahead` more time than storing, and `left` is the
    time to the nearest deadline of what can be stored, zero where none is known.

    Slots are shared evenly, and where they are even (always, with one) time is, but for a head start of asking:
    the provider may go down, and then what was asked about can still be stored. The head start shrinks to
    nothing as the deadline comes near, so storing has had its half by then, whatever there is to ask.
    """
    if listing != storing:
        return Stage.LIST if listing < storing else Stage.STORE
    return Stage.LIST if ahead <= left / HEAD_START else Stage.STORE


class Shares:
    """How slots, and then time, are shared between the two stages; see `preferred`. Not safe for threads by itself."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        """How much more time asking has had than storing."""

    def spend(self, stage: Stage, span: timedelta) -> None:
        """Note that a slot was used so long."""
        self.ahead += span if stage is Stage.LIST else -span

    def forfeit(self, stage: Stage) -> None:
        """Let a stage that had nothing to do save up no time: days of it would starve the other later."""
        self.ahead = (max if stage is Stage.LIST else min)(self.ahead, timedelta())
