"""Circuit breakers, one for each subject that can fail alone: the provider by account, the origin, the store."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from archiver.core.errors import ArchiverError
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Dependency, Pause, Paused, Stage
from archiver.ports.ledger import Pauses
from archiver.ports.runtime import Clock, EventLog

FAILURES_TO_TRIP = 8
"""Failures in a row, over all tasks, that make an outage."""

NEEDS = {Stage.LIST: (Dependency.PROVIDER,), Stage.STORE: (Dependency.ORIGIN, Dependency.STORE)}
"""The dependencies that each half of the path needs."""

FARTHEST_PROBE = timedelta(minutes=1)
"""A pause whose probe is due later than this was written down before the clock was set back."""

PROBE_PATIENCE = timedelta(minutes=1)
"""The time a probe may stay without a verdict (its task met another trouble) before the next is let through."""

_Subject = tuple[Dependency, AccountName]
"""That which one breaker is for: the provider as one account has it, the origin, or the store."""


def _subject(dependency: Dependency, account: AccountName = DEFAULT_ACCOUNT) -> _Subject:
    return dependency, account if dependency is Dependency.PROVIDER else DEFAULT_ACCOUNT


def _fields(subject: _Subject) -> dict[str, object]:
    dependency, account = subject
    further = {} if account == DEFAULT_ACCOUNT else {"account": account}
    return {"dependency": dependency.value, **further}


class Breakers:
    """A circuit breaker for each subject, kept in the ledger so that every process sees it. Safe for many threads.

    A breaker trips when its subject refuses us, or fails FAILURES_TO_TRIP times in a row for whatever
    tasks: an outage then costs a probe now and then, not every task its tries. While it is tripped one
    use is let through each time a probe is due. A probe that fails doubles the wait; one that works ends
    the pause.

    A dependency that the operator holds is blocked, for every account, until it is lifted or its time is
    over; nothing probes it.

    `accounts` are those of the settings; others are met as tasks name them.
    """

    def __init__(
        self,
        pauses: Pauses,
        clock: Clock,
        log: EventLog,
        accounts: Collection[AccountName] = (DEFAULT_ACCOUNT,),
    ) -> None:
        self._shared = pauses
        self._clock = clock
        self._log = log
        self._accounts = frozenset(accounts)
        self._lock = threading.Lock()
        # Whoever starts us has probably just mended what was paused: probe at once.
        self._found_at_start = {pause: replace(pause, next_probe=clock()) for pause in pauses.all() if not pause.held}
        self._pauses = self._read()
        self._probes: dict[_Subject, datetime] = {}
        self._failures: Counter[_Subject] = Counter()
        self._log_holds({}, self._pauses)

    def reload(self) -> None:
        """Look into the ledger for what other processes and the operator decided; call it every few seconds."""
        found = self._read()
        now = self._clock()
        for subject in [subject for subject, pause in found.items() if pause.over(now)]:
            self._shared.lift(subject[0], over_at=now)
            del found[subject]
        with self._lock:
            before, self._pauses = self._pauses, found
            self._probes = {subject: taken for subject, taken in self._probes.items() if subject in found}
        self._log_holds(before, found)

    def _read(self) -> dict[_Subject, Pause]:
        found = [self._found_at_start.get(pause, pause) for pause in self._shared.all()]
        return {(pause.dependency, pause.account): pause for pause in found}

    def _log_holds(self, before: Mapping[_Subject, Pause], found: Mapping[_Subject, Pause]) -> None:
        was, now = ({subject[0] for subject, pause in each.items() if pause.held} for each in (before, found))
        for name in now - was:
            pause = found[_subject(name)]
            until = None if pause.lasting else pause.next_probe.isoformat()
            self._log.warning("dependency.held", dependency=name.value, until=until)
        for name in was - now:
            self._log.info("dependency.released", dependency=name.value)

    # --- may it be used?

    def try_use(self, *dependencies: Dependency, account: AccountName = DEFAULT_ACCOUNT) -> bool:
        """Return whether all of them may be used now; if so, the caller's use is the probe of each that is due for one.

        The provider is asked about for `account` alone.
        """
        subjects = [_subject(dependency, account) for dependency in dependencies]
        with self._lock:
            if not all(map(self._is_usable, subjects)):
                return False
            self._probes |= {subject: self._clock() for subject in subjects if subject in self._pauses}
            return True

    def is_available(self, *dependencies: Dependency) -> bool:
        """Return whether `try_use` would say yes, for some account at least; takes no probe."""
        with self._lock:
            return all(
                any(self._is_usable(_subject(dependency, account)) for account in self._accounts)
                for dependency in dependencies
            )

    def is_blocked(self, *dependencies: Dependency) -> bool:
        """Return whether one of them is paused and nobody is probing it: what was begun had better stop."""
        with self._lock:
            return any(
                subject in self._pauses and not self._is_probed(subject) for subject in map(_subject, dependencies)
            )

    def blocked_accounts(self) -> Collection[AccountName]:
        """Return the accounts for which the provider may not be asked now."""
        with self._lock:
            paused = {account for dependency, account in self._pauses if dependency is Dependency.PROVIDER}
            return {account for account in paused if not self._is_usable((Dependency.PROVIDER, account))}

    @property
    def fresh_only(self) -> bool:
        """True while only tasks never listed are to be asked about.

        Listed ones are asked about again only for links to use at once: not while nothing can be stored.
        """
        return not self.is_available(*NEEDS[Stage.STORE])

    def paused(self) -> Sequence[Dependency]:
        """Return what is paused, for one account at least, as far as this process knows, probed or not."""
        with self._lock:
            found = {dependency for dependency, _ in self._pauses}
            return [name for name in Dependency if name in found]

    def _is_usable(self, subject: _Subject) -> bool:
        now = self._clock()
        if self._is_held(subject):
            return self._pauses[_subject(subject[0])].over(now)
        pause = self._pauses.get(subject)
        if pause is None:
            return True
        waits = now < pause.next_probe <= now + FARTHEST_PROBE
        return not waits and not self._is_probed(subject)

    def _is_held(self, subject: _Subject) -> bool:
        whole = self._pauses.get(_subject(subject[0]))
        return whole is not None and whole.held

    def _is_probed(self, subject: _Subject) -> bool:
        taken, now = self._probes.get(subject), self._clock()
        return taken is not None and taken <= now < taken + PROBE_PATIENCE

    # --- what came of it

    def worked(self, dependency: Dependency, account: AccountName = DEFAULT_ACCOUNT) -> None:
        """End the row of failures, and the pause unless the operator holds it."""
        subject = _subject(dependency, account)
        with self._lock:
            self._failures.pop(subject, None)
            if self._is_held(subject):
                return
            paused = self._pauses.pop(subject, None)
            self._probes.pop(subject, None)
        if paused is not None and self._shared.resume(*subject):
            self._log.info("dependency.resumed", **_fields(subject))

    def failed(self, dependency: Dependency, error: ArchiverError, account: AccountName = DEFAULT_ACCOUNT) -> None:
        """Count a failure: it was busy or out of reach. Trip after a failed probe, or once failures make an outage."""
        subject = _subject(dependency, account)
        with self._lock:
            self._failures[subject] += 1
            outage = self._failures[subject] >= FAILURES_TO_TRIP or subject in self._probes
        if outage:
            self.trip(Paused(dependency, f"{error.code}: {error}", error.hint, lasting=False, account=account))

    def trip(self, refusal: Paused) -> None:
        """Begin the pause, or prolong it once a probe was due; a hold, and a pause that waits, stay as they are.

        A refusal counts as the probe that was due though nobody took it: only sidecars may have been left to write.
        """
        subject = _subject(refusal.dependency, refusal.account)
        with self._lock:
            waits = subject not in self._probes and not self._is_usable(subject)
            if self._is_held(subject) or waits:
                return
        pause = self._shared.pause(
            *subject,
            reason=refusal.reason,
            hint=refusal.hint,
            lasting=refusal.lasting,
            now=self._clock(),
        )
        with self._lock:
            self._pauses[pause.dependency, pause.account] = pause
            self._probes.pop(subject, None)
        self._log.error(
            "dependency.paused",
            **_fields(subject),
            reason=refusal.reason,
            hint=refusal.hint,
            next_probe=pause.next_probe.isoformat(),
        )
