from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from archiver.core.errors import LeaseLost
from archiver.core.intake import Intake
from archiver.core.model import (
    DEFAULT_ACCOUNT,
    AccountName,
    Archived,
    Claim,
    Later,
    Paused,
    Refused,
    Stage,
    StemName,
    Yielded,
)
from archiver.core.model import Dependency as Dep
from archiver.core.states import StemEvent, StemState, TaskState
from tests.fixtures.ledgers import (
    DAY,
    DEADLINE,
    LEASE,
    NOW,
    SECOND,
    accept,
    claim,
    finish,
    listed,
    no_claim,
    open_work,
    overview,
    receipt,
    record,
    release,
    relisted,
    renew,
    shown,
    stem_failed,
    stored,
    take_in,
    tid,
)
from tests.house import Ledger, ledger_at


def _later(ledger: Ledger, mine: Claim, *, days: float = 0, fault: bool = True) -> None:
    finish(ledger, mine, Later(NOW + days * DAY, "busy", fault=fault))


# --- order


def test_claim_takes_the_earliest_deadline_whatever_the_order_of_arrival(ledger: Ledger) -> None:
    for number, days in ((1, 9), (2, 3), (3, 6)):
        _later(ledger, listed(ledger, number, deadline=NOW + days * DAY))
    assert [claim(ledger).task_id for _ in range(3)] == [tid(2), tid(3), tid(1)]


def test_claim_takes_a_task_whose_deadline_has_passed_only_when_no_other_is_left(ledger: Ledger) -> None:
    _later(ledger, listed(ledger, 1, deadline=NOW - DAY))
    _later(ledger, listed(ledger, 2, deadline=NOW + DAY))
    take_in(ledger, 3)
    assert [claim(ledger).task_id for _ in range(3)] == [tid(3), tid(2), tid(1)]


def test_queued_tasks_go_in_turn_from_both_ends_of_their_age_where_no_link_is_needed(ledger: Ledger) -> None:
    take_in(ledger, 2, now=NOW - DAY)
    take_in(ledger, 1)
    take_in(ledger, 3, now=NOW - 2 * DAY)
    assert [claim(ledger, stage=Stage.LIST).task_id for _ in range(3)] == [tid(1), tid(3), tid(2)]


def test_a_task_is_not_due_before_its_time(ledger: Ledger) -> None:
    _later(ledger, listed(ledger), days=1)
    assert no_claim(ledger, now=NOW + DAY - SECOND)
    assert claim(ledger, now=NOW + DAY).task_id == tid(1)


def test_a_not_before_written_while_the_clock_was_wrong_does_not_keep_a_task_waiting(ledger: Ledger) -> None:
    take_in(ledger, 1, now=NOW + 365 * DAY)
    assert claim(ledger).task_id == tid(1)


@pytest.mark.parametrize("ahead", [DAY / 24, 6.9 * DAY, 70 * DAY])
def test_a_clock_that_was_set_back_lets_nothing_wait_longer_than_it_was_to(ledger: Ledger, ahead: timedelta) -> None:
    _later(ledger, listed(ledger, 1))
    finish(ledger, claim(ledger, now=NOW + ahead), Later(NOW + ahead + 5 * SECOND, "busy"), now=NOW + ahead)
    ledger.claims.clock_set_back(ahead, now=NOW)
    assert no_claim(ledger, now=NOW + 4 * SECOND)
    assert claim(ledger, now=NOW + 5 * SECOND).task_id == tid(1)


def test_a_lease_written_while_the_clock_was_wrong_does_not_hold(ledger: Ledger) -> None:
    take_in(ledger, 1)
    claim(ledger, owner="them", now=NOW + 365 * DAY)
    assert claim(ledger).task_id == tid(1)


# --- stages


def test_stage_store_takes_listed_tasks_and_stage_list_queued_ones(ledger: Ledger) -> None:
    _later(ledger, listed(ledger, 1))
    take_in(ledger, 2)
    assert claim(ledger, stage=Stage.STORE).task_id == tid(1)
    assert no_claim(ledger, stage=Stage.STORE)
    assert claim(ledger, stage=Stage.LIST).task_id == tid(2)
    assert no_claim(ledger, stage=Stage.LIST)


def test_a_wanted_stem_whose_url_was_not_written_down_sends_its_task_to_list(ledger: Ledger) -> None:
    _later(ledger, listed(ledger, query="?sig=secret"))
    assert no_claim(ledger, stage=Stage.STORE)
    mine = claim(ledger, stage=Stage.LIST)
    assert [stem.url for stem in mine.stems] == [None, None]
    # Once those stems are stored, nothing has to be asked any more.
    for stem in mine.stems:
        stored(ledger, mine, stem.name)
    _later(ledger, mine)
    assert claim(ledger, stage=Stage.STORE).task_id == tid(1)


def test_an_unsettled_task_goes_to_list_once_its_known_stems_are_done(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal", settled=False)
    _later(ledger, mine)
    mine = claim(ledger, stage=Stage.STORE)
    assert not mine.settled
    stored(ledger, mine)
    _later(ledger, mine, fault=False)
    assert no_claim(ledger, stage=Stage.STORE)
    assert claim(ledger, stage=Stage.LIST).task_id == tid(1)


def test_a_settled_task_with_all_stored_needs_no_provider_for_its_manifest(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal")
    stored(ledger, mine)
    _later(ledger, mine)
    assert claim(ledger, stage=Stage.STORE).settled


def test_a_refused_stem_does_not_send_its_task_to_list(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal", query="?sig=secret")
    stem_failed(ledger, mine, "vocal", event=StemEvent.REFUSED, reason="html", not_before=NOW)
    finish(ledger, mine, Refused("html", NOW))
    assert claim(ledger, stage=Stage.STORE).task_id == tid(1)


# --- leases


def test_a_leased_task_is_not_claimed_again_until_the_lease_runs_out(ledger: Ledger) -> None:
    take_in(ledger, 1)
    first = claim(ledger, owner="us")
    assert no_claim(ledger, owner="them", now=NOW + LEASE - SECOND)
    second = claim(ledger, owner="them", now=NOW + LEASE)
    assert second.token != first.token


def test_renew_prolongs_only_the_owners_leases(ledger: Ledger) -> None:
    take_in(ledger, 1, 2)
    mine, theirs = claim(ledger, owner="us"), claim(ledger, owner="them")
    renew(ledger, now=NOW + LEASE - SECOND)
    assert claim(ledger, owner="others", now=NOW + LEASE).task_id == theirs.task_id
    assert no_claim(ledger, owner="others", now=NOW + LEASE)
    assert shown(ledger, 1).leased_until == NOW + 2 * LEASE - SECOND
    assert mine.task_id == tid(1)


def test_a_lease_that_ran_out_still_writes_while_nobody_took_the_task(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal")
    late = NOW + 2 * LEASE
    stored(ledger, mine, "vocal", receipt(now=late))
    finish(ledger, mine, Archived(), now=late)
    assert shown(ledger).state is TaskState.ARCHIVED


_WRITES: dict[str, Callable[[Ledger, Claim], object]] = {
    "listed": lambda ledger, mine: relisted(ledger, mine, record("drums")),
    "stored": stored,
    "stem_failed": lambda ledger, mine: stem_failed(ledger, mine, "vocal", reason="x", gone=True),
    "stem_refused": lambda ledger, mine: stem_failed(ledger, mine, "vocal", event=StemEvent.REFUSED, reason="x"),
    "stem_retried": lambda ledger, mine: ledger.progress.stem_retried(mine, StemName("vocal"), now=NOW),
    "chronicle": lambda ledger, mine: ledger.progress.chronicle(mine),
    "confirm": lambda ledger, mine: ledger.progress.confirm(mine),
    "later": lambda ledger, mine: finish(ledger, mine, Later(NOW, "x"), record=record("drums")),
    "archived": lambda ledger, mine: finish(ledger, mine, Archived()),
    "yielded": lambda ledger, mine: finish(ledger, mine, Yielded()),
    "paused": lambda ledger, mine: finish(ledger, mine, Paused(Dep.STORE, "", "", lasting=True)),
}


@pytest.mark.parametrize("write", _WRITES.values(), ids=_WRITES.keys())
def test_a_write_under_a_token_that_was_taken_over_raises_and_writes_nothing(
    ledger: Ledger, write: Callable[[Ledger, Claim], object]
) -> None:
    old = listed(ledger)
    new = claim(ledger, owner="them", now=NOW + LEASE)
    before = shown(ledger)
    with pytest.raises(LeaseLost):
        write(ledger, old)
    assert shown(ledger) == before
    stored(ledger, new)


@pytest.mark.parametrize("write", _WRITES.values(), ids=_WRITES.keys())
def test_a_write_under_an_invented_token_raises(ledger: Ledger, write: Callable[[Ledger, Claim], object]) -> None:
    with pytest.raises(LeaseLost):
        write(ledger, replace(listed(ledger), token="guess"))


def test_a_claim_is_confirmed_past_its_lease_until_another_takes_the_task_over(ledger: Ledger) -> None:
    mine = listed(ledger)
    ledger.progress.confirm(mine)
    theirs = claim(ledger, owner="them", now=NOW + LEASE)
    with pytest.raises(LeaseLost):
        ledger.progress.confirm(mine)
    ledger.progress.confirm(theirs)


@pytest.mark.parametrize(
    "outcome", [Later(NOW, "x"), Refused("x", NOW), Yielded(), Paused(Dep.PROVIDER, "r", "h", lasting=True)]
)
def test_every_outcome_ends_the_lease(ledger: Ledger, outcome: Later | Refused | Yielded | Paused) -> None:
    mine = listed(ledger)
    finish(ledger, mine, outcome)
    assert shown(ledger).leased_until is None
    with pytest.raises(LeaseLost):
        finish(ledger, mine, outcome)
    assert claim(ledger, owner="them").task_id == tid(1)


def test_release_gives_back_untouched_what_the_owner_holds_and_forgets_its_list(ledger: Ledger) -> None:
    take_in(ledger, 1, 2, 3)
    ledger.intakes.enlist("us", [tid(1), tid(2)])
    before = shown(ledger, 1)
    claim(ledger), claim(ledger), claim(ledger, owner="them")
    assert release(ledger) == 2
    assert shown(ledger, 1) == before
    assert open_work(ledger, "us").tasks == 0
    assert [claim(ledger).task_id for _ in range(2)] == [tid(1), tid(2)]
    assert no_claim(ledger)
    assert release(ledger, "nobody") == 0


def test_release_dead_frees_at_once_what_the_dead_held_and_nothing_else(ledger: Ledger) -> None:
    take_in(ledger, 1, 2, 3)
    dead, living = claim(ledger, owner="dead"), claim(ledger, owner="living")
    ledger.intakes.enlist("dead-too", [tid(3)])
    ledger.intakes.enlist("living", [tid(3)])
    assert ledger.claims.release_dead(lambda owner: owner == "living", now=NOW) == ["dead", "dead-too"]
    assert open_work(ledger, "dead-too").tasks == 0
    assert open_work(ledger, "living").tasks == 1
    assert claim(ledger).task_id == dead.task_id
    finish(ledger, living, Later(NOW, "x"))
    with pytest.raises(LeaseLost):
        finish(ledger, dead, Later(NOW, "x"))
    assert ledger.claims.release_dead(lambda _: True, now=NOW) == []


def test_next_deadline_is_that_of_the_free_due_task_that_would_be_stored_next(ledger: Ledger) -> None:
    take_in(ledger, 1)
    assert ledger.claims.next_deadline("us", now=NOW) is None, "nobody knows its deadline"
    finish(ledger, claim(ledger), Later(NOW + 6 * DAY, "not ready"))
    _later(ledger, listed(ledger, 2, deadline=NOW + DAY, query="?sig=1"))
    assert ledger.claims.next_deadline("us", now=NOW) is None, "its links must be asked for"
    _later(ledger, listed(ledger, 3, deadline=NOW + 5 * DAY))
    _later(ledger, listed(ledger, 4, deadline=NOW + 3 * DAY), days=1)
    assert ledger.claims.next_deadline("us", now=NOW) == NOW + 5 * DAY, "the nearer one is not due"
    assert ledger.claims.next_deadline("us", now=NOW + DAY) == NOW + 3 * DAY
    assert ledger.claims.next_deadline("us", now=NOW + 3 * DAY) == NOW + 5 * DAY, "the nearer one is past"
    assert ledger.claims.next_deadline("us", now=NOW + 5 * DAY) is None
    claim(ledger, stage=Stage.STORE)
    assert ledger.claims.next_deadline("us", now=NOW) is None, "it is leased"


def test_tasks_are_held_while_anybody_has_one_under_a_lease_that_stands(ledger: Ledger) -> None:
    take_in(ledger, 1, 2)
    assert not ledger.claims.are_held(now=NOW)
    mine = claim(ledger)
    assert ledger.claims.are_held(now=NOW)
    assert not ledger.claims.are_held(now=NOW + LEASE), "its holder may be dead"
    finish(ledger, mine, Later(NOW + DAY, "not ready"))
    assert not ledger.claims.are_held(now=NOW)


def test_next_deadline_of_what_one_has_enlisted_leaves_others_out(ledger: Ledger) -> None:
    _later(ledger, listed(ledger, 1, deadline=NOW + DAY))
    _later(ledger, listed(ledger, 2, deadline=NOW + 2 * DAY))
    ledger.intakes.enlist("us", [tid(2)])
    assert ledger.claims.next_deadline("us", now=NOW, enlisted_only=True) == NOW + 2 * DAY
    assert ledger.claims.next_deadline("us", now=NOW) == NOW + DAY


def test_more_urgent_waits_only_for_a_due_free_listed_task_with_an_earlier_deadline(ledger: Ledger) -> None:
    sooner = listed(ledger, 1, deadline=NOW + 2 * DAY)
    mine = listed(ledger, 2, deadline=NOW + 3 * DAY)
    deadline = NOW + 3 * DAY
    assert not ledger.progress.more_urgent_waits(mine, deadline, NOW), "it is leased"
    _later(ledger, sooner, days=1)
    assert not ledger.progress.more_urgent_waits(mine, deadline, NOW), "it is not due"
    assert ledger.progress.more_urgent_waits(mine, deadline, NOW + DAY)
    assert not ledger.progress.more_urgent_waits(mine, NOW + 2 * DAY, NOW + DAY), "it is not earlier"
    assert not ledger.progress.more_urgent_waits(mine, deadline, NOW + 2 * DAY), "its deadline has passed"
    assert ledger.progress.more_urgent_waits(mine, NOW, NOW + DAY), "mine has passed, so it goes last"
    assert not ledger.progress.more_urgent_waits(replace(mine, task_id=tid(1)), deadline, NOW + DAY), "it is oneself"


def test_more_urgent_waits_for_a_task_that_was_never_asked_about(ledger: Ledger) -> None:
    mine = listed(ledger, 1, deadline=NOW + DAY)
    assert not ledger.progress.more_urgent_waits(mine, NOW + DAY, NOW)
    take_in(ledger, 2)
    assert ledger.progress.more_urgent_waits(mine, NOW + DAY, NOW), "its deadline may be any moment"
    finish(ledger, claim(ledger), Later(NOW, "not ready"))
    assert not ledger.progress.more_urgent_waits(mine, NOW + DAY, NOW), "it has no audio yet"


def test_fresh_only_takes_no_listed_task_though_its_links_must_be_asked_for(ledger: Ledger) -> None:
    finish(ledger, listed(ledger, 1, query="?sig=1"), Yielded())
    assert ledger.claims.claim(owner="us", now=NOW, lease=LEASE, stage=Stage.LIST, fresh_only=True) is None
    take_in(ledger, 2)
    fresh = ledger.claims.claim(owner="us", now=NOW, lease=LEASE, stage=Stage.LIST, fresh_only=True)
    assert fresh is not None
    assert fresh.task_id == tid(2)
    assert claim(ledger, stage=Stage.LIST).task_id == tid(1)


# --- many at once


@pytest.mark.long
def test_24_threads_claiming_500_tasks_get_each_exactly_once(ledger: Ledger) -> None:
    take_in(ledger, *range(500))
    start = threading.Barrier(24)

    def work(number: int) -> list[str]:
        start.wait()
        got: list[str] = []
        while (mine := ledger.claims.claim(owner=f"owner-{number}", now=NOW, lease=LEASE)) is not None:
            got.append(mine.task_id)
            finish(ledger, mine, Later(NOW + DAY, "x"))
        return got

    with ThreadPoolExecutor(24) as pool:
        taken = [task for got in pool.map(work, range(24)) for task in got]
    assert len(taken) == 500
    assert set(taken) == {tid(number) for number in range(500)}


def test_stems_of_several_tasks_stored_at_once_are_all_written_but_for_those_of_a_lost_lease(ledger: Ledger) -> None:
    names = [f"stem-{number}" for number in range(8)]
    mine = [listed(ledger, number, *names) for number in range(1, 4)]
    theirs = claim(ledger, owner="them", now=NOW + LEASE)
    sizes = {name: 1000 + number for number, name in enumerate(names)}
    lost = [each for each in mine if each.task_id == theirs.task_id]

    def store(each: Claim, name: str) -> bool:
        try:
            ledger.progress.stored(each, {StemName(name): receipt(name, size=sizes[name])})
        except LeaseLost:
            return False
        return True

    with ThreadPoolExecutor(24) as pool:
        wrote = list(pool.map(lambda both: store(*both), [(each, name) for name in names for each in mine]))
    assert wrote == [each not in lost for _ in names for each in mine]
    for number in range(1, 4):
        row = shown(ledger, number)
        stored = {stem.name: stem.receipt.size for stem in row.stems if stem.receipt}
        assert stored == ({} if row.task_id == theirs.task_id else sizes)
        assert sum(move.event == "stored" for move in row.history) == len(stored)
    seen = overview(ledger, at_risk=LEASE)
    assert (seen.stems[StemState.STORED], seen.stems[StemState.WANTED]) == (16, 8)
    assert seen.bytes_stored == 2 * sum(sizes.values())


def test_two_ledgers_on_one_database_never_hand_out_a_task_twice(ledger_url: str) -> None:
    ledgers = [ledger_at(ledger_url) for _ in range(2)]
    take_in(ledgers[0], *range(100))

    def drain(ledger: Ledger) -> list[str]:
        got: list[str] = []
        while (mine := ledger.claims.claim(owner="x", now=NOW, lease=timedelta(hours=1))) is not None:
            got.append(mine.task_id)
        return got

    with ThreadPoolExecutor(4) as pool:
        taken = [task for got in pool.map(drain, ledgers * 2) for task in got]
    for ledger in ledgers:
        ledger.close()
    assert len(taken) == len(set(taken)) == 100


# --- accounts

THEIRS = AccountName("second")


def take_in_of_second(ledger: Ledger, number: int) -> None:
    accept(ledger, Intake(ids=(tid(number),), accounts={tid(number): THEIRS}))


@pytest.mark.parametrize(("blocked", "had"), [([], 2), ([THEIRS], 2), ([DEFAULT_ACCOUNT], 1)])
def test_claim_passes_over_the_tasks_of_blocked_accounts(ledger: Ledger, blocked: list[AccountName], had: int) -> None:
    take_in_of_second(ledger, 1)
    take_in(ledger, 2, now=NOW + SECOND)
    mine = ledger.claims.claim(owner="us", now=NOW + DAY, lease=LEASE, stage=Stage.LIST, blocked_accounts=blocked)
    assert mine is not None
    assert mine.task_id == tid(had)


def test_claim_of_blocked_accounts_finds_nothing_to_ask_and_still_all_there_is_to_store(ledger: Ledger) -> None:
    take_in_of_second(ledger, 1)
    mine = claim(ledger, stage=Stage.LIST)
    mine = relisted(ledger, mine, record("vocal"))
    finish(ledger, mine, Yielded())
    take_in_of_second(ledger, 2)
    assert ledger.claims.claim(owner="us", now=NOW, lease=LEASE, stage=Stage.LIST, blocked_accounts=[THEIRS]) is None
    stored = ledger.claims.claim(owner="us", now=NOW, lease=LEASE, stage=Stage.STORE, blocked_accounts=[THEIRS])
    assert stored is not None
    assert stored.task_id == tid(1)


def test_more_urgent_is_not_what_a_blocked_account_must_be_asked(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal")
    take_in_of_second(ledger, 2)
    assert ledger.progress.more_urgent_waits(mine, DEADLINE, NOW)
    assert not ledger.progress.more_urgent_waits(mine, DEADLINE, NOW, [THEIRS])
    assert ledger.progress.more_urgent_waits(mine, DEADLINE, NOW, [DEFAULT_ACCOUNT])
