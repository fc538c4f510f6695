"""A few quick tries of one call of the store, before the ledger's back-off takes over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from archiver.adapters.object_store.faults import Absent, NoAnswer, NoETag
from archiver.core.errors import StoreBusy, StoreProxyAway
from archiver.core.misses import StoreHostUnknown, StoreStranger, StoreTlsRefused
from archiver.ports.runtime import Clock, Jitter

TRIES = 5
FIRST_SECONDS = 0.25
WITHIN = timedelta(seconds=20)

_AWAY = {StoreBusy, StoreHostUnknown, StoreProxyAway, StoreStranger, StoreTlsRefused, NoAnswer, NoETag}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retries:
    """Tries of one call: with growing waits, with jitter, and within 20 s altogether.

    Not by tenacity, whose frames are one hundredth of what a small object costs.
    """

    sleep: Callable[[float], object]
    jitter: Jitter
    clock: Clock
    on_busy: Callable[[], None] = lambda: None
    """Called each time the store was busy or did not answer."""

    def call(self, work: Callable[[], T], *, final: tuple[type[StoreBusy], ...] = (Absent,)) -> T:
        """Return what `work` returns, trying again while it raises a StoreBusy that is not `final`."""
        until = self.clock() + WITHIN
        tries = 0
        while True:
            try:
                return work()
            except final:
                raise
            except StoreBusy as fault:
                # The other kinds say more: what stands there, or that bytes were damaged.
                if type(fault) in _AWAY:
                    self.on_busy()
                tries += 1
                wait = max(FIRST_SECONDS * 2**tries * (0.5 + self.jitter()), fault.retry_after or 0)
                if tries >= TRIES or self.clock() + timedelta(seconds=wait) > until:
                    raise
            self.sleep(wait)
