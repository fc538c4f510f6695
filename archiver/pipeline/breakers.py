"""Circuit breakers, one for each subject that can fail alone: provider by account, origin by host, the store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from archiver.core.errors import ArchiverError
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Dependency, Pause, Paused, Stage, Subject, TaskId
from archiver.pipeline.evidence import Evidence
from archiver.pipeline.failure_row import FailureRow
from archiver.pipeline.forward import Forward
from archiver.pipeline.newcomers import Newcomers
from archiver.pipeline.unneeded import is_unneeded
from archiver.ports.ledger import Pauses
from archiver.ports.runtime import Clock, EventLog

WHOLE_REMEMBERED = timedelta(seconds=15)
"""A host that gave a file whole so recently has no outage: links that share a fault fail at the same moment."""

SERVED = timedelta(days=1)
"""A host that gave a file whole within so long serves others than the one that fails."""

HOSTS_KNOWN = 1024
"""Hosts of which it is remembered when they last gave a file whole."""

NEEDS = {Stage.LIST: (Dependency.PROVIDER,), Stage.STORE: (Dependency.ORIGIN, Dependency.STORE)}
"""The dependencies that each half of the path needs."""

FARTHEST_PROBE = timedelta(minutes=1)
"""A pause whose probe is due later than this was written down before the clock was set back."""

PROBE_PATIENCE = timedelta(minutes=1)
"""The time a probe may stay without a verdict (its task met another trouble) before the next is let through."""

TURN = timedelta(seconds=2)
"""A task that was refused is due so much later than the next probe, which is for others that wait."""

LOOK_SPACING = timedelta(seconds=5)
"""Of those that wait for a pause one looks again so often: enough for every probe, and little for the ledger."""


@dataclass(frozen=True, slots=True)
class _Probe:
    """The one use that is let through, and whose it is."""

    at: datetime
    by: TaskId | None


def _fields(subject: Subject) -> dict[str, object]:
    account = {} if subject.account == DEFAULT_ACCOUNT else {"account": subject.account}
    host = {"host": subject.host} if subject.host else {}
    return {"dependency": subject.dependency.value, **account, **host}


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
        self.evidence = Evidence(clock)
        self._forward = Forward(pauses, self.evidence)
        self._found_at_start = {pause: replace(pause, next_probe=clock()) for pause in pauses.all() if not pause.held}
        for pause in self._found_at_start:
            pauses.wake(pause.subject)
        self._pauses = self._read()
        self._probes: dict[Subject, _Probe] = {}
        self._newcomers = Newcomers(clock)
        self._looks: dict[Subject, datetime] = {}
        """When the last of those that failed there looks again."""
        self._untried: dict[Subject, datetime] = {}
        """The same of those that have not."""
        self._failures: dict[tuple[Subject, bool], FailureRow] = {}
        """Rows of failures: of those without an answer, and (True) of answers that were not as they should be."""
        self._faulty: dict[Subject, datetime] = {}
        """Subjects paused for such answers, and from when on one more that never failed there may try it."""
        self._whole: dict[str, datetime] = {}
        """When each host last gave a file whole."""
        self._log_holds({}, self._pauses)

    def reload(self) -> None:
        """Look into the ledger for what other processes and the operator decided; call it every few seconds."""
        found = self._read()
        now = self._clock()
        for subject in [subject for subject, pause in found.items() if pause.over(now)]:
            self._shared.lift(subject.dependency, over_at=now)
            del found[subject]
        for subject in [subject for subject, pause in found.items() if self._is_unneeded(pause, now)]:
            self._resume(subject)
            del found[subject]
        with self._lock:
            before, self._pauses = self._pauses, found
            self._probes = {subject: probe for subject, probe in self._probes.items() if subject in found}
            for looks in (self._looks, self._untried, self._faulty):
                for subject in looks.keys() - found.keys():
                    del looks[subject]
            self._newcomers.forget(self._newcomers.known() - found.keys())
        self._log_holds(before, found)
        self._forward(now)

    def _read(self) -> dict[Subject, Pause]:
        found = [self._found_at_start.get(pause, pause) for pause in self._shared.all()]
        return {pause.subject: pause for pause in found}

    def _log_holds(self, before: Mapping[Subject, Pause], found: Mapping[Subject, Pause]) -> None:
        was, now = ({subject.dependency for subject, pause in each.items() if pause.held} for each in (before, found))
        for name in now - was:
            pause = found[Subject(name)]
            until = None if pause.lasting else pause.next_probe.isoformat()
            self._log.warning("dependency.held", dependency=name.value, until=until)
        for name in was - now:
            self._log.info("dependency.released", dependency=name.value)

    def _is_unneeded(self, pause: Pause, now: datetime) -> bool:
        return not self._is_probed(pause.subject) and is_unneeded(pause, now, self._shared.is_awaited)

    # --- may it be used?

    def try_use(
        self,
        *dependencies: Dependency,
        account: AccountName = DEFAULT_ACCOUNT,
        host: str = "",
        by: TaskId | None = None,
        tried: bool = False,
        newcomer: bool = False,
    ) -> bool:
        """Return whether all of them may be used now; if so, the caller's use is the probe of each that is due for one.

        The provider is asked about for `account` alone, the origin for `host`. A probe that `by` took stays its own
        until a verdict comes, or `give_back`. One that has `tried` before lets those probe that have not. A `newcomer`
        to a host may try beside the probes: those whose turn it is may share a trouble that is not the host's.
        """
        subjects = [Subject.of(dependency, account, host) for dependency in dependencies]
        with self._lock:
            beside = {subject for subject in subjects if not self._is_usable(subject, tried=tried)}
            if not all(newcomer and self._lets_in(subject) for subject in beside):
                return False
            probe = _Probe(self._clock(), by)
            self._newcomers.tries(beside, by)
            for subject in self._faulty.keys() & subjects:
                self._faulty[subject] = probe.at + LOOK_SPACING
            self._probes |= {subject: probe for subject in subjects if subject in self._pauses.keys() - beside}
            return True

    def give_back(self, by: TaskId) -> None:
        """Let another probe at once what `by` was to probe and brought no verdict on."""
        with self._lock:
            self._probes = {subject: probe for subject, probe in self._probes.items() if probe.by != by}
            self._newcomers.ends(by)

    def is_usable(self, subject: Subject, *, tried: bool = False, newcomer: bool = False) -> bool:
        """Return whether `try_use` would say yes; takes no probe."""
        with self._lock:
            return self._is_usable(subject, tried=tried) or (newcomer and self._lets_in(subject))

    def look_at(self, subject: Subject, within: timedelta, *, tried: bool = False) -> datetime:
        """Return when a task that waits for the subject is to look again; now once it works.

        One after the other, so that there is one for each probe; each `within` so long at the latest.
        """
        with self._lock:
            now, pause = self._clock(), self._pauses.get(subject)
            if pause is None:
                return now
            probe_at = pause.next_probe if now < pause.next_probe <= now + FARTHEST_PROBE else now + LOOK_SPACING
            # Whoever has not failed there waits for none that has.
            looks = self._looks if tried else self._untried
            following = looks.get(subject, now) + LOOK_SPACING
            look = looks[subject] = min(max(probe_at, following), now + within)
            return look

    def is_available(self, *dependencies: Dependency) -> bool:
        """Return whether `try_use` would say yes, for some account at least; takes no probe."""
        with self._lock:
            return all(
                any(self._is_usable(Subject.of(dependency, account)) for account in self._accounts)
                for dependency in dependencies
            )

    def is_blocked(self, *dependencies: Dependency, host: str = "") -> bool:
        """Return whether one of them is paused and nobody is probing it: what was begun had better stop.

        Of the origin, whether `host` is; all of them are where the operator holds it.
        """
        if not self._pauses:
            return False
        subjects = {Subject(dependency) for dependency in dependencies}
        subjects |= {Subject.of(dependency, host=host) for dependency in dependencies}
        with self._lock:
            paused = [each for each in subjects if each in self._pauses and not self._newcomers.is_at(each)]
            return not all(map(self._is_probed, paused))

    def blocked_accounts(self) -> Collection[AccountName]:
        """Return the accounts for which the provider may not be asked now."""
        with self._lock:
            paused = [subject for subject in self._pauses if subject.dependency is Dependency.PROVIDER]
            return {subject.account for subject in paused if not self._is_usable(subject)}

    @property
    def fresh_only(self) -> bool:
        """True while only tasks never listed are to be asked about.

        Listed ones are asked about again only for links to use at once: not while nothing can be stored.
        """
        return not self.is_available(*NEEDS[Stage.STORE])

    def paused(self) -> Mapping[Dependency, Pause]:
        """Return what is paused, for one account or host at least, as far as this process knows, and one such pause."""
        with self._lock:
            found = {subject.dependency: pause for subject, pause in self._pauses.items()}
            return {name: found[name] for name in Dependency if name in found}

    def is_paused(self, *dependencies: Dependency) -> bool:
        """Return whether one of them is paused, probed or not; a host alone is not the origin."""
        with self._lock:
            return any(subject.dependency in dependencies and not subject.host for subject in self._pauses)

    def _is_usable(self, subject: Subject, *, tried: bool = False) -> bool:
        if not self._pauses:
            return True
        now = self._clock()
        if self._is_held(subject):
            return self._pauses[Subject(subject.dependency)].over(now)
        pause = self._pauses.get(subject)
        if pause is None:
            return True
        if not tried and subject in self._faulty:
            # It answers, so it costs little to see whether it gives others whole.
            return not now < self._faulty[subject] <= now + LOOK_SPACING and not self._is_probed(subject)
        others = min(self._untried.get(subject, now), pause.next_probe + 2 * LOOK_SPACING) if tried else now
        waits = now < max(pause.next_probe, others) <= now + FARTHEST_PROBE
        return not waits and not self._is_probed(subject)

    def _lets_in(self, subject: Subject) -> bool:
        return not self._is_held(subject) and self._newcomers.may_try(subject)

    def _is_held(self, subject: Subject) -> bool:
        whole = self._pauses.get(Subject(subject.dependency))
        return whole is not None and whole.held

    def _is_probed(self, subject: Subject) -> bool:
        probe, now = self._probes.get(subject), self._clock()
        return probe is not None and probe.at <= now < probe.at + PROBE_PATIENCE

    # --- what came of it

    def worked(
        self, dependency: Dependency, account: AccountName = DEFAULT_ACCOUNT, host: str = "", *, whole: bool = True
    ) -> None:
        """End the row of failures, and the pause unless the operator holds it.

        Any answer that shows it at work does, whatever it means for the task; but not of what is paused for such
        answers, where only one counts that was `whole`.
        """
        if whole:
            self.evidence.works(dependency, account, host)
        self._works(dependency, account, host, whole=whole)

    def _works(self, dependency: Dependency, account: AccountName, host: str, *, whole: bool = True) -> None:
        with self._lock:
            if whole:
                self._note_whole(host)
            if not (self._failures or self._pauses or self._faulty):
                return
            subject = Subject.of(dependency, account, host)
            self._failures.pop((subject, False), None)
            if whole:
                self._failures.pop((subject, True), None)
            if self._is_held(subject) or (subject in self._faulty and not whole):
                return
            paused = self._pauses.pop(subject, None)
            self._faulty.pop(subject, None)
            self._probes.pop(subject, None)
            self._looks.pop(subject, None)
            self._untried.pop(subject, None)
            self._newcomers.forget([subject])
        if paused is not None:
            self._resume(subject)

    def _note_whole(self, host: str) -> None:
        if host:
            self._whole.pop(host, None)
            self._whole[host] = self._clock()
            if len(self._whole) > HOSTS_KNOWN:
                del self._whole[next(iter(self._whole))]

    def serves_others(self, host: str) -> bool:
        """Return whether the host gave a file whole within the last day."""
        with self._lock:
            return self._gave_whole(host, SERVED)

    def _gave_whole(self, host: str, within: timedelta) -> bool:
        at = self._whole.get(host)
        return at is not None and abs(self._clock() - at) <= within

    def _resume(self, subject: Subject) -> None:
        self.evidence.resumed(subject.host)
        if self._shared.resume(subject.dependency, subject.account, subject.host):
            self._log.info("dependency.resumed", **_fields(subject))

    def failed(
        self,
        dependency: Dependency,
        error: ArchiverError,
        account: AccountName = DEFAULT_ACCOUNT,
        host: str = "",
        *,
        by: object = None,
        works: Callable[[], bool] = lambda: False,
    ) -> None:
        """Count a failure: it was busy or out of reach. Trip after a failed probe, or once failures make an outage.

        `by` is whose failures count as one: a task's stems, and its tries, may be all that a host does not give.
        Unless it `works` all the same, which is asked then: only some tasks meet the trouble.
        """
        if not self._is_outage(Subject.of(dependency, account, host), error, by):
            return
        if works():
            self._works(dependency, account, host)
            return
        reason = f"{error.code}: {error}"
        self.trip(Paused(dependency, reason, error.hint, lasting=False, account=account, host=host))

    def _is_outage(self, subject: Subject, error: ArchiverError, by: object) -> bool:
        """Count the failure; return whether it was of a probe, or one too many."""
        faulty = error.shows is not None
        with self._lock:
            now = self._clock()
            row = self._failures.setdefault((subject, faulty), FailureRow(now))
            row.add(object() if by is None else by)
            outage = row.is_outage(now, faulty=faulty) and not self._gave_whole(subject.host, WHOLE_REMEMBERED)
            outage = outage or subject in self._probes
            if outage and faulty:
                self._faulty[subject] = now + LOOK_SPACING
            elif outage:
                self._faulty.pop(subject, None)
        return outage

    def trip(self, refusal: Paused, *, explains: bool = False) -> datetime | None:
        """Begin the pause, or prolong it once a probe was due; a hold, and a pause that waits, stay as they are.

        One that waits only takes the reason of a refusal that `explains` why it was begun.
        A refusal counts as the probe that was due though nobody took it: only sidecars may have been left to write.
        Returns when the one who met it is to look again: once the others that wait have had their turn.
        """
        subject = refusal.subject
        with self._lock:
            standing = self._pauses.get(subject)
            waits = not explains and subject not in self._probes and not self._is_usable(subject)
            if self._is_held(subject) or waits:
                return None if standing is None or standing.held else standing.next_probe + TURN
        pause = self._shared.pause(
            subject.dependency,
            subject.account,
            subject.host,
            reason=refusal.reason,
            hint=refusal.hint,
            lasting=refusal.lasting,
            now=self._clock(),
        )
        with self._lock:
            self._pauses[pause.subject] = pause
            self._probes.pop(subject, None)
        self._log.error(
            "dependency.paused",
            **_fields(subject),
            reason=refusal.reason,
            hint=refusal.hint,
            next_probe=pause.next_probe.isoformat(),
        )
        return None if pause.held else pause.next_probe + TURN
