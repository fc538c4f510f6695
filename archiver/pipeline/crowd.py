"""Crowds: what a dispatcher tells of tasks that wait for a worker, and hears of those that wait for a permit."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from archiver.core.model import AccountName
from archiver.pipeline.transfers import TransferThreads


class Crowd(Protocol):
    """Hears of tasks that wait for a worker."""

    def __call__(self, workers: int, *, wait: bool) -> int:
        """Note whether tasks wait while all `workers` are busy; return how many of these slow hosts hold up."""


SMALLER = 2
"""A document ends so many times sooner than a file does."""


@dataclass(frozen=True, slots=True)
class WholeCrowd:
    """A Crowd that counts what slow hosts hold up, and what the store does by keeping silent about documents."""

    transfers: TransferThreads
    documents: Callable[[int | None, float], int]
    """Returns how many tasks it holds up; see archiver.service.liveness.TaskWatch.held_up."""

    def __call__(self, workers: int, *, wait: bool) -> int:
        """See Crowd."""
        slow = self.transfers.crowd(workers, wait=wait)
        return slow + self.documents(workers // 2 if wait else None, self.transfers.soon() / SMALLER)


def no_crowd(workers: int, *, wait: bool) -> int:  # noqa: ARG001 - Crowd
    """Note nothing."""
    return 0


class EnoughWait(Protocol):
    """Tells for which accounts it is too early to claim more: chosen later, it is known who else came."""

    def __call__(self, *, first: bool) -> Collection[AccountName]:
        """Return the accounts whose permits enough wait for already, of what goes `first` or of the rest."""


def none_wait(*, first: bool) -> Collection[AccountName]:  # noqa: ARG001 - EnoughWait
    """Return none."""
    return ()
