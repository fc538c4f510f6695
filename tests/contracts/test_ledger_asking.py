"""Which task is asked about next: links that are needed, then what nobody asked about yet, then what was not ready."""

from __future__ import annotations

import heapq
import itertools
import random
from datetime import datetime, timedelta

import pytest

from archiver.core import plan
from archiver.core.due import First
from archiver.core.model import Claim, Later, Stage, TaskId
from archiver.core.states import TaskState
from tests.fixtures.ledgers import DAY, LEASE, NOW, SECOND, finish, listed, overview, release, take_in, tid
from tests.house import Ledger


def ask(ledger: Ledger, now: datetime = NOW) -> Claim | None:
    return ledger.claims.claim(owner="us", now=now, lease=LEASE, stage=Stage.LIST)


def not_ready(ledger: Ledger, claim: Claim, now: datetime, *, again: datetime, fault: bool = False) -> None:
    finish(ledger, claim, Later(again, "not ready", fault=fault), now=now)


def asked_about(ledger: Ledger, *numbers: int, at: datetime) -> None:
    """Take these in, and have each answered `not ready`, one a second from `at` on; all are due half a day later."""
    take_in(ledger, *numbers, now=at)
    for n in range(len(numbers)):
        claim = ask(ledger, at + n * SECOND)
        assert claim is not None
        not_ready(ledger, claim, at + n * SECOND, again=at + DAY / 2)


@pytest.mark.parametrize("fault", [False, True])
def test_id_that_was_never_asked_about_goes_before_older_ones_that_were_not_ready(ledger: Ledger, fault: bool) -> None:
    take_in(ledger, *range(1, 9), now=NOW - DAY)
    for _ in range(8):
        claim = ask(ledger)
        assert claim is not None
        not_ready(ledger, claim, NOW, again=NOW, fault=fault)
    take_in(ledger, 9, now=NOW)
    first = [claim.task_id for _ in range(2) if (claim := ask(ledger)) is not None]
    assert tid(9) in first


def test_link_that_is_needed_by_a_deadline_goes_before_older_ids_that_were_not_ready(ledger: Ledger) -> None:
    asked_about(ledger, *range(1, 9), at=NOW - DAY)
    finish(ledger, listed(ledger, 20, deadline=NOW + DAY / 4, query="?sig=1"), Later(NOW, "busy", fault=True))
    first = [claim.task_id for _ in range(2) if (claim := ask(ledger)) is not None]
    assert tid(20) in first


def test_ids_that_were_not_ready_go_by_their_last_ask(ledger: Ledger) -> None:
    asked_about(ledger, 3, 1, 2, at=NOW - DAY)
    order = [tid(1), tid(2), tid(3)]  # accepted at once, and so asked about by their names
    for n in range(9):
        now = NOW + n * SECOND
        claim = ask(ledger, now)
        assert claim is not None
        assert claim.task_id == order[n % 3]
        not_ready(ledger, claim, now, again=now)


def test_never_asked_ids_have_half_of_the_asks_and_the_others_their_part(ledger: Ledger) -> None:
    asked_about(ledger, *range(100, 140), at=NOW - DAY)
    for n in range(200, 240):
        finish(ledger, listed(ledger, n, deadline=NOW + DAY, query="?sig=1"), Later(NOW, "busy", fault=True))
    take_in(ledger, *range(300, 340))
    taken = [claim.task_id for _ in range(80) if (claim := ask(ledger)) is not None]
    for begun in range(0, 64, 8):
        some = taken[begun : begun + 8]
        assert sum(task >= tid(300) for task in some) == 4
        assert sum(tid(200) <= task < tid(300) for task in some) == 3
    assert len(set(taken)) == 80, "whoever has nothing to ask leaves its turns to the others"


def test_id_that_a_callback_woke_goes_as_one_that_was_never_asked_about(ledger: Ledger) -> None:
    asked_about(ledger, *range(1, 9), at=NOW - DAY)
    take_in(ledger, 30, now=NOW - DAY)
    claim = ask(ledger)
    while claim is not None and claim.task_id != tid(30):
        claim = ask(ledger)
    assert claim is not None
    not_ready(ledger, claim, NOW, again=NOW + DAY)
    release(ledger)
    ledger.intakes.wake([tid(30)], now=NOW)
    first = [claim.task_id for _ in range(2) if (claim := ask(ledger)) is not None]
    assert tid(30) in first


def test_jobs_are_deferred_for_links_and_for_what_was_never_asked_about_before_the_rest(ledger: Ledger) -> None:
    asked_about(ledger, *range(100, 130), at=NOW - DAY)
    finish(ledger, listed(ledger, 200, deadline=NOW + DAY, query="?sig=1"), Later(NOW, "busy", fault=True))
    take_in(ledger, 300, 301)
    due = ledger.claims.due(Stage.LIST, now=NOW, until=NOW, limit=8)
    assert len(due) == 8
    assert [each.task_id for each in sorted(due, key=lambda each: each.urgency)][:3] == [tid(200), tid(300), tid(301)]


class Jobs:
    """Jobs as an engine does them: by priority, then as they were deferred; of each task one at a time."""

    def __init__(self, ledger: Ledger, window: int, again: timedelta) -> None:
        self.ledger, self.window, self.again, self.now = ledger, window, again, NOW
        self._order = itertools.count()
        self._queue: list[tuple[int, int, TaskId]] = []

    def does_one(self) -> TaskId:
        """Defer what is due, do the next job half a second later, and let its task be due again so much later."""
        waiting = {job[2] for job in self._queue}
        for due in self.ledger.claims.due(Stage.LIST, now=self.now, until=self.now, limit=self.window):
            if due.task_id not in waiting:
                priority = plan.priority(due.urgency, due.deadline, self.now)
                heapq.heappush(self._queue, (-priority, next(self._order), due.task_id))
        *_, task_id = heapq.heappop(self._queue)
        self.now += SECOND / 2
        claim = self.ledger.claims.claim_task(task_id, owner="us", now=self.now, lease=LEASE, stages=list(Stage))
        assert claim is not None
        not_ready(self.ledger, claim, self.now, again=self.now + self.again, fault=claim.state is TaskState.LISTED)
        return task_id


@pytest.mark.parametrize("left", [DAY / 4, 9 * DAY], ids=["near", "far"])
def test_jobs_for_never_asked_ids_have_half_of_the_asks_while_any_wait(ledger: Ledger, left: timedelta) -> None:
    for n in range(200, 230):
        finish(ledger, listed(ledger, n, deadline=NOW + left, query="?sig=1"), Later(NOW, "busy", fault=True))
    jobs = Jobs(ledger, window=20, again=timedelta())
    for _ in range(30):
        jobs.does_one()
    take_in(ledger, *range(300, 360), now=jobs.now)
    done = [jobs.does_one() for _ in range(100)]
    assert tid(300) in done[: jobs.window + 1]
    fresh = [n for n, task in enumerate(done) if task >= tid(300)]
    assert len(fresh) >= (60 if left > DAY else 38), "what is needed in days can wait"
    assert all(at <= jobs.window + 2 * n for n, at in enumerate(fresh)), "half at least, once it has begun"


def test_links_that_are_needed_soon_have_jobs_beside_a_flood_of_never_asked_ids(ledger: Ledger) -> None:
    take_in(ledger, *range(300, 400))
    jobs = Jobs(ledger, window=20, again=DAY)
    for _ in range(10):
        jobs.does_one()
    for n in range(200, 210):
        finish(ledger, listed(ledger, n, deadline=jobs.now + DAY / 4, query="?sig=1"), Later(NOW, "busy", fault=True))
    done = [jobs.does_one() for _ in range(60)]
    assert {tid(n) for n in range(200, 210)} <= set(done)


@pytest.mark.parametrize("seed", range(4))
def test_overview_tells_of_ids_that_nobody_asked_about_as_if_each_had_been_looked_at(ledger: Ledger, seed: int) -> None:
    dice = random.Random(seed)
    accepted = {}
    for n in range(100):
        accepted[tid(n)] = (
            NOW - 13 * DAY + timedelta(seconds=dice.choice([0.25, 1, 90, 40_000]) * dice.randint(-50, 50))
        )
        take_in(ledger, n, now=accepted[tid(n)])
    late = sorted((at, task) for task, at in accepted.items() if at + 14 * DAY < NOW + DAY)
    seen = overview(ledger, at_risk=DAY)
    assert seen.at_risk_count == len(late)
    assert [(each.deadline - 14 * DAY, each.task_id) for each in seen.at_risk] == late[:20]
    assert seen.nearest_deadline == min(accepted.values()) + 14 * DAY
    assert seen.forecast_late == len(accepted)


@pytest.mark.parametrize(("age", "alarmed"), [(timedelta(days=13, hours=23), 1), (timedelta(days=12), 0)])
def test_id_that_nobody_asked_about_is_at_risk_by_its_acceptance(ledger: Ledger, age: timedelta, alarmed: int) -> None:
    take_in(ledger, 1, now=NOW - age)
    seen = overview(ledger, at_risk=DAY)
    assert seen.at_risk_count == alarmed
    assert [each.deadline for each in seen.at_risk] == [NOW - age + 14 * DAY] * alarmed
    assert seen.nearest_deadline == NOW - age + 14 * DAY
    assert seen.forecast_late == 1, "at the present rate, which is none"


def test_fresh_id_is_asked_about_at_once_beside_a_flood_of_older_ones_that_nobody_knows(ledger: Ledger) -> None:
    asked_about(ledger, *range(100, 120), at=NOW - DAY)
    take_in(ledger, *range(1000, 3000), now=NOW - DAY / 2)
    take_in(ledger, 1, now=NOW)
    first = [claim.task_id for _ in range(8) if (claim := ask(ledger)) is not None]
    assert tid(1) in first[:4], "two seconds at the default rate"
    assert {tid(1000), tid(1001)} <= set(first), "the oldest have their turns, too"


def test_claim_of_what_no_try_failed_of_passes_over_nearer_deadlines_of_what_one_did(ledger: Ledger) -> None:
    for n in range(1, 4):
        finish(ledger, listed(ledger, n, deadline=NOW + n * DAY), Later(NOW, "busy", fault=n < 3))
    take_in(ledger, 9)

    def stored(first: First) -> TaskId | None:
        claim = ledger.claims.claim(owner="us", now=NOW, lease=LEASE, stage=Stage.STORE, first=first)
        return None if claim is None else claim.task_id

    assert stored(First.URGENT) == tid(1)
    assert stored(First.UNTRIED) == tid(3)
    assert stored(First.UNTRIED) == tid(2), "where no other is left"
    assert stored(First.UNTRIED) is None


def test_claim_of_the_latest_takes_the_farthest_deadline_of_what_no_try_failed_of(ledger: Ledger) -> None:
    for n in range(1, 5):
        finish(ledger, listed(ledger, n, deadline=NOW + n * DAY), Later(NOW, "busy", fault=n in {2, 4}))

    def stored() -> TaskId | None:
        claim = ledger.claims.claim(owner="us", now=NOW, lease=LEASE, stage=Stage.STORE, first=First.LATEST)
        return None if claim is None else claim.task_id

    assert [stored() for _ in range(5)] == [tid(3), tid(1), tid(4), tid(2), None]


def test_due_tasks_are_half_untried_ones_where_tried_ones_would_fill_it(ledger: Ledger) -> None:
    for n in range(1, 10):
        finish(ledger, listed(ledger, n, deadline=NOW + n * DAY), Later(NOW, "busy", fault=n < 7))

    def due(limit: int) -> list[tuple[TaskId, bool]]:
        return [(task.task_id, task.again) for task in ledger.claims.due(Stage.STORE, now=NOW, until=NOW, limit=limit)]

    assert due(6) == [(tid(n), n < 7) for n in (1, 2, 3, 7, 8, 9)]
    assert due(4) == [(tid(n), n < 7) for n in (1, 2, 7, 8)]
    assert due(8) == [(tid(n), n < 7) for n in (1, 2, 3, 4, 5, 7, 8, 9)], "none twice"
    assert due(10) == [(tid(n), n < 7) for n in range(1, 10)]


def test_claim_of_what_was_never_tried_alone_takes_nothing_else(ledger: Ledger) -> None:
    finish(ledger, listed(ledger, 1, deadline=NOW + DAY), Later(NOW, "busy", fault=True))
    for n, fault in ((2, True), (3, False)):
        take_in(ledger, n)
        asked = ledger.claims.claim(owner="us", now=NOW, lease=LEASE, stage=Stage.LIST)
        assert asked is not None
        finish(ledger, asked, Later(NOW, "busy, or not ready", fault=fault))

    def claimed(stage: Stage | None, *, untried_only: bool = True) -> TaskId | None:
        claim = ledger.claims.claim(owner="us", now=NOW, lease=LEASE, stage=stage, untried_only=untried_only)
        return None if claim is None else claim.task_id

    assert [claimed(stage) for stage in (Stage.LIST, Stage.STORE, None)] == [None, None, None]
    take_in(ledger, 8, now=NOW - 2 * plan.YOUNG)
    take_in(ledger, 9, now=NOW)
    assert claimed(Stage.LIST) == tid(9)
    assert claimed(Stage.LIST) is None, "one that came earlier goes after those of the last minute"
    assert claimed(None, untried_only=False) == tid(8)
    assert claimed(None, untried_only=False) == tid(1)


def test_fresh_ids_are_asked_about_in_the_order_in_which_they_came_beside_a_flood_of_older_ones(ledger: Ledger) -> None:
    take_in(ledger, *range(1000, 1300), now=NOW - 2 * plan.YOUNG)
    for n in range(20):
        take_in(ledger, n, now=NOW - (40 - n) * SECOND)
    taken = [claim.task_id for _ in range(32) if (claim := ask(ledger)) is not None]
    fresh = [task for task in taken if task < tid(1000)]
    assert len(fresh) == 20, "they have three of four turns"
    assert all(fresh.index(tid(n)) <= 1.5 * n + 2 for n in range(14)), "one in three is of those that came last"


def test_claim_of_either_stage_takes_what_came_first(ledger: Ledger) -> None:
    for n in range(3):
        take_in(ledger, n, now=NOW - (3 - n) * SECOND)
    claims = [ledger.claims.claim(owner="us", now=NOW, lease=LEASE) for _ in range(3)]
    assert [claim.task_id for claim in claims if claim is not None] == [tid(0), tid(1), tid(2)]
