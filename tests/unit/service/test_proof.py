"""The proof of the store: taken before it is needed, kept for a day, and never taken for granted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from pathlib import Path

import pytest

from archiver.core.capabilities import Capabilities, CreateOnly
from archiver.core.errors import AccessRefused, ArchiverError, StoreBusy, StoreUnfit
from archiver.core.model import Dependency
from archiver.ports.runtime import Unwatched
from archiver.service.proof import LASTS, FirstProof, StoreProof, pause, probed, renewed
from tests.fakes.events import Events
from tests.fakes.time import Clock
from tests.fakes.waiting import until
from tests.fixtures.ledgers import hold, pauses, ready_ledger
from tests.house import Breakers, Ledger, breakers_on

CARELESS = replace(Capabilities(), create_only=False)


@dataclass
class Bucket:
    """A store that can do as it is told here, and keeps what it was asked."""

    can: Capabilities = field(default_factory=Capabilities)
    refuses: ArchiverError | None = None
    waits: Callable[[], object] = lambda: None
    proven: int = 0
    tried: int = 0
    relied: list[tuple[Capabilities, CreateOnly]] = field(default_factory=list)

    def prove(self, key: str) -> Capabilities:
        assert key == "p/probe"
        self.proven += 1
        self.waits()
        if self.refuses is not None:
            raise self.refuses
        return self.can

    def rely_on(self, known: Capabilities, demand: CreateOnly) -> None:
        self.relied.append((known, demand))

    def try_write(self, key: str) -> None:
        assert key == "p/probe"
        assert self.relied, "nothing is written before it is known what the store can do"
        self.tried += 1
        if self.refuses is not None:
            raise self.refuses


class Rig:
    """Everything around one proof."""

    def __init__(self, folder: Path) -> None:
        self.ledger: Ledger = ready_ledger(folder)
        self.bucket, self.clock, self.log = Bucket(), Clock(), Events()
        self.breakers: Breakers = breakers_on(self.ledger, self.clock, self.log)

    def close(self) -> None:
        self.ledger.close()

    def proof(self, demand: CreateOnly = CreateOnly.REQUIRED, name: str = "here, bucket b") -> StoreProof:
        """Return that of a process that begins now."""
        return StoreProof(self.bucket, self.ledger.proofs, name, name, "p/probe", demand, self.clock, self.log)

    @property
    def is_paused(self) -> bool:
        return self.breakers.is_paused(Dependency.STORE)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with closing(Rig(tmp_path)) as made:
        yield made


def test_store_is_proven_once_and_the_next_process_relies_on_it(rig: Rig) -> None:
    first = rig.proof()
    first.ensure()
    first.ensure()
    rig.proof().ensure()
    assert rig.bucket.proven == 1
    assert rig.bucket.relied == [(Capabilities(), CreateOnly.REQUIRED)] * 2


def test_proof_of_yesterday_is_taken_anew_at_the_start_and_by_who_runs_on(rig: Rig) -> None:
    lasting = rig.proof()
    lasting.ensure()
    lasting.renew()
    assert rig.bucket.proven == 1
    rig.clock.now += LASTS
    lasting.renew()
    rig.proof().ensure()
    assert rig.bucket.proven == 2
    rig.clock.now += LASTS
    rig.proof().ensure()
    assert rig.bucket.proven == 3


def test_proof_does_not_hold_once_the_clock_was_set_back_far(rig: Rig) -> None:
    rig.proof().ensure()
    rig.clock.now -= 2 * LASTS
    rig.proof().ensure()
    assert rig.bucket.proven == 2


def test_proof_of_other_settings_is_not_taken_for_this_one(rig: Rig) -> None:
    rig.proof().ensure()
    rig.proof(name="here, bucket c").ensure()
    assert rig.bucket.proven == 2


def test_store_that_overwrites_is_refused_by_name_and_asked_again_at_the_next_start(rig: Rig) -> None:
    rig.bucket.can = CARELESS
    with pytest.raises(StoreUnfit, match="here, bucket b: no create-only writes"):
        FirstProof(rig.proof(), rig.breakers).take()
    assert rig.bucket.relied == []
    rig.bucket.can = Capabilities()
    FirstProof(rig.proof(), rig.breakers).take()
    assert rig.bucket.proven == 2
    assert rig.bucket.relied


def test_store_that_overwrites_is_taken_as_best_effort_where_that_is_accepted(rig: Rig) -> None:
    rig.bucket.can = CARELESS
    proof = rig.proof(CreateOnly.BEST_EFFORT)
    FirstProof(proof, rig.breakers).take()
    assert proof.is_best_effort
    assert rig.bucket.relied == [(CARELESS, CreateOnly.BEST_EFFORT)]
    [told] = rig.log.of("store.degraded")
    assert told["subject"] == "create-only"
    assert "best-effort" in str(told["hint"])


def test_what_was_accepted_as_best_effort_is_refused_once_it_is_no_longer(rig: Rig) -> None:
    rig.bucket.can = CARELESS
    rig.proof(CreateOnly.BEST_EFFORT).ensure()
    with pytest.raises(StoreUnfit):
        rig.proof(CreateOnly.REQUIRED).ensure()


@pytest.mark.parametrize("error", [StoreBusy("away"), AccessRefused("403")])
def test_store_that_cannot_be_proven_at_the_start_is_paused_and_proven_later(rig: Rig, error: ArchiverError) -> None:
    rig.bucket.refuses = error
    proof = rig.proof()
    FirstProof(proof, rig.breakers).take()
    assert rig.is_paused
    assert rig.bucket.relied == []
    rig.bucket.refuses = None
    proof.ensure()
    assert rig.bucket.relied


def test_silent_store_keeps_the_start_waiting_for_a_while_only_and_ends_its_pause_by_itself(rig: Rig) -> None:
    answer = threading.Event()
    rig.bucket.waits = lambda: answer.wait(60)
    FirstProof(rig.proof(), rig.breakers, patience=0.01).take()
    assert rig.is_paused
    answer.set()
    until(lambda: not rig.is_paused, what="the store is proven, and its pause over")
    assert rig.bucket.relied


@pytest.mark.parametrize("minutes", [0, 1], ids=["before a probe is due", "after that"])
@pytest.mark.parametrize("fault", [StoreBusy("no answer"), AccessRefused("403"), StoreUnfit("it overwrites")])
def test_pause_of_a_silent_store_tells_what_its_proof_met_once_that_is_known(
    rig: Rig, fault: ArchiverError, minutes: int
) -> None:
    answer = threading.Event()
    rig.bucket.waits, rig.bucket.refuses = lambda: answer.wait(60), fault
    FirstProof(rig.proof(), rig.breakers, patience=0.01).take()
    assert pauses(rig.ledger)[0].reason.startswith("store.unproven: ")
    rig.clock.now += timedelta(minutes=minutes)
    answer.set()
    told = (f"{fault.code}: {fault}", fault.hint, fault.lasting)
    until(
        lambda: [(each.reason, each.hint, each.lasting) for each in pauses(rig.ledger)] == [told],
        what="the pause tells what the proof met",
    )


class Overtaken(StoreProof):
    """One whose own try fails after that of a task has proven the store."""

    def ensure(self) -> None:
        super().ensure()
        raise AccessRefused("403")


def test_late_proof_that_failed_pauses_no_store_that_a_task_has_proven_meanwhile(rig: Rig) -> None:
    answer = threading.Event()
    rig.bucket.waits = lambda: answer.wait(60)
    known = rig.proof()
    proof = Overtaken(*(getattr(known, each.name) for each in fields(known) if each.init))
    FirstProof(proof, rig.breakers, patience=0.01).take()
    answer.set()
    until(lambda: not rig.is_paused, seconds=10, what="the store may be used")


def test_start_that_is_asked_to_end_waits_for_no_silent_store_and_pauses_nothing(rig: Rig) -> None:
    answer = threading.Event()
    rig.bucket.waits = lambda: answer.wait(60)
    FirstProof(rig.proof(), rig.breakers, asked=lambda: rig.bucket.proven > 0, patience=60).take()
    assert not rig.is_paused
    assert rig.bucket.relied == []
    answer.set()
    until(lambda: rig.bucket.relied, what="what comes later is relied on all the same")
    assert not rig.is_paused


@pytest.mark.parametrize("change", ["busy", "careless"])
def test_store_that_is_no_longer_fit_when_the_proof_is_renewed_is_paused(rig: Rig, change: str) -> None:
    proof = rig.proof()
    proof.ensure()
    rig.clock.now += LASTS + timedelta(seconds=1)
    if change == "busy":
        rig.bucket.refuses = StoreBusy("away")
    else:
        rig.bucket.can = CARELESS
    renewed(proof, rig.breakers)
    assert rig.is_paused
    with pytest.raises(ArchiverError):
        proof.ensure()


def test_store_that_the_operator_paused_is_left_alone_at_the_start_and_later(rig: Rig) -> None:
    hold(rig.ledger, Dependency.STORE, now=rig.clock())
    rig.breakers.reload()
    proof = rig.proof()
    FirstProof(proof, rig.breakers).take()
    renewed(proof, rig.breakers)
    assert rig.bucket.proven == 0
    rig.clock.now += 2 * LASTS
    renewed(proof, rig.breakers)
    assert rig.bucket.proven == 0


def test_renewal_that_takes_long_keeps_nobody_waiting_who_writes(rig: Rig) -> None:
    proof, answer = rig.proof(), threading.Event()
    proof.ensure()
    rig.clock.now += LASTS
    rig.bucket.waits = lambda: answer.wait(30)
    renewal = threading.Thread(target=proof.renew)
    renewal.start()
    until(lambda: rig.bucket.proven == 2, what="the renewal is under way")
    writer = threading.Thread(target=proof.ensure)
    writer.start()
    writer.join(5)
    assert not writer.is_alive(), "all tasks would stand still once a day"
    assert proof.is_known
    answer.set()
    renewal.join()
    assert len(rig.bucket.relied) == 2


class Waits(Unwatched):
    """Counts who waits for another thread."""

    def __init__(self) -> None:
        self.begun = 0

    def waiting(self) -> AbstractContextManager[None]:
        self.begun += 1
        return super().waiting()


def test_who_waits_for_the_proof_that_another_takes_is_not_taken_for_stuck(rig: Rig) -> None:
    waits, answer = Waits(), threading.Event()
    proof = replace(rig.proof(), watch=waits)
    rig.bucket.waits = lambda: answer.wait(30)
    threads = [threading.Thread(target=proof.ensure) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: waits.begun == 2, 10, what="both have come to the lock")
    answer.set()
    for thread in threads:
        thread.join()
    assert rig.bucket.proven == 1


SOON = timedelta(seconds=5)
"""After a pause began its first probe is due."""


@pytest.mark.parametrize("is_known", [True, False], ids=["of a proven store", "of one that was away at the start"])
def test_pause_that_no_task_waits_for_ends_once_the_store_takes_the_probe_that_is_due(
    rig: Rig, *, is_known: bool
) -> None:
    proof = rig.proof()
    if is_known:
        proof.ensure()
    rig.bucket.refuses = StoreBusy("away")
    pause(rig.breakers, rig.bucket.refuses)
    for wait, tries in ((SOON, 1), (timedelta(seconds=10), 2)):
        probed(proof, rig.breakers, rig.bucket.try_write)
        rig.clock.now += wait
        probed(proof, rig.breakers, rig.bucket.try_write)
        assert pauses(rig.ledger)
        assert (rig.bucket.tried if is_known else rig.bucket.proven) == tries, "one for each that is due"
    rig.bucket.refuses = None
    probed(proof, rig.breakers, rig.bucket.try_write)
    assert pauses(rig.ledger)
    rig.clock.now += timedelta(seconds=20)
    probed(proof, rig.breakers, rig.bucket.try_write)
    assert not rig.is_paused
    assert rig.bucket.proven == (1 if is_known else 3)


def test_store_that_is_not_paused_or_that_a_task_probes_or_the_operator_holds_is_not_probed(rig: Rig) -> None:
    proof = rig.proof()
    probed(proof, rig.breakers, rig.bucket.try_write)
    pause(rig.breakers, StoreBusy("away"))
    rig.clock.now += SOON
    assert rig.breakers.try_use(Dependency.STORE)
    probed(proof, rig.breakers, rig.bucket.try_write)
    hold(rig.ledger, Dependency.STORE, now=rig.clock())
    rig.breakers.reload()
    rig.clock.now += timedelta(days=1)
    probed(proof, rig.breakers, rig.bucket.try_write)
    assert (rig.bucket.proven, rig.bucket.tried) == (0, 0)
