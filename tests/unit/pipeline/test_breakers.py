"""Circuit breakers over a real ledger: what trips one, what is let through, what ends the pause."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from archiver.core.errors import ApiBusy, OriginBusy
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Dependency, Paused, Subject, TaskId, Yielded
from archiver.pipeline.breakers import Breakers
from tests.fakes.events import Events
from tests.fakes.time import NOW, Clock
from tests.fixtures.ledgers import finish, hold, lift, listed, pause, pauses
from tests.house import Ledger

SECOND = AccountName("second")


def test_breaker_when_a_probe_is_due_lets_one_through_and_doubles_its_wait(ledger: Ledger, clock: Clock) -> None:
    events = Events()
    breakers = Breakers(ledger.pauses, clock, events)
    refusal = Paused(Dependency.STORE, "store.no_bucket: gone", "create it", lasting=True)
    assert breakers.try_use(Dependency.STORE)
    breakers.trip(refusal)
    first = pauses(ledger)[0].next_probe
    assert not breakers.try_use(Dependency.STORE)
    clock.now = first
    assert breakers.try_use(Dependency.STORE)
    assert not breakers.try_use(Dependency.STORE), "one probe at a time"
    breakers.trip(refusal)
    assert pauses(ledger)[0].next_probe - first > first - NOW
    clock.now = pauses(ledger)[0].next_probe
    assert breakers.try_use(Dependency.STORE)
    breakers.worked(Dependency.STORE)
    assert breakers.try_use(Dependency.STORE)
    assert not pauses(ledger)
    assert [fields["dependency"] for fields in events.of("dependency.resumed")] == ["store"]


def test_breaker_refused_when_a_probe_is_due_that_nobody_took_waits_for_the_next(ledger: Ledger, clock: Clock) -> None:
    breakers = Breakers(ledger.pauses, clock, Events())
    refusal = Paused(Dependency.STORE, "store.full: 507", "free space", lasting=False)
    breakers.trip(refusal)
    breakers.trip(refusal)
    assert pauses(ledger)[0].probes == 0, "what was begun before the pause is no probe"
    clock.now = pauses(ledger)[0].next_probe
    breakers.trip(refusal)
    assert not breakers.is_available(Dependency.STORE)
    assert pauses(ledger)[0].probes == 1


def test_breaker_when_a_probe_brings_no_verdict_lets_another_through_after_a_while(
    ledger: Ledger, clock: Clock
) -> None:
    breakers = Breakers(ledger.pauses, clock, Events())
    breakers.trip(Paused(Dependency.STORE, "r", "h", lasting=False))
    clock.now = pauses(ledger)[0].next_probe
    assert breakers.try_use(Dependency.STORE)
    clock.now += timedelta(minutes=1)
    assert breakers.try_use(Dependency.STORE)


def test_breaker_when_the_clock_is_set_back_does_not_wait_for_it_to_catch_up(ledger: Ledger, clock: Clock) -> None:
    breakers = Breakers(ledger.pauses, clock, Events())
    breakers.trip(Paused(Dependency.STORE, "r", "h", lasting=False))
    clock.now = pauses(ledger)[0].next_probe
    assert breakers.try_use(Dependency.STORE)
    clock.now -= timedelta(hours=1)
    assert breakers.try_use(Dependency.STORE), "the probe that was taken in the future does not count"
    breakers.trip(Paused(Dependency.STORE, "r", "h", lasting=False))
    assert not breakers.try_use(Dependency.STORE)
    assert timedelta() < pauses(ledger)[0].next_probe - clock.now <= timedelta(seconds=30)


def test_breaker_after_many_failures_in_a_row_trips_and_a_success_between_them_prevents_it(
    ledger: Ledger, clock: Clock
) -> None:
    breakers = Breakers(ledger.pauses, clock, Events())
    for _ in range(3):
        for _ in range(7):
            breakers.failed(Dependency.ORIGIN, OriginBusy("503"))
        breakers.worked(Dependency.ORIGIN)
    assert breakers.try_use(Dependency.ORIGIN)
    for _ in range(8):
        breakers.failed(Dependency.ORIGIN, OriginBusy("503"))
    assert not breakers.try_use(Dependency.ORIGIN)
    assert breakers.try_use(Dependency.STORE)
    [pause] = pauses(ledger)
    assert not pause.lasting
    clock.now = pause.next_probe
    assert breakers.try_use(Dependency.ORIGIN)
    breakers.failed(Dependency.ORIGIN, OriginBusy("503"))
    assert pauses(ledger)[0].probes == 1, "a failed probe needs no row of failures"


def test_breaker_counts_the_failures_of_one_task_once_unless_they_last(ledger: Ledger, clock: Clock) -> None:
    breakers = Breakers(ledger.pauses, clock, Events())
    for n in range(21):
        clock.forward(seconds=10)
        breakers.failed(Dependency.ORIGIN, OriginBusy("refused"), by=n % 7)
    assert pauses(ledger) == ()
    clock.forward(minutes=3)
    breakers.failed(Dependency.ORIGIN, OriginBusy("refused"), by=0)
    assert pauses(ledger)


def test_breaker_counts_many_failures_of_a_few_tasks_sooner(ledger: Ledger, clock: Clock) -> None:
    breakers = Breakers(ledger.pauses, clock, Events())
    for host, tasks in (("one.example", 2), ("few.example", 5)):
        for n in range(40):
            clock.forward(seconds=2)
            breakers.failed(Dependency.ORIGIN, OriginBusy("refused"), host=host, by=n % tasks)
    assert [pause.host for pause in pauses(ledger)] == ["few.example"]


def test_newcomers_try_a_paused_host_beside_its_probes_one_at_a_time_and_seldom(ledger: Ledger, clock: Clock) -> None:
    breakers = Breakers(ledger.pauses, clock, Events())
    for n in range(8):
        breakers.failed(Dependency.ORIGIN, OriginBusy("timeout"), host="cdn.example", by=n)
    [pause] = pauses(ledger)

    def may(name: str, *, newcomer: bool = True) -> bool:
        return breakers.try_use(Dependency.ORIGIN, host="cdn.example", by=TaskId(name), newcomer=newcomer)

    assert not may("waits", newcomer=False)
    assert breakers.is_blocked(Dependency.ORIGIN, host="cdn.example")
    assert may("new-1")
    assert not breakers.is_blocked(Dependency.ORIGIN, host="cdn.example"), "it may begin"
    clock.forward(seconds=4)
    assert not may("new-2"), "the first is at it"
    breakers.failed(Dependency.ORIGIN, OriginBusy("timeout"), host="cdn.example", by=TaskId("new-1"))
    breakers.give_back(TaskId("new-1"))
    assert not may("new-2"), "the first was a moment ago"
    assert pauses(ledger) == (pause,), "it was no probe"
    clock.forward(seconds=1)
    assert may("probe", newcomer=False)
    assert may("new-2")
    breakers.worked(Dependency.ORIGIN, host="cdn.example")
    assert pauses(ledger) == ()
    assert breakers.evidence.eases()
    hold(ledger, Dependency.ORIGIN)
    breakers.reload()
    assert not may("new-3"), "what the operator holds is not tried"


def test_breakers_remember_1_024_hosts_that_gave_a_file_whole_and_then_forget_the_first(
    ledger: Ledger, clock: Clock
) -> None:
    breakers = Breakers(ledger.pauses, clock, Events())
    for number in range(1_024):
        breakers.worked(Dependency.ORIGIN, host=f"cdn-{number}.example")
    assert breakers.serves_others("cdn-0.example")
    breakers.worked(Dependency.ORIGIN, host="cdn-1024.example")
    assert [breakers.serves_others(f"cdn-{number}.example") for number in (0, 1, 1_024)] == [False, True, True]


def test_breaker_of_a_host_that_has_just_given_a_file_whole_does_not_trip(ledger: Ledger, clock: Clock) -> None:
    breakers = Breakers(ledger.pauses, clock, Events())
    for _ in range(3):
        breakers.worked(Dependency.ORIGIN, host="cdn.example")
        clock.forward(seconds=10)
        for _ in range(20):
            breakers.failed(Dependency.ORIGIN, OriginBusy("timeout"), host="cdn.example")
    assert pauses(ledger) == ()
    clock.forward(seconds=6)
    breakers.failed(Dependency.ORIGIN, OriginBusy("timeout"), host="cdn.example")
    assert pauses(ledger)


def test_breaker_asked_for_two_takes_no_probe_when_one_of_them_is_blocked(ledger: Ledger, clock: Clock) -> None:
    breakers = Breakers(ledger.pauses, clock, Events())
    breakers.trip(Paused(Dependency.ORIGIN, "r", "h", lasting=False))
    clock.now = pauses(ledger)[0].next_probe
    breakers.trip(Paused(Dependency.STORE, "r", "h", lasting=False))
    assert not breakers.try_use(Dependency.ORIGIN, Dependency.STORE)
    assert breakers.try_use(Dependency.ORIGIN), "its probe is still to be had"


def test_breakers_at_a_new_start_probe_at_once(ledger: Ledger, clock: Clock) -> None:
    breakers = Breakers(ledger.pauses, clock, Events())
    breakers.trip(Paused(Dependency.PROVIDER, "r", "h", lasting=True))
    breakers = Breakers(ledger.pauses, clock, Events())
    breakers.reload()
    assert breakers.try_use(Dependency.PROVIDER), "also once it has looked into the ledger again"
    pause(ledger, Dependency.PROVIDER, reason="401", hint="key", lasting=True, now=clock.now)
    breakers.reload()
    clock.now += timedelta(minutes=1, seconds=1)
    pause(ledger, Dependency.PROVIDER, reason="401", hint="key", lasting=True, now=clock.now)
    breakers.reload()
    assert not breakers.try_use(Dependency.PROVIDER), "and not before the next probe is due, once one has failed"


def test_breaker_of_one_account_leaves_the_others_available(ledger: Ledger, clock: Clock) -> None:
    events = Events()
    breakers = Breakers(ledger.pauses, clock, events, [DEFAULT_ACCOUNT, SECOND])
    breakers.trip(Paused(Dependency.PROVIDER, "401", "key", lasting=True, account=SECOND))
    assert events.of("dependency.paused")[0]["account"] == "second"
    assert set(breakers.blocked_accounts()) == {SECOND}
    assert not breakers.try_use(Dependency.PROVIDER, account=SECOND)
    assert breakers.try_use(Dependency.PROVIDER)
    assert breakers.is_available(Dependency.PROVIDER)
    breakers.worked(Dependency.PROVIDER)
    assert pauses(ledger), "what works for one ends no pause of another"
    breakers.trip(Paused(Dependency.PROVIDER, "401", "key", lasting=True))
    assert not breakers.is_available(Dependency.PROVIDER)
    assert list(breakers.paused()) == [Dependency.PROVIDER]
    clock.now = max(pause.next_probe for pause in pauses(ledger))
    assert not breakers.blocked_accounts()
    assert breakers.try_use(Dependency.PROVIDER, account=SECOND)
    assert set(breakers.blocked_accounts()) == {SECOND}, "it is being probed"
    breakers.worked(Dependency.PROVIDER, SECOND)
    assert [pause.account for pause in pauses(ledger)] == [DEFAULT_ACCOUNT]
    assert events.of("dependency.resumed") == [{"dependency": "provider", "account": "second"}]


def test_breaker_counts_failures_of_the_provider_for_each_account(ledger: Ledger, clock: Clock) -> None:
    breakers = Breakers(ledger.pauses, clock, Events(), [DEFAULT_ACCOUNT, SECOND])
    for _ in range(7):
        breakers.failed(Dependency.PROVIDER, ApiBusy("503"))
        breakers.failed(Dependency.PROVIDER, ApiBusy("503"), SECOND)
    breakers.worked(Dependency.PROVIDER)
    assert pauses(ledger) == ()
    breakers.failed(Dependency.PROVIDER, ApiBusy("503"), SECOND)
    assert [pause.account for pause in pauses(ledger)] == [SECOND]


def test_breakers_of_origin_and_store_are_the_same_for_all_accounts(ledger: Ledger, clock: Clock) -> None:
    breakers = Breakers(ledger.pauses, clock, Events(), [DEFAULT_ACCOUNT, SECOND])
    for account in (DEFAULT_ACCOUNT, SECOND) * 4:
        breakers.failed(Dependency.ORIGIN, OriginBusy("503"), account)
    assert breakers.is_blocked(Dependency.ORIGIN)
    breakers.trip(Paused(Dependency.STORE, "403", "grant", lasting=True, account=SECOND))
    assert breakers.is_blocked(Dependency.STORE)
    assert not breakers.try_use(Dependency.STORE)


def test_breaker_that_is_held_blocks_every_account_and_what_each_meets_changes_nothing(
    ledger: Ledger, clock: Clock
) -> None:
    events = Events()
    breakers = Breakers(ledger.pauses, clock, events, [DEFAULT_ACCOUNT, SECOND])
    hold(ledger, Dependency.PROVIDER, now=clock.now)
    breakers.reload()
    breakers.trip(Paused(Dependency.PROVIDER, "401", "key", lasting=True, account=SECOND))
    breakers.worked(Dependency.PROVIDER, SECOND)
    for account in (DEFAULT_ACCOUNT, SECOND):
        assert not breakers.try_use(Dependency.PROVIDER, account=account)
    assert not breakers.is_available(Dependency.PROVIDER)
    assert events.of("dependency.paused") == []
    lift(ledger, Dependency.PROVIDER)
    breakers.reload()
    assert breakers.try_use(Dependency.PROVIDER, account=SECOND)


def test_breaker_of_what_the_operator_holds_is_never_probed_and_available_when_it_is_lifted(
    ledger: Ledger, clock: Clock
) -> None:
    events = Events()
    breakers = Breakers(ledger.pauses, clock, events)
    hold(ledger, Dependency.STORE, now=clock.now)
    breakers.reload()
    clock.now += timedelta(days=30)
    assert not breakers.try_use(Dependency.STORE)
    assert breakers.is_blocked(Dependency.STORE)
    for _ in range(8):
        breakers.failed(Dependency.STORE, OriginBusy("503"))
    breakers.worked(Dependency.STORE)
    assert not breakers.try_use(Dependency.STORE), "a transfer that was under way ends no hold"
    assert not Breakers(ledger.pauses, clock, Events()).try_use(Dependency.STORE), "nor does a new start"
    assert breakers.try_use(Dependency.PROVIDER)
    lift(ledger, Dependency.STORE)
    breakers.reload()
    assert breakers.try_use(Dependency.STORE)
    assert [len(events.of(f"dependency.{what}")) for what in ("held", "released", "paused", "resumed")] == [1, 1, 0, 0]


def test_breaker_of_what_is_held_for_a_while_is_available_when_the_time_ends(ledger: Ledger, clock: Clock) -> None:
    hold(ledger, Dependency.PROVIDER, until=NOW + timedelta(hours=2), now=NOW)
    events = Events()
    breakers = Breakers(ledger.pauses, clock, events)
    assert len(events.of("dependency.held")) == 1, "said at a start, too"
    assert not breakers.try_use(Dependency.PROVIDER), "a start does not end it"
    clock.now += timedelta(hours=2, seconds=-1)
    breakers.reload()
    assert not breakers.try_use(Dependency.PROVIDER)
    clock.now += timedelta(seconds=1)
    breakers.reload()
    assert breakers.try_use(Dependency.PROVIDER)
    assert pauses(ledger) == ()


def test_backlog_behind_a_dead_host_looks_one_after_the_other_each_within_its_time(
    ledger: Ledger, clock: Clock
) -> None:
    host = Subject(Dependency.ORIGIN, host="cdn.example")
    breakers = Breakers(ledger.pauses, clock, Events())
    breakers.trip(Paused(Dependency.ORIGIN, "cdn.busy: down", "", lasting=False, host=host.host))
    looks = [breakers.look_at(host, timedelta(hours=6)) - NOW for _ in range(5000)]
    assert all(later - look == timedelta(seconds=5) for look, later in pairwise(looks[:4000])), "one for each probe"
    assert looks[-1] == timedelta(hours=6)
    assert breakers.look_at(host, timedelta(minutes=30)) - NOW == timedelta(minutes=30), "its deadline is near"
    breakers.worked(Dependency.ORIGIN, host=host.host)
    assert breakers.look_at(host, timedelta(hours=6)) == NOW


@pytest.mark.parametrize(
    "subject",
    [Subject.of(Dependency.PROVIDER, SECOND), Subject.of(Dependency.ORIGIN, host="cdn.example")],
    ids=["account of the provider", "host"],
)
def test_pause_that_a_task_waits_for_ends_two_hours_after_its_probe_was_due_and_any_other_after_five_minutes(
    ledger: Ledger, clock: Clock, subject: Subject
) -> None:
    breakers = Breakers(ledger.pauses, clock, Events())

    def lasts(span: timedelta) -> bool:
        breakers.trip(Paused(subject.dependency, "r", "h", lasting=True, account=subject.account, host=subject.host))
        [paused] = pauses(ledger)
        clock.now = paused.next_probe + span
        breakers.reload()
        return bool(breakers.paused())

    assert lasts(timedelta(minutes=5, seconds=-1))
    assert not lasts(timedelta(minutes=5))
    waiting = listed(ledger)
    finish(ledger, waiting, Yielded(clock.now + timedelta(days=1), (subject,)))
    assert lasts(timedelta(hours=2, seconds=-1))
    assert not lasts(timedelta(hours=2))


def test_pause_of_the_store_and_a_hold_end_not_because_nobody_probed_them(ledger: Ledger, clock: Clock) -> None:
    breakers = Breakers(ledger.pauses, clock, Events())
    breakers.trip(Paused(Dependency.STORE, "r", "h", lasting=False))
    hold(ledger, Dependency.PROVIDER, now=clock())
    clock.now += timedelta(days=1)
    breakers.reload()
    assert {*breakers.paused()} == {Dependency.STORE, Dependency.PROVIDER}
