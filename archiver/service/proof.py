"""Proof: nothing is written to a store before it is known what that store can do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from archiver.core.capabilities import CreateOnly, Gap, Proof, gaps, is_best_effort
from archiver.core.errors import ArchiverError, LedgerFault, StoreUnfit, StoreUnproven
from archiver.core.model import Dependency, Paused, Subject
from archiver.pipeline.breakers import Breakers
from archiver.ports.runtime import UNWATCHED, Clock, EventLog, Watch
from archiver.ports.store import Proofs, ProvableStore

LASTS = timedelta(days=1)
"""The time for which a proof holds."""
PATIENCE = 5.0
"""Seconds that the start waits for the first proof; a store that takes longer is paused until it has come."""

LOOK = 0.1
"""Seconds between two looks at whether the process is to end."""


@dataclass(slots=True)
class StoreProof:
    """Proves the store, or relies on what the ledger knows of it. Safe for many threads."""

    store: ProvableStore
    proofs: Proofs
    name: str
    """Of the store in the ledger."""
    place: str
    """Endpoint and bucket, for people."""
    key: str
    """Tried where no task is to be meant."""
    demand: CreateOnly
    clock: Clock
    log: EventLog
    watch: Watch = UNWATCHED
    """Is told who waits while another takes the proof: that one is watched, by each of its requests."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _proof: Proof | None = field(default=None, init=False)

    def ensure(self) -> None:
        """See to it that the store writes as it can; prove it where no proof is known, or only one of yesterday.

        Raises StoreUnfit for one that cannot give what is demanded, StoreBusy, StorePaused, or LedgerFault.
        """
        if self._proof is not None:
            return
        with self._alone():
            if self._proof is None:
                known = self.proofs.of(self.name)
                self._rely(known if known is not None and self._holds(known) else self._prove())

    def renew(self) -> None:
        """Prove the store anew where the proof is too old; see `ensure` for what is raised.

        Until that has ended, what is written rests on the proof of before.
        """
        with self._alone():
            if self._proof is None or self._holds(self._proof):
                return
            try:
                self._rely(self._prove())
            except BaseException:
                self._proof = None
                raise

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self.watch.waiting():
            self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    @property
    def is_known(self) -> bool:
        """True once it is known what the store can do."""
        return self._proof is not None

    @property
    def gaps(self) -> Collection[Gap]:
        """Gaps of the store; none where they are not known yet."""
        proof = self._proof
        return () if proof is None else gaps(proof.known, self.demand)

    @property
    def is_best_effort(self) -> bool:
        """True where create-only writes rest on a look before them."""
        proof = self._proof
        return proof is not None and is_best_effort(proof.known, self.demand)

    def _holds(self, proof: Proof) -> bool:
        return abs(self.clock() - proof.at) < LASTS and self._is_fit(proof)

    def _is_fit(self, proof: Proof) -> bool:
        return proof.known.create_only or self.demand is CreateOnly.BEST_EFFORT

    def _prove(self) -> Proof:
        proof = Proof(self.store.prove(self.key), self.clock())
        self.proofs.note(self.name, proof)
        self.log.info("store.proven", store=self.place, gaps=[gap.subject for gap in gaps(proof.known, self.demand)])
        return proof

    def _rely(self, proof: Proof) -> None:
        if not self._is_fit(proof):
            raise StoreUnfit(f"{self.place}: no create-only writes: it overwrites in spite of If-None-Match")
        self.store.rely_on(proof.known, self.demand)
        self._proof = proof
        for gap in self.gaps:
            self.log.warning(
                "store.degraded", store=self.place, subject=gap.subject, reason=gap.found, hint=gap.follows
            )


@dataclass(slots=True)
class FirstProof:
    """The proof at the start, which waits for no silent store: that is paused until the proof has come."""

    proof: StoreProof
    breakers: Breakers
    asked: Callable[[], bool] = lambda: False
    """Returns whether the process is to end: then nothing is waited for."""
    patience: float = PATIENCE
    """Seconds."""
    _fault: Exception | None = field(default=None, init=False)
    _is_late: bool = field(default=False, init=False)

    def take(self) -> None:
        """Ensure the proof; raise StoreUnfit, or LedgerFault. What else keeps it from being had pauses the store.

        A store that the operator paused is left alone: it is proven once it may be used. So is one whose proof has
        not come when the process is asked to end.
        """
        if not _may_be_used(self.breakers):
            return
        done = threading.Event()
        threading.Thread(target=self._prove, args=(done.set,), name="proof", daemon=True).start()
        if not self._comes(done):
            if self.asked():
                return
            pause(self.breakers, StoreUnproven("the store has not answered yet what it can do"))
            self._is_late = True
            if done.is_set():
                self._explain()
        elif isinstance(self._fault, ArchiverError) and not isinstance(self._fault, StoreUnfit):
            pause(self.breakers, self._fault)
        elif self._fault is not None:
            raise self._fault

    def _comes(self, done: threading.Event) -> bool:
        give_up = time.monotonic() + self.patience
        while not (came := done.wait(min(LOOK, self.patience))) and time.monotonic() < give_up and not self.asked():
            pass
        return came

    def _prove(self, done: Callable[[], object]) -> None:
        try:
            self.proof.ensure()
        except Exception as fault:  # noqa: BLE001 - raised by whoever waits for it
            self._fault = fault
        done()
        if self._is_late:
            self._explain()

    def _explain(self) -> None:
        """End the pause, or tell what it comes from, as is known now."""
        with suppress(LedgerFault):  # whoever works meets it too, and ends
            if self._fault is None or self.proof.is_known:  # by a task's try meanwhile
                self.breakers.worked(Dependency.STORE)
            elif isinstance(self._fault, ArchiverError):
                pause(self.breakers, self._fault, explains=True)


def _may_be_used(breakers: Breakers) -> bool:
    return breakers.is_usable(Subject(Dependency.STORE))


def pause(breakers: Breakers, error: ArchiverError, *, explains: bool = False) -> None:
    """Pause the store for what kept it from being proven; see `Breakers.trip`."""
    refusal = Paused(Dependency.STORE, f"{error.code}: {error}", error.hint, error.lasting)
    breakers.trip(refusal, explains=explains)


def probed(proof: StoreProof, breakers: Breakers, try_write: Callable[[str], object]) -> None:
    """Probe a paused store once that is due, where no task that waits for it does. Raises LedgerFault.

    A service without work is ready again, too, once its store is back.
    """
    if not breakers.is_paused(Dependency.STORE) or not breakers.try_use(Dependency.STORE, tried=True):
        return
    try:
        proof.ensure()
        try_write(proof.key)
    except ArchiverError as error:
        pause(breakers, error)
    else:
        breakers.worked(Dependency.STORE)


def renewed(proof: StoreProof, breakers: Breakers) -> None:
    """Renew the proof; a store that cannot be proven, or no longer is fit, is paused. Raises LedgerFault."""
    if not _may_be_used(breakers):
        return
    try:
        proof.renew()
    except ArchiverError as error:
        pause(breakers, error)
