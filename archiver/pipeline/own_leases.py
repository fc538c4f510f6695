"""Own leases of a process: prolonged before it claims, so that what it slept through costs it none of its tasks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from archiver.core.clocks import Steps
from archiver.ports.ledger import Claims

OTHERS_RENEW_WITHIN = 60.0
"""Seconds that a process which slept leaves to others, who may have slept with it, to prolong their leases."""


class OwnLeases:
    """Prolongs the leases of one owner. Safe to share between threads."""

    def __init__(
        self, claims: Claims, owner: str, lease: timedelta, *, monotonic: Callable[[], float] | None = None
    ) -> None:
        self._claims = claims
        self._owner = owner
        self._lease = lease
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._steps = Steps()
        self._renewed_at: datetime | None = None
        self._hold_off_until = float("-inf")

    def renew(self, now: datetime) -> bool:
        """Prolong them; see Dispatcher.renew."""
        with self._lock:
            return self._renew(now)

    def may_claim(self, now: datetime) -> bool:
        """Return whether tasks may be claimed as of `now`; prolongs our own leases first where they may have run out.

        False for a while after the wall clock went ahead by itself, as it does while a machine sleeps: the leases of
        others have then run out only by the clock.
        """
        with self._lock:
            if self._renewed_at is None:
                self._renewed_at = now
            elif not self._renewed_at <= now < self._renewed_at + self._lease / 2:
                self._renew(now)
            return self._others_renewed(now)

    def _others_renewed(self, now: datetime) -> bool:
        if self._monotonic is None:
            return True
        seconds = self._monotonic()
        if self._steps.look(now, seconds) >= self._lease / 2:
            self._hold_off_until = seconds + OTHERS_RENEW_WITHIN
        return seconds >= self._hold_off_until

    def _renew(self, now: datetime) -> bool:
        known = self._claims.renew(self._owner, now=now, lease=self._lease)
        self._renewed_at = now
        return known
