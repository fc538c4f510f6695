"""Attention: one definition, each task counted once, and what an operator acknowledged no longer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from archiver.core.attention import Need, NeedyTask
from archiver.core.intake import Intake, Reject
from archiver.core.model import Failed, Lost, Missing, Refused, StemName, TaskId
from archiver.core.said import Said
from archiver.core.states import StemEvent
from tests.fixtures.ledgers import (
    DAY,
    DEADLINE,
    NOW,
    accept,
    claim,
    finish,
    listed,
    overview,
    retry,
    shown,
    stem_failed,
    stored,
    take_in,
    tid,
)
from tests.house import Ledger

HTML = "cdn.not_audio: HTML"


def _lost(ledger: Ledger, number: int) -> None:
    mine = listed(ledger, number, "vocal")
    stem_failed(ledger, mine, "vocal", event=StemEvent.GONE, reason="cdn.link_spent: 404")
    finish(ledger, mine, Lost("vocal"))


def _failed(ledger: Ledger, number: int) -> None:
    take_in(ledger, number)
    finish(ledger, claim(ledger), Failed("GENERATE_AUDIO_FAILED"))


def _missing(ledger: Ledger, number: int) -> None:
    take_in(ledger, number)
    finish(ledger, claim(ledger), Missing("unknown"))


def _refused(ledger: Ledger, number: int) -> None:
    mine = listed(ledger, number, "vocal", "bass")
    stored(ledger, mine, "bass")
    stem_failed(ledger, mine, "vocal", event=StemEvent.REFUSED, reason=HTML)
    finish(ledger, mine, Refused(HTML))


def _quarantined(ledger: Ledger, number: int) -> None:
    take_in(ledger, number)
    for owner in ("first", "second"):
        claim(ledger, owner=owner)
        ledger.claims.release_dead(lambda _: False, now=NOW)


def _at_risk(ledger: Ledger, number: int) -> None:
    finish(ledger, listed(ledger, number, "vocal", deadline=NOW + DAY / 2), Refused("waits"))


WAYS: dict[Need, Callable[[Ledger, int], None]] = {
    Need.LOST: _lost,
    Need.FAILED: _failed,
    Need.MISSING: _missing,
    Need.QUARANTINED: _quarantined,
    Need.REFUSED: _refused,
    Need.AT_RISK: _at_risk,
}


def _needs(ledger: Ledger, now: datetime = NOW) -> dict[Need, int]:
    return {need: count for need, count in overview(ledger, now=now).needs.items() if count}


def _acknowledge(ledger: Ledger, *numbers: int, now: datetime = NOW) -> list[TaskId]:
    return list(ledger.intakes.acknowledge([tid(number) for number in numbers], now=now, at_risk=DAY))


def _needing(ledger: Ledger, now: datetime = NOW) -> list[NeedyTask]:
    return list(ledger.reports.needing(now=now, at_risk=DAY))


def test_every_reason_has_its_way() -> None:
    assert set(WAYS) == set(Need)


@pytest.mark.parametrize("need", WAYS)
def test_task_that_needs_a_person_is_counted_and_named_until_it_is_acknowledged(ledger: Ledger, need: Need) -> None:
    WAYS[need](ledger, 1)
    seen = overview(ledger)
    assert _needs(ledger) == {need: 1}
    assert [(task.task_id, task.need) for task in seen.needing] == [(tid(1), need)]
    assert _needing(ledger) == list(seen.needing)
    assert _acknowledge(ledger, 1) == [tid(1)]
    assert (_needs(ledger), overview(ledger).needing, _needing(ledger)) == ({}, (), [])
    assert shown(ledger).acknowledged_at == NOW
    assert _acknowledge(ledger, 1) == []


def test_task_that_needs_a_person_is_named_with_its_title(ledger: Ledger) -> None:
    WAYS[Need.FAILED](ledger, 1)
    accept(ledger, Intake(said={tid(1): Said(title="Harbour Lights")}))
    assert [task.title for task in overview(ledger).needing] == ["Harbour Lights"]


@pytest.mark.parametrize("need", WAYS)
def test_all_of_one_reason_are_acknowledged_at_once_and_no_others(ledger: Ledger, need: Need) -> None:
    for number, way in enumerate(WAYS.values(), start=1):
        way(ledger, number)
    assert _needs(ledger) == dict.fromkeys(Need, 1)
    assert ledger.intakes.acknowledge_all([need], now=NOW, at_risk=DAY) == 1
    assert _needs(ledger) == dict.fromkeys(set(Need) - {need}, 1)


@pytest.mark.parametrize("need", [Need.LOST, Need.FAILED, Need.MISSING])
def test_acknowledged_task_that_is_retried_and_ends_so_again_counts_again(ledger: Ledger, need: Need) -> None:
    WAYS[need](ledger, 1)
    _acknowledge(ledger, 1)
    assert retry(ledger, [tid(1)]) == [tid(1)]
    assert shown(ledger).acknowledged_at is None
    assert _needs(ledger) == {}
    WAYS[need](ledger, 1)
    assert _needs(ledger) == {need: 1}


def test_acknowledged_task_that_takes_another_process_down_counts_again(ledger: Ledger) -> None:
    _quarantined(ledger, 1)
    _acknowledge(ledger, 1)
    again = ledger.claims.claim(owner="third", now=NOW, lease=DAY, alone_from=NOW)
    assert again is not None
    ledger.claims.release_dead(lambda _: False, now=NOW)
    assert _needs(ledger) == {Need.QUARANTINED: 1}


@pytest.mark.parametrize(
    ("stem", "reason", "counts"),
    [("vocal", HTML, {}), ("vocal", "cdn.too_large", {Need.REFUSED: 1}), ("bass", HTML, {Need.REFUSED: 1})],
)
def test_acknowledged_refusal_counts_again_only_for_a_new_one(
    ledger: Ledger, stem: str, reason: str, counts: dict[Need, int]
) -> None:
    """A refused stem is looked at again by schedule for days: that alone is no news."""
    mine = listed(ledger, 1, "vocal", "bass")
    stem_failed(ledger, mine, "vocal", event=StemEvent.REFUSED, reason=HTML)
    _acknowledge(ledger, 1)
    if stem == "vocal":
        ledger.progress.stem_retried(mine, StemName("vocal"), now=NOW)
    else:
        stem_failed(ledger, mine, "bass", reason=HTML)
    stem_failed(ledger, mine, stem, event=StemEvent.REFUSED, reason=reason)
    assert _needs(ledger) == counts


def test_acknowledged_task_at_risk_that_is_lost_counts_again(ledger: Ledger) -> None:
    mine = listed(ledger, 1, "vocal", deadline=NOW + DAY / 2)
    _acknowledge(ledger, 1)
    stem_failed(ledger, mine, "vocal", event=StemEvent.GONE)
    finish(ledger, mine, Lost("vocal"))
    assert _needs(ledger) == {Need.LOST: 1}


def test_first_named_are_those_with_a_deadline_that_can_still_be_kept(ledger: Ledger) -> None:
    _missing(ledger, 1)
    finish(ledger, listed(ledger, 2, "vocal", deadline=NOW + DAY / 2), Refused("waits"))
    _refused(ledger, 3)
    finish(ledger, listed(ledger, 4, "vocal", deadline=NOW + DAY / 4), Refused("waits"))
    seen = overview(ledger).needing
    assert [task.task_id for task in seen] == [tid(4), tid(2), tid(3), tid(1)]
    assert [task.deadline for task in seen] == [NOW + DAY / 4, NOW + DAY / 2, DEADLINE, None]
    assert [task.reason for task in seen] == ["waits", "waits", HTML, "unknown"]


@pytest.mark.parametrize("state", ["missing", "lost"])
def test_all_that_need_a_person_are_listed_however_many(ledger: Ledger, state: str) -> None:
    many = 1200
    take_in(ledger, *range(many))
    with ledger.db.write() as db:
        db.exec_driver_sql(f"UPDATE tasks SET state = '{state}', ended_at = accepted_at, not_before = NULL")
    assert sorted(task.task_id for task in _needing(ledger)) == [tid(number) for number in range(many)]
    assert len(overview(ledger).needing) == 20
    assert ledger.intakes.acknowledge_all([Need.MISSING, Need.LOST], now=NOW, at_risk=DAY) == many


def test_task_of_which_no_deadline_is_known_is_named_with_the_one_it_is_taken_to_have(ledger: Ledger) -> None:
    take_in(ledger, 1)
    now = NOW + timedelta(days=13, hours=12)
    [task] = overview(ledger, now=now).needing
    assert (task.need, task.deadline) == (Need.AT_RISK, NOW + 14 * DAY)


def test_tasks_without_a_deadline_are_at_risk_by_the_moment_they_began_and_not_by_its_minute(ledger: Ledger) -> None:
    second = timedelta(seconds=1)
    for number in (3, 2, 1):
        take_in(ledger, number, now=NOW + number * second)
    seen = overview(ledger, now=NOW + 13 * DAY + 2.5 * second)
    assert (seen.at_risk_count, seen.needs[Need.AT_RISK]) == (2, 2)
    assert [task.task_id for task in seen.needing] == [task.task_id for task in seen.at_risk] == [tid(1), tid(2)]


def test_acknowledged_rejects_count_no_longer_and_later_ones_do(ledger: Ledger) -> None:
    first, second = (Reject("q.txt", at, "bad", "why") for at in (0, 9))
    accept(ledger, Intake(rejects=(first,)))
    assert ledger.intakes.acknowledge_rejects(now=NOW) == 1
    assert (overview(ledger).rejected_lines, overview(ledger).rejects) == (0, ())
    accept(ledger, Intake(rejects=(first, second)))
    assert (overview(ledger).rejected_lines, overview(ledger).rejects) == (1, (second,))
