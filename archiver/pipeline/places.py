"""Places of workers: those of the settings, and others beside what is held up. Each dispatcher has its own."""

from __future__ import annotations

import itertools

from archiver.core.model import Claim, Stage
from archiver.core.states import TaskState
from archiver.ports.work import JobKind

RETRYING = 4
"""One worker in so many stores what a try has failed of before, while there is anything else to store."""


class Places:
    """How many tasks may be in flight. Needs a lock where threads share it."""

    def __init__(self, at_most: int) -> None:
        self.at_most = at_most
        self.slow = 0
        """The number of those in flight that slow hosts hold up, or such as do not answer."""
        self._turns = itertools.cycle((False, True))
        self._again: set[object] = set()
        """Those at what was tried or asked about before: they may wait long for a permit."""
        self._late: set[object] = set()
        """Those at what has waited for its first question for a while, which may do so as well."""
        self._retrying: set[object] = set()
        """Those of them that store what a try has failed of before."""

    @property
    def beside(self) -> int:
        """The number of places that others have beside those that slow hosts, or their turn to ask, hold up."""
        return min(self.at_most, self.slow + len(self._again) + len(self._late))

    @property
    def count(self) -> int:
        """The number of places."""
        return self.at_most + self.beside

    @property
    def held_up(self) -> int:
        """The number of those in flight beside which others have places."""
        return min(self.at_most, self.slow)

    def takes_latest(self, *, eases: bool) -> bool:
        """Return whether the next to store is the least urgent: now and then, where the urgent hold up so many places.

        `eases`: they may do so soon.
        """
        return (eases or 2 * self.slow >= self.at_most) and next(self._turns)

    def may_store(self, storing: int) -> bool:
        """Return whether one more may; half the places beside what is held up are for what is to be asked about."""
        return storing < self.count - self.held_up // 2

    @property
    def crowded(self) -> bool:
        """True while enough of them store what a try has failed of before."""
        return len(self._retrying) >= max(1, self.at_most // RETRYING)

    @property
    def full(self) -> bool:
        """True while as many of them as there are workers are at what was tried or asked about before."""
        return len(self._again) >= self.at_most

    @property
    def full_of_asks(self) -> bool:
        """True while only what goes first at the provider is to be asked about."""
        return len(self._again) + len(self._late) >= self.at_most

    def takes(self, who: object, claim: Claim, stage: Stage | None, *, is_young: bool = True) -> None:
        """Note that a place has been taken for the claim; `is_young`: its id came a moment ago."""
        self.leaves(who)
        if stage is Stage.STORE and claim.attempts:
            self._retrying.add(who)
        if claim.attempts or (claim.asks and claim.state is TaskState.QUEUED):
            self._again.add(who)
        elif claim.state is TaskState.QUEUED and not is_young:
            self._late.add(who)

    def promised(self, who: object, kind: JobKind) -> None:
        """Note that a place has been taken for a job of that kind, whose claim follows."""
        if kind.again:
            self._again.add(who)
        if kind.again and kind.stage is Stage.STORE:
            self._retrying.add(who)

    def groups(self, stage: Stage) -> list[list[JobKind]]:
        """Return the kinds of jobs of the stage that there is room for, in groups, the preferred first."""
        fresh, again = (JobKind(stage, again) for again in (False, True))
        if self.full:
            return [[fresh]]
        return [[fresh], [again]] if stage is Stage.STORE and self.crowded else [[fresh, again]]

    def leaves(self, who: object) -> None:
        """Note that it is free."""
        self._retrying.discard(who)
        self._again.discard(who)
        self._late.discard(who)
