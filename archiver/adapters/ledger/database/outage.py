"""Does again, whole, what a server could not do just now: no half of a method is ever written."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from archiver.adapters.ledger.database.faults import LedgerAway

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
AT_THE_END = 5.0
"""Seconds that a process which is asked to end still waits for a server."""

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=type)

Heard = Callable[[LedgerAway], None]


class Outage:
    """How long an outage is waited out, and that each is told of once."""

    def __init__(self, patience: timedelta, heard: Heard) -> None:
        self._patience = patience.total_seconds()
        self._heard = heard
        self._told = threading.Event()
        self._ending: Callable[[], bool] = lambda: False

    def shorten(self, ending: Callable[[], bool]) -> None:
        """Wait no longer than AT_THE_END once `ending` says that the process is to end."""
        self._ending = ending

    def outlast(self, work: Callable[[], T]) -> T:
        """Return what `work` returns; while it raises LedgerAway do it again, until the patience is over."""
        began = time.monotonic()
        pause = _FIRST_PAUSE
        while True:
            try:
                done = work()
            except LedgerAway as away:
                patience = min(self._patience, AT_THE_END) if self._ending() else self._patience
                if time.monotonic() + pause > began + patience:
                    raise
                if not self._told.is_set():
                    self._told.set()
                    self._heard(away)
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._told.clear()
                return done


class HasOutage(Protocol):
    """Whatever is kept on a server."""

    @property
    def outage(self) -> Outage:
        """How its outages are outlasted."""


S = TypeVar("S", bound=HasOutage)


def persevering(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Let a method that is one transaction outlast an outage."""

    @functools.wraps(method)
    def outlasting(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.outage.outlast(lambda: method(self, *args, **kwargs))

    return outlasting


def each_persevering(*, but: frozenset[str]) -> Callable[[C], C]:
    """Make every public method of a class `persevering`, `but` those."""

    def decorate(kind: C) -> C:
        for name, member in list(vars(kind).items()):
            if callable(member) and not name.startswith("_") and name not in but:
                setattr(kind, name, persevering(member))
        return kind

    return decorate
