"""Crowds: what a dispatcher tells of tasks that wait for a worker, and hears of those that wait for a permit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from archiver.core.model import AccountName


class Crowd(Protocol):
    """Hears of tasks that wait for a worker."""

    def __call__(self, workers: int, *, wait: bool) -> int:
        """Note whether tasks wait while all `workers` are busy; return how many of these slow hosts hold up."""


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
