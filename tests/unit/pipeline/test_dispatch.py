"""The dispatcher over a real ledger: what its workers claim, in which order, and when they do not."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from archiver.adapters.ledger.claims import SqlClaims
from archiver.core import plan
from archiver.core.errors import LedgerFault
from archiver.core.intake import Intake
from archiver.core.model import (
    DEFAULT_ACCOUNT,
    AccountName,
    Archived,
    Claim,
    Dependency,
    Later,
    Missing,
    Outcome,
    Paused,
    Phase,
    Receipt,
    RecordInfo,
    Stage,
    StemName,
    StemSource,
    TaskId,
    Yielded,
)
from archiver.core.states import IllegalMove, TaskState
from tests.fakes.events import Events
from tests.fakes.threads import no_threads
from tests.fakes.time import NOW, Clock
from tests.fixtures.ledgers import accept, finish, hold, lift, pauses, relisted, stored
from tests.house import (
    LEASE,
    Breakers,
    Ledger,
    LocalDispatcher,
    breakers_on,
    context_on,
    dispatcher_on,
)


def queued(ledger: Ledger, *names: str) -> None:
    accept(ledger, Intake(ids=tuple(map(TaskId, names))), now=NOW)


def listed(ledger: Ledger, name: str, deadline: datetime, *, query: str = "") -> None:
    queued(ledger, name)
    claim = ledger.claims.claim(owner="setup", now=NOW, lease=LEASE, stage=Stage.LIST)
    assert claim is not None
    source = StemSource(StemName("vocal"), f"https://cdn.example/{name}.mp3{query}", "vocalUrl")
    claim = relisted(ledger, claim, RecordInfo(Phase.DONE, (source,)), deadline, now=NOW)
    finish(ledger, claim, Yielded(), now=NOW)


def dispatcher_of(
    ledger: Ledger, clock: Clock, archive: Callable[[Claim], Outcome], *, workers: int = 2
) -> tuple[LocalDispatcher, Breakers, Events]:
    events = Events()
    breakers = breakers_on(ledger, clock, events)
    dispatcher = dispatcher_on(context_on(ledger, breakers, clock, events, workers=workers), archive)
    return dispatcher, breakers, events


class Archive:
    """Stands for the pipeline: ends each claim as it is set and remembers the order."""

    def __init__(self, ledger: Ledger, outcome: Callable[[Claim], Outcome] = lambda _: Archived()) -> None:
        self.ledger = ledger
        self.outcome = outcome
        self.order: list[str] = []
        self.most = 0
        self.under_way = 0
        self.lock = threading.Lock()

    def __call__(self, claim: Claim) -> Outcome:
        with self.lock:
            self.order.append(claim.task_id)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        outcome = self.outcome(claim)
        if isinstance(outcome, Archived):
            for row in claim.stems:
                stored(self.ledger, claim, row.name, Receipt("k", 1, "0" * 64, "e", "audio/mpeg", NOW))
        with self.lock:
            self.under_way -= 1
        finish(self.ledger, claim, outcome, now=NOW)
        return outcome


def test_dispatcher_with_a_full_pool_takes_the_earliest_deadline_first(ledger: Ledger, clock: Clock) -> None:
    days = [9, 2, 14, 5, 1, 12, 7, 3, 11, 6]
    for day in days:
        listed(ledger, f"task-{day:04}", NOW + timedelta(days=day))
    archive = Archive(ledger)
    dispatcher, _, _ = dispatcher_of(ledger, clock, archive, workers=1)
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert archive.order == [f"task-{day:04}" for day in sorted(days)]


def test_dispatcher_never_holds_more_tasks_than_workers_and_refills_without_a_barrier(
    ledger: Ledger, clock: Clock
) -> None:
    for number in range(12):
        listed(ledger, f"task-{number:04}", NOW + timedelta(days=number + 1))
    slow, others = threading.Event(), threading.Event()

    def outcome(claim: Claim) -> Outcome:
        assert (slow if claim.task_id == "task-0000" else others).wait(20)
        return Archived()

    archive = Archive(ledger, outcome)
    dispatcher, _, _ = dispatcher_of(ledger, clock, archive, workers=3)
    assert dispatcher.pump() == 3, "none of them can end, so all are held at one time"
    assert dispatcher.pump() == 0
    others.set()
    for _ in range(400):
        if len(archive.order) == 12 and dispatcher.working == 1:
            break
        threading.Event().wait(0.05)
    assert dispatcher.working == 1, "one slow task must not hold up the others"
    slow.set()
    assert dispatcher.wait_idle(20)
    assert archive.most <= 3
    assert len(set(archive.order)) == 12


def test_dispatcher_when_the_provider_refuses_pauses_it_and_goes_on_storing(ledger: Ledger, clock: Clock) -> None:
    for number in range(3):
        listed(ledger, f"task-{number:04}", NOW + timedelta(days=number + 1))
    queued(ledger, "queued-0001", "queued-0002")

    def outcome(claim: Claim) -> Outcome:
        if claim.stems:
            return Archived()
        return Paused(Dependency.PROVIDER, "provider.key_refused: 401", "mend the key", lasting=True)

    archive = Archive(ledger, outcome)
    dispatcher, breakers, events = dispatcher_of(ledger, clock, archive, workers=1)
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    asked = [name for name in archive.order if name.startswith("queued")]
    assert asked == ["queued-0001"], "once refused, nobody else is sent to the provider"
    assert set(archive.order) - set(asked) == {f"task-{number:04}" for number in range(3)}
    assert len(events.of("dependency.paused")) == 1
    assert not breakers.try_use(Dependency.PROVIDER)
    shown = ledger.reports.show(TaskId("queued-0001"))
    assert shown is not None
    assert (shown.attempts, shown.asks) == (0, 0), "a pause is not the task's fault"


SECOND = AccountName("second")


def test_dispatcher_with_one_account_paused_asks_for_the_others_and_stores_for_all(
    ledger: Ledger, clock: Clock
) -> None:
    theirs, known = TaskId("second-0001"), "second-0000"
    accept(ledger, Intake(ids=(theirs,), accounts={theirs: SECOND}), now=NOW)
    queued(ledger, "first-0002")
    archive = Archive(ledger, lambda claim: Archived() if claim.stems else Missing("no"))
    dispatcher, breakers, _ = dispatcher_of(ledger, clock, archive)
    breakers.trip(Paused(Dependency.PROVIDER, "401", "key", lasting=True, account=SECOND))
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert archive.order == ["first-0002"]
    listed(ledger, known, NOW + timedelta(days=1))
    accept(ledger, Intake(accounts={TaskId(known): SECOND}), now=NOW)
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert archive.order == ["first-0002", known], "its links need no key"
    clock.now = pauses(ledger)[0].next_probe
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert archive.order[-1] == theirs, "the probe"


def test_dispatcher_lets_no_account_fill_its_workers_for_which_enough_wait(ledger: Ledger, clock: Clock) -> None:
    theirs = tuple(TaskId(f"second-{number:04}") for number in range(8))
    accept(ledger, Intake(ids=theirs, accounts=dict.fromkeys(theirs, SECOND)), now=NOW)
    queued(ledger, "first-0000")
    waiting, free = set[str](), threading.Event()

    def asked(claim: Claim) -> Outcome:
        if claim.account == SECOND:
            waiting.add(claim.task_id)
            free.wait(20)
        return Missing("no")

    archive = Archive(ledger, asked)
    breakers = breakers_on(ledger, clock, Events(), [DEFAULT_ACCOUNT, SECOND])

    def enough_wait(*, first: bool) -> Collection[AccountName]:
        return {SECOND} if first and len(waiting) > 1 else ()

    context = context_on(ledger, breakers, clock, Events(), enough_wait=enough_wait, workers=3)
    dispatcher = dispatcher_on(context, archive)
    began = time.monotonic()
    while "first-0000" not in archive.order and time.monotonic() < began + 20:
        dispatcher.pump()
        time.sleep(0.01)
    assert "first-0000" in archive.order
    waiting.clear()
    free.set()
    while not all(name in archive.order for name in theirs) and time.monotonic() < began + 20:
        dispatcher.pump()
        time.sleep(0.01)
        waiting.clear()
    assert dispatcher.wait_idle(20)
    assert len(archive.order) == len(theirs) + 1


def test_dispatcher_takes_only_what_goes_first_where_enough_of_the_rest_wait(ledger: Ledger, clock: Clock) -> None:
    """An id of the last minute passes a flood of older ones; the flood goes on once less of it waits."""
    queued(ledger, *(f"old-{number:04}" for number in range(8)))
    clock.forward(seconds=2 * plan.YOUNG.total_seconds())
    accept(ledger, Intake(ids=(TaskId("young-0000"),)), now=clock())
    enough = {DEFAULT_ACCOUNT}
    archive = Archive(ledger, lambda _: Missing("no"))
    breakers = breakers_on(ledger, clock, Events())
    context = context_on(ledger, breakers, clock, Events(), enough_wait=lambda *, first: () if first else enough)
    dispatcher = dispatcher_on(context, archive)
    while dispatcher.step():
        pass
    assert archive.order == ["young-0000"]
    enough.clear()
    while dispatcher.step():
        pass
    assert len(archive.order) == 9


def held_up(
    ledger: Ledger,
    clock: Clock,
    bad: Collection[str],
    **more: Any,  # noqa: ANN401 - any further field of the context
) -> tuple[LocalDispatcher, Archive, threading.Event]:
    """Return a dispatcher with three workers, of which those at bad tasks stay until the event."""
    go_on = threading.Event()

    def asked(claim: Claim) -> Outcome:
        if claim.task_id in bad:
            go_on.wait(20)
        return Missing("no") if claim.state is TaskState.QUEUED else Yielded(NOW + timedelta(days=1))

    archive, breakers = Archive(ledger, asked), breakers_on(ledger, clock, Events())
    return dispatcher_on(context_on(ledger, breakers, clock, Events(), workers=3, **more), archive), archive, go_on


def pump_until(dispatcher: LocalDispatcher, done: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not done():
        assert time.monotonic() < began + 20
        dispatcher.pump()
        time.sleep(0.01)


def test_one_worker_in_four_stores_what_failed_before_while_enough_wait_for_permits(
    ledger: Ledger, clock: Clock
) -> None:
    """It may ask for links anew, and would hold a transfer thread while it waits."""
    names = [f"tried-{number}-00" for number in range(3)]
    for name in names:
        listed(ledger, name, NOW + timedelta(days=1))
        claim = ledger.claims.claim(owner="setup", now=NOW, lease=LEASE, stage=Stage.STORE, untried_only=True)
        assert claim is not None
        finish(ledger, claim, Later(NOW, "spent", fault=True), now=NOW)
    enough = {DEFAULT_ACCOUNT}
    dispatcher, archive, go_on = held_up(ledger, clock, names, enough_wait=lambda *, first: () if first else enough)
    pump_until(dispatcher, lambda: len(archive.order) == 1)
    assert dispatcher.pump() == 0
    enough.clear()
    pump_until(dispatcher, lambda: len(archive.order) == 3)
    go_on.set()
    assert dispatcher.wait_idle(20)


@pytest.mark.parametrize("how", ["failed", "not ready"])
def test_dispatcher_whose_workers_are_all_at_what_was_tried_before_begins_what_was_not(
    ledger: Ledger, clock: Clock, how: str
) -> None:
    bad = [f"bad-{n:04}" for n in range(9)]
    for name in bad:
        queued(ledger, name)
        claim = ledger.claims.claim(owner="setup", now=NOW, lease=LEASE, stage=Stage.LIST)
        assert claim is not None
        finish(ledger, claim, Later(NOW + timedelta(seconds=1), how, fault=how == "failed"), now=NOW)
    clock.forward(seconds=2)
    dispatcher, archive, go_on = held_up(ledger, clock, bad)
    pump_until(dispatcher, lambda: dispatcher.working == 3)
    for _ in range(3):
        dispatcher.pump()
    assert dispatcher.working == 3, "no more of the same"
    queued(ledger, "good-0000")
    pump_until(dispatcher, lambda: "good-0000" in archive.order)
    go_on.set()
    assert dispatcher.wait_idle(20)


def test_dispatcher_whose_workers_are_all_at_slow_hosts_begins_others(ledger: Ledger, clock: Clock) -> None:
    bad, slow = [f"bad-{n:04}" for n in range(3)], []
    for name in bad:
        listed(ledger, name, NOW + timedelta(days=1))

    def crowd(workers: int, *, wait: bool) -> int:
        slow.append(workers if wait else 0)
        return workers

    dispatcher, archive, go_on = held_up(ledger, clock, bad, crowd=crowd, monotonic=time.monotonic)
    pump_until(dispatcher, lambda: dispatcher.working == 3 and bool(slow))
    for n in range(3):
        queued(ledger, f"good-{n:04}")
    pump_until(dispatcher, lambda: {"good-0000", "good-0001", "good-0002"} <= {*archive.order})
    assert slow[0] == 0
    go_on.set()
    assert dispatcher.wait_idle(20)


def test_dispatcher_while_all_is_held_claims_nothing(ledger: Ledger, clock: Clock) -> None:
    queued(ledger, "fresh-0001")
    listed(ledger, "known-0001", NOW + timedelta(days=1))
    for dependency in Dependency:
        hold(ledger, dependency, now=NOW)
    dispatcher, breakers, _ = dispatcher_of(ledger, clock, lambda _: Archived())
    assert dispatcher.pump() == 0
    for dependency in Dependency:
        lift(ledger, dependency)
    breakers.reload()
    assert dispatcher.pump() > 0
    assert dispatcher.wait_idle(30)


def test_dispatcher_when_the_ledger_fails_stops_claiming_and_says_why(ledger: Ledger, clock: Clock) -> None:
    listed(ledger, "task-0001", NOW + timedelta(days=1))
    listed(ledger, "task-0002", NOW + timedelta(days=2))
    fault = LedgerFault("disk full", "free some space")

    def archive(_: Claim) -> Outcome:
        raise fault

    dispatcher, _, _ = dispatcher_of(ledger, clock, archive, workers=1)
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert dispatcher.fault is fault
    assert dispatcher.pump() == 0


def test_dispatcher_when_a_task_hits_a_bug_goes_on_with_the_next(ledger: Ledger, clock: Clock) -> None:
    listed(ledger, "task-0001", NOW + timedelta(days=1))
    listed(ledger, "task-0002", NOW + timedelta(days=2))
    inner = Archive(ledger)

    def archive(claim: Claim) -> Outcome:
        if claim.task_id == "task-0001":
            raise ZeroDivisionError
        return inner(claim)

    dispatcher, _, events = dispatcher_of(ledger, clock, archive, workers=1)
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert inner.order == ["task-0002"]
    assert [fields["task_id"] for fields in events.of("task.crashed")] == ["task-0001"]


def test_dispatcher_that_gets_no_thread_gives_the_task_back_and_goes_on_once_it_gets_one(
    ledger: Ledger, clock: Clock
) -> None:
    listed(ledger, "task-0001", NOW + timedelta(days=1))
    archive = Archive(ledger)
    dispatcher, _, events = dispatcher_of(ledger, clock, archive, workers=1)
    with no_threads():
        assert [dispatcher.pump() for _ in range(3)] == [0, 0, 0]
    assert (dispatcher.working, len(events.of("thread.refused"))) == (0, 1)
    clock.forward(hours=1)
    assert dispatcher.pump() == 1
    assert dispatcher.wait_idle(20)
    assert archive.order == ["task-0001"]


@pytest.mark.parametrize("times", [1, 4])
def test_task_whose_end_cannot_be_written_down_loses_its_lease_and_is_claimed_again_ever_later(
    ledger: Ledger, clock: Clock, times: int
) -> None:
    listed(ledger, "task-0001", NOW + timedelta(days=1))
    inner, tries = Archive(ledger), 0

    def archive(claim: Claim) -> Outcome:
        nonlocal tries
        tries += 1
        if tries <= times:
            raise IllegalMove("no such move")
        return inner(claim)

    dispatcher, _, events = dispatcher_of(ledger, clock, archive, workers=1)
    waits: list[timedelta] = []
    for _ in range(times):
        while dispatcher.step():
            began = clock.now
        assert tries == len(waits) + 1, "not again at once"
        row = ledger.reports.show(TaskId("task-0001"))
        assert row is not None
        assert row.leased_until is None
        assert "no such move" in row.reason
        assert row.not_before is not None
        waits.append(row.not_before - began)
        clock.now = row.not_before
        dispatcher.renew()
    assert waits == sorted(set(waits)), "each longer than the one before"
    assert dispatcher.step()
    assert inner.order == ["task-0001"]
    assert len(events.of("task.crashed")) == times


def test_lease_that_another_took_over_is_not_given_back_by_its_former_holder(ledger: Ledger, clock: Clock) -> None:
    listed(ledger, "task-0001", NOW + timedelta(days=1))
    former = ledger.claims.claim(owner="me", now=NOW, lease=LEASE)
    assert former is not None
    holder = ledger.claims.claim(owner="other", now=NOW + 2 * LEASE, lease=LEASE)
    assert holder is not None
    ledger.claims.give_back(former, reason="a bug", not_before=NOW)
    finish(ledger, holder, Later(NOW, "holds it still", fault=True), now=NOW)


def slow_archive(ledger: Ledger, clock: Clock, *, asking: int = 1, storing: int = 4) -> Archive:
    """Takes so many seconds for a task; no record is ready yet."""

    def outcome(claim: Claim) -> Outcome:
        clock.now += timedelta(seconds=storing if claim.stems else asking)
        return Archived() if claim.stems else Later(clock() + timedelta(days=5), "later")

    return Archive(ledger, outcome)


def kinds(archive: Archive) -> str:
    """One letter a task in the order of their turns: q was asked about, t was stored."""
    return "".join(name[0] for name in archive.order)


def test_dispatcher_with_one_worker_and_deadlines_far_away_asks_about_all_before_it_stores(
    ledger: Ledger, clock: Clock
) -> None:
    for number in range(3):
        listed(ledger, f"task-{number:04}", NOW + timedelta(days=number + 1))
    queued(ledger, *(f"queued-{number:04}" for number in range(8)))
    archive = slow_archive(ledger, clock)
    dispatcher, _, _ = dispatcher_of(ledger, clock, archive, workers=1)
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert kinds(archive) == "qqqqqqqqttt"


def test_dispatcher_with_one_worker_near_a_deadline_shares_its_time_between_asking_and_storing(
    ledger: Ledger, clock: Clock
) -> None:
    for number in range(3):
        listed(ledger, f"task-{number:04}", NOW + timedelta(seconds=9 + 8 * number))
    queued(ledger, *(f"queued-{number:04}" for number in range(40)))
    archive = slow_archive(ledger, clock)
    dispatcher, _, _ = dispatcher_of(ledger, clock, archive, workers=1)
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert kinds(archive).startswith("qtqqqqtqqqqt"), "four asked for each stored, as storing takes four times as long"


def test_dispatcher_that_had_nothing_to_ask_for_hours_owes_asking_nothing(ledger: Ledger, clock: Clock) -> None:
    for number in range(3):
        listed(ledger, f"task-{number:04}", NOW + timedelta(days=1))
    archive = slow_archive(ledger, clock, storing=3600)
    dispatcher, _, _ = dispatcher_of(ledger, clock, archive, workers=1)
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    listed(ledger, "urgent-0001", clock() + timedelta(seconds=9))
    queued(ledger, *(f"queued-{number:04}" for number in range(40)))
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert kinds(archive).startswith("tttqu")


def test_dispatcher_that_had_nothing_to_store_for_hours_owes_storing_nothing(ledger: Ledger, clock: Clock) -> None:
    queued(ledger, *(f"queued-{number:04}" for number in range(3)))
    archive = slow_archive(ledger, clock, asking=3600)
    dispatcher, _, _ = dispatcher_of(ledger, clock, archive, workers=1)
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    for number in range(3):
        listed(ledger, f"task-{number:04}", clock() + timedelta(days=1))
    queued(ledger, "early-0001")
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert kinds(archive).startswith("qqqet")


def test_dispatcher_when_the_ledger_cannot_tell_the_next_deadline_stops_and_says_why(
    ledger: Ledger, clock: Clock
) -> None:
    fault = LedgerFault("disk full", "free some space")

    class Broken(SqlClaims):
        def next_deadline(self, owner: str, *, now: datetime, enlisted_only: bool = False) -> datetime | None:
            raise fault

    broken = replace(ledger, claims=Broken(ledger.db))
    dispatcher, _, _ = dispatcher_of(broken, clock, Archive(broken), workers=1)
    assert dispatcher.pump() == 0
    assert dispatcher.fault is fault
    assert dispatcher.working == 0


def test_dispatcher_leaves_a_task_that_is_not_due_alone(ledger: Ledger, clock: Clock) -> None:
    queued(ledger, "queued-0001")
    archive = Archive(ledger, lambda _: Later(clock() + timedelta(hours=1), "not ready"))
    dispatcher, _, _ = dispatcher_of(ledger, clock, archive)
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert dispatcher.pump() == 0
    clock.now += timedelta(hours=1)
    assert dispatcher.pump() == 1
    assert dispatcher.wait_idle(20)
    assert len(archive.order) == 2


def test_dispatcher_while_nothing_can_be_stored_asks_for_no_links_of_listed_tasks(ledger: Ledger, clock: Clock) -> None:
    listed(ledger, "task-0001", NOW + timedelta(days=1), query="?sig=1")
    queued(ledger, "queued-0001")

    def outcome(claim: Claim) -> Outcome:
        if claim.stems:
            return Archived() if breakers.try_use(Dependency.ORIGIN, Dependency.STORE) else Yielded()
        return Later(clock() + timedelta(hours=1), "later")

    archive = Archive(ledger, outcome)
    dispatcher, breakers, _ = dispatcher_of(ledger, clock, archive, workers=1)
    breakers.trip(Paused(Dependency.STORE, "r", "h", lasting=True))
    dispatcher.pump()
    assert dispatcher.wait_idle(20), "it must not take the listed task up again and again"
    assert archive.order == ["queued-0001"]
    clock.now = pauses(ledger)[0].next_probe
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert archive.order == ["queued-0001", "task-0001"]


def test_dispatcher_makes_progress_when_idle_when_it_claims_and_when_a_task_ends_and_not_in_between(
    ledger: Ledger, clock: Clock
) -> None:
    at_work, release = threading.Event(), threading.Event()

    def archived_late(_: Claim) -> Outcome:
        at_work.set()
        release.wait(30)
        return Archived()

    signs: list[str] = []
    breakers = breakers_on(ledger, clock, Events())
    context = context_on(ledger, breakers, clock, Events(), workers=2, progress=lambda: signs.append("progress"))
    dispatcher = dispatcher_on(context, Archive(ledger, archived_late))
    dispatcher.pump()
    assert len(signs) == 1, "idle"
    listed(ledger, "task-0001", NOW + timedelta(days=1))
    dispatcher.pump()
    assert at_work.wait(30)
    assert len(signs) == 2, "a claim"
    for _ in range(5):
        dispatcher.pump()
    assert len(signs) == 2, "workers that do nothing are no progress"
    release.set()
    assert dispatcher.wait_idle(30)
    dispatcher.pump()
    assert len(signs) >= 4, "an end, and idle again"


def test_dispatcher_between_two_claims_is_not_idle(ledger: Ledger, clock: Clock) -> None:
    left = iter([Claim(TaskId("task-0001"), "token", TaskState.LISTED, NOW)] * 3000)

    class Endless(SqlClaims):
        """Has so many claims to give, at once: what is between them is most of the time."""

        def claim(self, **_: object) -> Claim | None:
            return next(left, None)

    endless = replace(ledger, claims=Endless(ledger.db))
    dispatcher, _, _ = dispatcher_of(endless, clock, lambda _: Archived(), workers=1)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        dispatcher.pump()
        assert dispatcher.wait_idle(60)
        assert next(left, None) is None
    finally:
        sys.setswitchinterval(usual)


def test_dispatcher_made_larger_and_smaller_holds_as_many_tasks_as_it_was_told_last(
    ledger: Ledger, clock: Clock
) -> None:
    for number in range(8):
        listed(ledger, f"task-{number:04}", NOW + timedelta(days=1))
    permits = threading.Semaphore(0)
    archive = Archive(ledger, lambda _: Archived() if permits.acquire(timeout=30) else Yielded())
    dispatcher, _, _ = dispatcher_of(ledger, clock, archive, workers=1)
    dispatcher.pump()
    dispatcher.resize(3)
    dispatcher.pump()
    assert dispatcher.working == 3
    dispatcher.resize(1)
    permits.release(2)
    give_up = time.monotonic() + 30
    while dispatcher.working > 1 and time.monotonic() < give_up:
        time.sleep(0.01)
    dispatcher.pump()
    assert dispatcher.working == 1
    permits.release(20)
    assert dispatcher.wait_idle(30)
    assert len(archive.order) == 8
