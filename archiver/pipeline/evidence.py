"""Evidence that the provider works: its answers about other ids, and probes that one makes for all."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from archiver.core.clocks import LONG_AGO
from archiver.core.model import AccountName, Dependency, Subject, TaskId
from archiver.ports.runtime import Clock

JUST_NOW = timedelta(seconds=10)
"""An answer about another id that is no older tells as much as a probe, and costs no request."""

HOSTS_KNOWN = 64
"""Hosts of which a file is known that they gave whole."""

EASED_FOR = timedelta(minutes=1)
"""The time after a host's pause in which not all that waited longest goes first: it may fail there still."""

SUBJECTS_KNOWN = 64
"""Subjects of which it is noted that they work, until somebody asks."""


class Evidence:
    """The evidence of one process, by account. Safe for many threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._working: set[tuple[Dependency, AccountName, str]] = set()
        self._resumed_at = LONG_AGO
        self._gave: dict[str, str] = {}
        self._answered: dict[AccountName, tuple[TaskId, datetime]] = {}
        self._probed: dict[object, tuple[bool, datetime]] = {}
        self._probing: defaultdict[object, threading.Lock] = defaultdict(threading.Lock)

    def answered(self, account: AccountName, task_id: TaskId) -> None:
        """Note that the provider answered about the id."""
        self._answered[account] = task_id, self._clock()

    def gave(self, host: str, url: str) -> None:
        """Note that the host gave this file whole."""
        if host in self._gave or len(self._gave) < HOSTS_KNOWN:
            self._gave[host] = url

    def given(self, host: str) -> str | None:
        """Return the last file that the host gave whole; None where none is known."""
        return self._gave.get(host)

    def resumed(self, host: str) -> None:
        """Note that the pause of a host has ended, if it is one."""
        self._resumed_at = self._clock() if host else self._resumed_at

    def eases(self) -> bool:
        """Return whether one has a moment ago."""
        return timedelta() <= self._clock() - self._resumed_at < EASED_FOR

    def works(self, dependency: Dependency, account: AccountName, host: str) -> None:
        """Note that it did for a task all that it is there for."""
        if len(self._working) < SUBJECTS_KNOWN:
            self._working.add((dependency, account, host))

    def working(self) -> Collection[Subject]:
        """Return the subjects that did since the last time."""
        working, self._working = self._working, set()
        return {Subject.of(*each) for each in working}

    def last(self, account: AccountName) -> TaskId | None:
        """Return the last id that it answered about."""
        known = self._answered.get(account)
        return None if known is None else known[0]

    def just_answered(self, account: AccountName, *, besides: TaskId) -> bool:
        """Return whether the last that it answered about was another id, and a moment ago.

        An answer about the id itself proves nothing of what came after it: its next question may have been refused.
        """
        of, at = self._answered.get(account, (None, LONG_AGO))
        return of != besides and timedelta() <= self._clock() - at <= JUST_NOW

    def find_out(self, what: object, probe: Callable[[], bool], *, holds: timedelta = timedelta()) -> bool:
        """Return what `probe` does, or did for another who asked the same meanwhile.

        That it works holds for a while where `holds` says so.
        """
        began = self._clock()
        with self._probing[what]:
            verdict, at = self._probed.get(what, (False, LONG_AGO))
            if not began - (holds if verdict else timedelta()) <= at <= self._clock():
                verdict = probe()
                self._probed[what] = verdict, self._clock()
            return verdict
