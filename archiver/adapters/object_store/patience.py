"""How often, and how far apart, one call of the store is tried before the ledger's back-off takes over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from archiver.adapters.object_store.faults import Absent
from archiver.core.errors import StoreBusy
from archiver.ports.runtime import Clock, Jitter

TRIES = 5
FIRST_SECONDS = 0.25
WITHIN = timedelta(seconds=20)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """Spacing of tries: growing, with jitter, and within 20 s altogether."""

    sleep: Callable[[float], object]
    jitter: Jitter
    clock: Clock
    busy: Callable[[], None] = lambda: None
    """Is told each time the store was busy or did not answer."""

    def begin(self) -> Tries:
        """Return a fresh count of tries."""
        return Tries(self)

    def over(self, call: Callable[[], T]) -> T:
        """Return what `call` returns, trying again while it raises StoreBusy (but not Absent)."""
        tries = self.begin()
        while True:
            try:
                return call()
            except Absent:
                raise
            except StoreBusy as fault:
                tries.after(fault)


class Tries:
    """The tries of one call."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._until = patience.clock() + WITHIN
        self._made = 0

    def after(self, fault: StoreBusy) -> None:
        """Sleep before the next try, or raise `fault` when there shall be none."""
        if type(fault) is StoreBusy:  # its kinds say more: what stands there, or that bytes were damaged
            self._patience.busy()
        self._made += 1
        wait = FIRST_SECONDS * 2**self._made * (0.5 + self._patience.jitter())
        wait = max(wait, fault.retry_after or 0)
        if self._made >= TRIES or self._patience.clock() + timedelta(seconds=wait) > self._until:
            raise fault
        self._patience.sleep(wait)
