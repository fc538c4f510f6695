"""Quarantine: a task whose processes died while at it, twice in a row, is tried last and alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from archiver.core.model import (
    Archived,
    Claim,
    Dependency,
    Failed,
    Later,
    Missing,
    Outcome,
    Paused,
    Stage,
    TaskId,
    Yielded,
)
from archiver.core.states import TaskState
from tests.fixtures.ledgers import (
    DAY,
    LEASE,
    NOW,
    SECOND,
    claim,
    events,
    finish,
    listed,
    no_claim,
    overview,
    release,
    retry,
    shown,
    stored,
    take_in,
    tid,
)
from tests.house import Ledger

MINUTE = timedelta(minutes=1)


def _dies(ledger: Ledger, owner: str, *, now: datetime = NOW) -> None:
    """The process of that name is found dead, by its lock."""
    ledger.claims.release_dead(lambda name: name != owner, now=now)


def _alone(
    ledger: Ledger,
    *,
    owner: str = "alone",
    now: datetime = NOW,
    since: datetime | None = None,
    stage: Stage | None = None,
) -> Claim | None:
    return ledger.claims.claim(owner=owner, now=now, lease=LEASE, stage=stage, alone_from=since or now)


def _one(
    ledger: Ledger, number: int, *, alone_from: datetime | None, now: datetime = NOW, owner: str = "us"
) -> Claim | None:
    stages = list(Stage)
    return ledger.claims.claim_task(
        tid(number), owner=owner, now=now, lease=LEASE, stages=stages, alone_from=alone_from
    )


def _quarantined(ledger: Ledger, *numbers: int) -> None:
    """Let two processes die that are at these tasks."""
    take_in(ledger, *numbers)
    for owner in ("first", "second"):
        assert {claim(ledger, owner=owner).task_id for _ in numbers} == {tid(number) for number in numbers}
        _dies(ledger, owner)


def test_task_whose_process_died_once_is_claimed_as_before(ledger: Ledger) -> None:
    take_in(ledger, 1)
    claim(ledger, owner="first")
    _dies(ledger, "first")
    assert claim(ledger).deaths == 1
    assert overview(ledger).quarantined == ()


def test_task_whose_processes_died_twice_is_left_to_who_is_alone(ledger: Ledger) -> None:
    _quarantined(ledger, 1)
    take_in(ledger, 2)
    assert claim(ledger).task_id == tid(2)
    assert no_claim(ledger)
    found = _alone(ledger)
    assert found is not None
    assert (found.task_id, found.deaths) == (tid(1), 2)
    assert _alone(ledger) is None


@pytest.mark.parametrize("end", [timedelta(), DAY])
def test_lease_that_ran_out_is_a_death_of_its_owner(ledger: Ledger, end: timedelta) -> None:
    """As a frozen process leaves it, and one of another machine; nobody need have looked for the dead."""
    take_in(ledger, 1)
    claim(ledger, owner="first")
    now = NOW + LEASE + end
    assert claim(ledger, owner="second", now=now).deaths == 1
    now += LEASE
    assert no_claim(ledger, owner="third", now=now)
    assert _one(ledger, 1, alone_from=None, now=now) is None
    found = _alone(ledger, now=now)
    assert found is not None
    assert found.deaths == 2


def test_lease_that_ran_out_is_no_death_where_its_owner_goes_on(ledger: Ledger) -> None:
    take_in(ledger, 1)
    for suspends in range(5):
        assert claim(ledger, now=NOW + suspends * LEASE).deaths == 0


def test_claim_passes_over_one_that_it_finds_poisonous_to_the_next(ledger: Ledger) -> None:
    take_in(ledger, 1, now=NOW - DAY)
    claim(ledger, owner="first")
    claim(ledger, owner="second", now=NOW + LEASE)
    take_in(ledger, 2)
    assert claim(ledger, now=NOW + 2 * LEASE).task_id == tid(2)


def test_process_that_ends_in_order_leaves_no_suspects(ledger: Ledger) -> None:
    take_in(ledger, 1)
    for _ in range(5):
        claim(ledger)
        release(ledger)
    assert claim(ledger).deaths == 0


CLEAN: Sequence[Outcome] = [
    Later(NOW, "not ready"),
    Later(NOW, "busy", fault=True),
    Failed("no audio"),
    Missing("unknown"),
]


@pytest.mark.parametrize("outcome", CLEAN, ids=lambda outcome: outcome.kind)
def test_try_that_came_to_its_end_clears_the_task(ledger: Ledger, outcome: Outcome) -> None:
    _quarantined(ledger, 1)
    mine = _alone(ledger)
    assert mine is not None
    finish(ledger, mine, outcome)
    assert shown(ledger).deaths == 0
    assert overview(ledger).quarantined_count == 0


def test_archived_task_is_no_suspect(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal")
    for owner in ("us", "second"):
        _dies(ledger, owner)
        mine = claim(ledger, owner="second") if owner == "us" else mine
    found = _alone(ledger, stage=Stage.STORE)
    assert found is not None
    stored(ledger, found)
    finish(ledger, found, Archived())
    assert (shown(ledger).state, shown(ledger).deaths) == (TaskState.ARCHIVED, 0)


@pytest.mark.parametrize("outcome", [Yielded(), Paused(Dependency.STORE, "denied", "", lasting=True)])
def test_task_that_was_given_back_untried_stays_a_suspect(ledger: Ledger, outcome: Outcome) -> None:
    _quarantined(ledger, 1)
    mine = _alone(ledger)
    assert mine is not None
    finish(ledger, mine, outcome)
    assert shown(ledger).deaths == 2


def test_waits_of_a_task_that_kills_alone_double_to_a_bound(ledger: Ledger) -> None:
    _quarantined(ledger, 1)
    now, waits = NOW, []
    for _ in range(14):
        mine = _alone(ledger, now=now)
        assert mine is not None
        _dies(ledger, "alone", now=now)
        due = shown(ledger).not_before
        assert due is not None
        waits.append(due - now)
        assert _alone(ledger, now=due - SECOND) is None
        now = due
    assert waits[:4] == [MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE]
    assert waits[-1] == waits[-2] == 6 * 60 * MINUTE


def test_wait_is_at_most_half_of_what_is_left_to_the_deadline(ledger: Ledger) -> None:
    listed(ledger, 1, "vocal", deadline=NOW + 8 * MINUTE)
    for owner in ("us", "second", "alone"):
        if owner == "second":
            claim(ledger, owner=owner)
        elif owner == "alone":
            assert _alone(ledger) is not None
        _dies(ledger, owner)
    assert shown(ledger).not_before == NOW + MINUTE
    for _ in range(3):
        now = shown(ledger).not_before
        assert now is not None
        assert _alone(ledger, now=now) is not None
        _dies(ledger, "alone", now=now)
    due = shown(ledger).not_before
    assert due is not None
    assert due < NOW + 8 * MINUTE


def test_innocent_neighbours_are_tried_before_the_one_that_killed_alone(ledger: Ledger) -> None:
    _quarantined(ledger, 1, 2, 3)
    poison = _alone(ledger)
    assert poison is not None
    _dies(ledger, "alone")
    now, order = NOW + DAY, []
    while (found := _alone(ledger, now=now)) is not None:
        order.append(found.task_id)
    assert order == [tid(2), tid(3), tid(1)]


def test_task_that_is_due_for_less_than_asked_is_not_taken(ledger: Ledger) -> None:
    _quarantined(ledger, 1)
    assert _alone(ledger, since=NOW - SECOND) is None
    assert _alone(ledger, since=NOW) is not None


def test_job_of_a_quarantined_task_is_done_by_who_is_alone(ledger: Ledger) -> None:
    _quarantined(ledger, 1)
    take_in(ledger, 2)
    assert _one(ledger, 1, alone_from=None) is None
    assert _one(ledger, 2, alone_from=None) is not None
    assert _one(ledger, 1, alone_from=NOW - SECOND) is None
    assert _one(ledger, 1, alone_from=NOW) is not None


def test_quarantined_tasks_get_jobs_only_where_they_are_asked_for(ledger: Ledger) -> None:
    _quarantined(ledger, 1)
    take_in(ledger, 2)

    def due(alone_from: datetime | None) -> list[TaskId]:
        found = ledger.claims.due(Stage.LIST, now=NOW, until=NOW, limit=9, alone_from=alone_from)
        return [task.task_id for task in found]

    assert due(None) == [tid(2)]
    assert due(NOW) == [tid(1)]
    assert due(NOW - SECOND) == []


def test_report_names_the_quarantined_the_worst_first(ledger: Ledger) -> None:
    _quarantined(ledger, 1, 2)
    assert _alone(ledger) is not None
    _dies(ledger, "alone")
    seen = overview(ledger)
    assert seen.quarantined_count == 2
    assert [(task.task_id, task.deaths, task.not_before) for task in seen.quarantined] == [
        (tid(1), 3, NOW + MINUTE),
        (tid(2), 2, NOW),
    ]
    assert tuple(ledger.reports.quarantined()) == seen.quarantined


def test_history_tells_of_the_quarantine(ledger: Ledger) -> None:
    _quarantined(ledger, 1)
    assert events(ledger) == [(None, "quarantined")]
    assert shown(ledger).history[0].detail == {"deaths": 2}


@pytest.mark.parametrize("named", [True, False])
def test_retry_frees_a_quarantined_task(ledger: Ledger, named: bool) -> None:
    _quarantined(ledger, 1, 2)
    assert retry(ledger, [tid(1)] if named else None) == [tid(1)] + ([] if named else [tid(2)])
    assert shown(ledger).deaths == 0
    assert claim(ledger).task_id == tid(1)
    assert no_claim(ledger) is named
