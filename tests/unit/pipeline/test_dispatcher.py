"""The dispatcher over a real ledger: urgency with a full pool, pauses and probes, faults."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archiver.adapters.ledger import SqlLedger
from archiver.core.errors import ApiBusy, LedgerFault, OriginBusy
from archiver.core.model import (
    DEFAULT_ACCOUNT,
    AccountName,
    Archived,
    Claim,
    Dependency,
    Intake,
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
from archiver.core.states import TaskState
from archiver.pipeline.breakers import FAILURES_TO_TRIP, Breakers
from archiver.pipeline.dispatch import DispatchContext, DispatchOptions, LocalDispatcher
from tests.fakes.events import Events

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LEASE = timedelta(minutes=10)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    ledger = SqlLedger.open(f"sqlite:///{tmp_path}/ledger.db")
    yield ledger
    ledger.close()


def queued(ledger: SqlLedger, *names: str) -> None:
    ledger.take_in(Intake(ids=tuple(map(TaskId, names))), source="test", now=NOW)


def listed(ledger: SqlLedger, name: str, deadline: datetime, *, query: str = "") -> None:
    queued(ledger, name)
    claim = ledger.claim(owner="setup", now=NOW, lease=LEASE, stage=Stage.LIST)
    assert claim is not None
    source = StemSource(StemName("vocal"), f"https://cdn.example/{name}.mp3{query}", "vocalUrl")
    claim = ledger.listed(claim, RecordInfo(Phase.DONE, (source,)), deadline, settled=True, now=NOW)
    ledger.finish(claim, Yielded(), record=None, now=NOW)


def dispatcher_of(
    ledger: SqlLedger, clock: Clock, archive: Callable[[Claim], Outcome], *, workers: int = 2
) -> tuple[LocalDispatcher, Breakers, Events]:
    events = Events()
    breakers = Breakers(ledger, clock, events)
    dispatcher = LocalDispatcher(
        DispatchContext(ledger, breakers, DispatchOptions("me", workers), clock, events), archive
    )
    return dispatcher, breakers, events


class Archive:
    """Stands for the pipeline: ends each claim as told and remembers the order."""

    def __init__(self, ledger: SqlLedger, outcome: Callable[[Claim], Outcome] = lambda _: Archived()) -> None:
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
                self.ledger.stored(claim, row.name, Receipt("k", 1, "0" * 64, "e", "audio/mpeg", NOW))
        with self.lock:
            self.under_way -= 1
        self.ledger.finish(claim, outcome, record=None, now=NOW)
        return outcome


def test_dispatcher_with_a_full_pool_takes_the_earliest_deadline_first(ledger: SqlLedger, clock: Clock) -> None:
    days = [9, 2, 14, 5, 1, 12, 7, 3, 11, 6]
    for day in days:
        listed(ledger, f"task-{day:04}", NOW + timedelta(days=day))
    archive = Archive(ledger)
    dispatcher, _, _ = dispatcher_of(ledger, clock, archive, workers=1)
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert archive.order == [f"task-{day:04}" for day in sorted(days)]


def test_dispatcher_never_holds_more_tasks_than_slots_and_refills_without_a_barrier(
    ledger: SqlLedger, clock: Clock
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


def test_dispatcher_when_the_provider_refuses_pauses_it_and_goes_on_storing(ledger: SqlLedger, clock: Clock) -> None:
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
    assert not breakers.admits(Dependency.PROVIDER)
    shown = ledger.show(TaskId("queued-0001"))
    assert shown is not None
    assert (shown.attempts, shown.asks) == (0, 0), "a pause is not the task's fault"


def test_breaker_when_a_probe_is_due_admits_one_and_doubles_its_wait(ledger: SqlLedger, clock: Clock) -> None:
    _, breakers, events = dispatcher_of(ledger, clock, lambda _: Archived())
    refusal = Paused(Dependency.STORE, "store.no_bucket: gone", "create it", lasting=True)
    assert breakers.admits(Dependency.STORE)
    breakers.refused(refusal)
    first = ledger.pauses()[0].next_probe
    assert not breakers.admits(Dependency.STORE)
    clock.now = first
    assert breakers.admits(Dependency.STORE)
    assert not breakers.admits(Dependency.STORE), "one probe at a time"
    breakers.refused(refusal)
    assert ledger.pauses()[0].next_probe - first > first - NOW
    clock.now = ledger.pauses()[0].next_probe
    assert breakers.admits(Dependency.STORE)
    breakers.worked(Dependency.STORE)
    assert breakers.admits(Dependency.STORE)
    assert not ledger.pauses()
    assert [fields["dependency"] for fields in events.of("dependency.resumed")] == ["store"]


def test_breaker_when_a_probe_brings_no_verdict_lets_another_through_after_a_while(
    ledger: SqlLedger, clock: Clock
) -> None:
    _, breakers, _ = dispatcher_of(ledger, clock, lambda _: Archived())
    breakers.refused(Paused(Dependency.STORE, "r", "h", lasting=False))
    clock.now = ledger.pauses()[0].next_probe
    assert breakers.admits(Dependency.STORE)
    clock.now += timedelta(minutes=1)
    assert breakers.admits(Dependency.STORE)


def test_breaker_when_the_clock_is_set_back_does_not_wait_for_it_to_catch_up(ledger: SqlLedger, clock: Clock) -> None:
    _, breakers, _ = dispatcher_of(ledger, clock, lambda _: Archived())
    breakers.refused(Paused(Dependency.STORE, "r", "h", lasting=False))
    clock.now = ledger.pauses()[0].next_probe
    assert breakers.admits(Dependency.STORE)
    clock.now -= timedelta(hours=1)
    assert breakers.admits(Dependency.STORE), "the probe that was taken in the future does not count"
    breakers.refused(Paused(Dependency.STORE, "r", "h", lasting=False))
    assert not breakers.admits(Dependency.STORE)
    assert timedelta() < ledger.pauses()[0].next_probe - clock.now <= timedelta(seconds=30)


def test_breaker_after_many_failures_in_a_row_opens_and_a_success_between_them_prevents_it(
    ledger: SqlLedger, clock: Clock
) -> None:
    _, breakers, _ = dispatcher_of(ledger, clock, lambda _: Archived())
    for _ in range(3):
        for _ in range(FAILURES_TO_TRIP - 1):
            breakers.failed(Dependency.ORIGIN, OriginBusy("503"))
        breakers.worked(Dependency.ORIGIN)
    assert breakers.admits(Dependency.ORIGIN)
    for _ in range(FAILURES_TO_TRIP):
        breakers.failed(Dependency.ORIGIN, OriginBusy("503"))
    assert not breakers.admits(Dependency.ORIGIN)
    assert breakers.admits(Dependency.STORE)
    [pause] = ledger.pauses()
    assert not pause.lasting
    clock.now = pause.next_probe
    assert breakers.admits(Dependency.ORIGIN)
    breakers.failed(Dependency.ORIGIN, OriginBusy("503"))
    assert ledger.pauses()[0].probes == 1, "a failed probe needs no row of failures"


def test_breaker_asked_for_two_takes_no_probe_when_one_of_them_is_shut(ledger: SqlLedger, clock: Clock) -> None:
    _, breakers, _ = dispatcher_of(ledger, clock, lambda _: Archived())
    breakers.refused(Paused(Dependency.ORIGIN, "r", "h", lasting=False))
    clock.now = ledger.pauses()[0].next_probe
    breakers.refused(Paused(Dependency.STORE, "r", "h", lasting=False))
    assert not breakers.admits(Dependency.ORIGIN, Dependency.STORE)
    assert breakers.admits(Dependency.ORIGIN), "its probe is still to be had"


def test_breakers_at_a_new_start_probe_at_once(ledger: SqlLedger, clock: Clock) -> None:
    _, breakers, _ = dispatcher_of(ledger, clock, lambda _: Archived())
    breakers.refused(Paused(Dependency.PROVIDER, "r", "h", lasting=True))
    breakers = Breakers(ledger, clock, Events())
    breakers.reload()
    assert breakers.admits(Dependency.PROVIDER), "also once it has looked into the ledger again"
    ledger.pause(Dependency.PROVIDER, reason="401", hint="key", lasting=True, now=clock.now)
    breakers.reload()
    clock.now += timedelta(minutes=1, seconds=1)
    ledger.pause(Dependency.PROVIDER, reason="401", hint="key", lasting=True, now=clock.now)
    breakers.reload()
    assert not breakers.admits(Dependency.PROVIDER), "and not before the next probe is due, once one has failed"


SECOND = AccountName("second")


def test_breaker_of_one_account_leaves_the_others_open(ledger: SqlLedger, clock: Clock) -> None:
    events = Events()
    breakers = Breakers(ledger, clock, events, [DEFAULT_ACCOUNT, SECOND])
    breakers.refused(Paused(Dependency.PROVIDER, "401", "key", lasting=True, account=SECOND))
    assert events.of("dependency.paused")[0]["account"] == "second"
    assert set(breakers.barred()) == {SECOND}
    assert not breakers.admits(Dependency.PROVIDER, account=SECOND)
    assert breakers.admits(Dependency.PROVIDER)
    assert breakers.open_for(Dependency.PROVIDER)
    breakers.worked(Dependency.PROVIDER)
    assert ledger.pauses(), "what works for one ends no pause of another"
    breakers.refused(Paused(Dependency.PROVIDER, "401", "key", lasting=True))
    assert not breakers.open_for(Dependency.PROVIDER)
    assert breakers.paused() == [Dependency.PROVIDER]
    clock.now = max(pause.next_probe for pause in ledger.pauses())
    assert not breakers.barred()
    assert breakers.admits(Dependency.PROVIDER, account=SECOND)
    assert set(breakers.barred()) == {SECOND}, "it is being probed"
    breakers.worked(Dependency.PROVIDER, SECOND)
    assert [pause.account for pause in ledger.pauses()] == [DEFAULT_ACCOUNT]
    assert events.of("dependency.resumed") == [{"dependency": "provider", "account": "second"}]


def test_breaker_counts_failures_of_the_provider_for_each_account(ledger: SqlLedger, clock: Clock) -> None:
    breakers = Breakers(ledger, clock, Events(), [DEFAULT_ACCOUNT, SECOND])
    for _ in range(FAILURES_TO_TRIP - 1):
        breakers.failed(Dependency.PROVIDER, ApiBusy("503"))
        breakers.failed(Dependency.PROVIDER, ApiBusy("503"), SECOND)
    breakers.worked(Dependency.PROVIDER)
    assert ledger.pauses() == ()
    breakers.failed(Dependency.PROVIDER, ApiBusy("503"), SECOND)
    assert [pause.account for pause in ledger.pauses()] == [SECOND]


def test_breakers_of_origin_and_store_are_the_same_for_all_accounts(ledger: SqlLedger, clock: Clock) -> None:
    breakers = Breakers(ledger, clock, Events(), [DEFAULT_ACCOUNT, SECOND])
    for account in (DEFAULT_ACCOUNT, SECOND) * (FAILURES_TO_TRIP // 2):
        breakers.failed(Dependency.ORIGIN, OriginBusy("503"), account)
    assert breakers.shut(Dependency.ORIGIN)
    breakers.refused(Paused(Dependency.STORE, "403", "grant", lasting=True, account=SECOND))
    assert breakers.shut(Dependency.STORE)
    assert not breakers.admits(Dependency.STORE)


def test_breaker_that_is_held_shuts_every_account_and_what_each_meets_changes_nothing(
    ledger: SqlLedger, clock: Clock
) -> None:
    events = Events()
    breakers = Breakers(ledger, clock, events, [DEFAULT_ACCOUNT, SECOND])
    ledger.hold(Dependency.PROVIDER, until=None, now=clock.now)
    breakers.reload()
    breakers.refused(Paused(Dependency.PROVIDER, "401", "key", lasting=True, account=SECOND))
    breakers.worked(Dependency.PROVIDER, SECOND)
    for account in (DEFAULT_ACCOUNT, SECOND):
        assert not breakers.admits(Dependency.PROVIDER, account=account)
    assert not breakers.open_for(Dependency.PROVIDER)
    assert events.of("dependency.paused") == []
    ledger.lift(Dependency.PROVIDER)
    breakers.reload()
    assert breakers.admits(Dependency.PROVIDER, account=SECOND)


def test_dispatcher_with_one_account_paused_asks_for_the_others_and_stores_for_all(
    ledger: SqlLedger, clock: Clock
) -> None:
    theirs, known = TaskId("second-0001"), "second-0000"
    ledger.take_in(Intake(ids=(theirs,), accounts={theirs: SECOND}), source="test", now=NOW)
    queued(ledger, "first-0002")
    archive = Archive(ledger, lambda claim: Archived() if claim.stems else Missing("no"))
    dispatcher, breakers, _ = dispatcher_of(ledger, clock, archive)
    breakers.refused(Paused(Dependency.PROVIDER, "401", "key", lasting=True, account=SECOND))
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert archive.order == ["first-0002"]
    listed(ledger, known, NOW + timedelta(days=1))
    ledger.take_in(Intake(accounts={TaskId(known): SECOND}), source="test", now=NOW)
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert archive.order == ["first-0002", known], "its links need no key"
    clock.now = ledger.pauses()[0].next_probe
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert archive.order[-1] == theirs, "the probe"


def test_dispatcher_lets_no_crowded_account_fill_its_workers(ledger: SqlLedger, clock: Clock) -> None:
    theirs = tuple(TaskId(f"second-{number:04}") for number in range(8))
    ledger.take_in(Intake(ids=theirs, accounts=dict.fromkeys(theirs, SECOND)), source="test", now=NOW)
    queued(ledger, "first-0000")
    waiting, free = set[str](), threading.Event()

    def asked(claim: Claim) -> Outcome:
        if claim.account == SECOND:
            waiting.add(claim.task_id)
            free.wait(20)
        return Missing("no")

    archive = Archive(ledger, asked)
    breakers = Breakers(ledger, clock, Events(), [DEFAULT_ACCOUNT, SECOND])

    def crowded() -> Collection[AccountName]:
        return {SECOND} if waiting else ()

    dispatcher = LocalDispatcher(
        DispatchContext(ledger, breakers, DispatchOptions("me", 3), clock, Events(), crowded=crowded), archive
    )
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


def test_breaker_of_what_the_operator_holds_is_never_probed_and_opens_when_it_is_lifted(
    ledger: SqlLedger, clock: Clock
) -> None:
    _, breakers, events = dispatcher_of(ledger, clock, lambda _: Archived())
    ledger.hold(Dependency.STORE, until=None, now=clock.now)
    breakers.reload()
    clock.now += timedelta(days=30)
    assert not breakers.admits(Dependency.STORE)
    assert breakers.shut(Dependency.STORE)
    for _ in range(FAILURES_TO_TRIP):
        breakers.failed(Dependency.STORE, OriginBusy("503"))
    breakers.worked(Dependency.STORE)
    assert not breakers.admits(Dependency.STORE), "a transfer that was under way ends no hold"
    assert not Breakers(ledger, clock, Events()).admits(Dependency.STORE), "nor does a new start"
    assert breakers.admits(Dependency.PROVIDER)
    ledger.lift(Dependency.STORE)
    breakers.reload()
    assert breakers.admits(Dependency.STORE)
    assert [len(events.of(f"dependency.{what}")) for what in ("held", "released", "paused", "resumed")] == [1, 1, 0, 0]


def test_breaker_of_what_is_held_for_a_while_opens_when_the_time_is_over(ledger: SqlLedger, clock: Clock) -> None:
    ledger.hold(Dependency.PROVIDER, until=NOW + timedelta(hours=2), now=NOW)
    _, breakers, events = dispatcher_of(ledger, clock, lambda _: Archived())
    assert len(events.of("dependency.held")) == 1, "said at a start, too"
    assert not breakers.admits(Dependency.PROVIDER), "a start does not end it"
    clock.now += timedelta(hours=2, seconds=-1)
    breakers.reload()
    assert not breakers.admits(Dependency.PROVIDER)
    clock.now += timedelta(seconds=1)
    breakers.reload()
    assert breakers.admits(Dependency.PROVIDER)
    assert ledger.pauses() == ()


def test_dispatcher_while_all_is_held_claims_nothing(ledger: SqlLedger, clock: Clock) -> None:
    queued(ledger, "fresh-0001")
    listed(ledger, "known-0001", NOW + timedelta(days=1))
    for dependency in Dependency:
        ledger.hold(dependency, until=None, now=NOW)
    dispatcher, breakers, _ = dispatcher_of(ledger, clock, lambda _: Archived())
    assert dispatcher.pump() == 0
    for dependency in Dependency:
        ledger.lift(dependency)
    breakers.reload()
    assert dispatcher.pump() > 0
    assert dispatcher.wait_idle(30)


def test_dispatcher_when_the_ledger_fails_stops_claiming_and_says_why(ledger: SqlLedger, clock: Clock) -> None:
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


def test_dispatcher_when_a_task_hits_a_bug_goes_on_with_the_next(ledger: SqlLedger, clock: Clock) -> None:
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


def slow_archive(ledger: SqlLedger, clock: Clock, *, asking: int = 1, storing: int = 4) -> Archive:
    """Takes so many seconds for a task; no record is ready yet."""

    def outcome(claim: Claim) -> Outcome:
        clock.now += timedelta(seconds=storing if claim.stems else asking)
        return Archived() if claim.stems else Later(clock() + timedelta(days=5), "later")

    return Archive(ledger, outcome)


def kinds(archive: Archive) -> str:
    """One letter a task in the order of their turns: q was asked about, t was stored."""
    return "".join(name[0] for name in archive.order)


def test_dispatcher_with_one_slot_and_deadlines_far_away_asks_about_all_before_it_stores(
    ledger: SqlLedger, clock: Clock
) -> None:
    for number in range(3):
        listed(ledger, f"task-{number:04}", NOW + timedelta(days=number + 1))
    queued(ledger, *(f"queued-{number:04}" for number in range(8)))
    archive = slow_archive(ledger, clock)
    dispatcher, _, _ = dispatcher_of(ledger, clock, archive, workers=1)
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert kinds(archive) == "qqqqqqqqttt"


def test_dispatcher_with_one_slot_near_a_deadline_shares_its_time_between_asking_and_storing(
    ledger: SqlLedger, clock: Clock
) -> None:
    for number in range(3):
        listed(ledger, f"task-{number:04}", NOW + timedelta(seconds=9 + 8 * number))
    queued(ledger, *(f"queued-{number:04}" for number in range(40)))
    archive = slow_archive(ledger, clock)
    dispatcher, _, _ = dispatcher_of(ledger, clock, archive, workers=1)
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert kinds(archive).startswith("qtqqqqtqqqqt"), "four asked for each stored, as storing takes four times as long"


def test_dispatcher_that_had_nothing_to_ask_for_hours_owes_asking_nothing(ledger: SqlLedger, clock: Clock) -> None:
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


def test_dispatcher_that_had_nothing_to_store_for_hours_owes_storing_nothing(ledger: SqlLedger, clock: Clock) -> None:
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
    tmp_path: Path, clock: Clock
) -> None:
    fault = LedgerFault("disk full", "free some space")

    class Broken(SqlLedger):
        def next_deadline(self, owner: str, *, now: datetime, enlisted_only: bool = False) -> datetime | None:
            raise fault

    ledger = Broken.open(f"sqlite:///{tmp_path}/ledger.db")
    dispatcher, _, _ = dispatcher_of(ledger, clock, Archive(ledger), workers=1)
    assert dispatcher.pump() == 0
    assert dispatcher.fault is fault
    assert dispatcher.working == 0
    ledger.close()


def test_dispatcher_leaves_a_task_that_is_not_due_alone(ledger: SqlLedger, clock: Clock) -> None:
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


def test_dispatcher_while_nothing_can_be_stored_asks_for_no_links_of_listed_tasks(
    ledger: SqlLedger, clock: Clock
) -> None:
    listed(ledger, "task-0001", NOW + timedelta(days=1), query="?sig=1")
    queued(ledger, "queued-0001")

    def outcome(claim: Claim) -> Outcome:
        if claim.stems:
            return Archived() if breakers.admits(Dependency.ORIGIN, Dependency.STORE) else Yielded()
        return Later(clock() + timedelta(hours=1), "later")

    archive = Archive(ledger, outcome)
    dispatcher, breakers, _ = dispatcher_of(ledger, clock, archive, workers=1)
    breakers.refused(Paused(Dependency.STORE, "r", "h", lasting=True))
    dispatcher.pump()
    assert dispatcher.wait_idle(20), "it must not take the listed task up again and again"
    assert archive.order == ["queued-0001"]
    clock.now = ledger.pauses()[0].next_probe
    dispatcher.pump()
    assert dispatcher.wait_idle(20)
    assert archive.order == ["queued-0001", "task-0001"]


def test_dispatcher_makes_progress_when_idle_when_it_claims_and_when_a_task_ends_and_not_in_between(
    ledger: SqlLedger, clock: Clock
) -> None:
    at_work, release = threading.Event(), threading.Event()

    def archived_late(_: Claim) -> Outcome:
        at_work.set()
        release.wait(30)
        return Archived()

    beats: list[str] = []
    breakers = Breakers(ledger, clock, Events())
    context = DispatchContext(
        ledger, breakers, DispatchOptions("me", 2), clock, Events(), progress=lambda: beats.append("beat")
    )
    dispatcher = LocalDispatcher(context, Archive(ledger, archived_late))
    dispatcher.pump()
    assert len(beats) == 1, "idle"
    listed(ledger, "task-0001", NOW + timedelta(days=1))
    dispatcher.pump()
    assert at_work.wait(30)
    assert len(beats) == 2, "a claim"
    for _ in range(5):
        dispatcher.pump()
    assert len(beats) == 2, "workers that do nothing are no progress"
    release.set()
    assert dispatcher.wait_idle(30)
    dispatcher.pump()
    assert len(beats) >= 4, "an end, and idle again"


def test_dispatcher_between_two_claims_is_not_idle(tmp_path: Path, clock: Clock) -> None:
    left = iter([Claim(TaskId("task-0001"), "token", TaskState.LISTED, NOW)] * 3000)

    class Endless(SqlLedger):
        """Has so many claims to give, at once: what is between them is most of the time."""

        def claim(self, **_: object) -> Claim | None:
            return next(left, None)

    ledger = Endless.open(f"sqlite:///{tmp_path}/ledger.db")
    dispatcher, _, _ = dispatcher_of(ledger, clock, lambda _: Archived(), workers=1)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        dispatcher.pump()
        assert dispatcher.wait_idle(60)
        assert next(left, None) is None
    finally:
        sys.setswitchinterval(usual)
        ledger.close()


def test_dispatcher_made_larger_and_smaller_holds_as_many_tasks_as_it_was_told_last(
    ledger: SqlLedger, clock: Clock
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
