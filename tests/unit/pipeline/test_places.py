"""Places of workers beside what is held up: for whom they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from archiver.core.model import Claim, Stage
from archiver.core.states import TaskState
from archiver.pipeline.places import Places
from tests.unit.core.tasks import claim


def claim_in(state: TaskState) -> Claim:
    return replace(claim(), state=state)


def test_half_of_the_places_beside_what_is_held_up_are_not_for_storing() -> None:
    places = Places(8)
    assert [places.may_store(storing) for storing in (7, 8)] == [True, False], "as many as there are workers"
    places.slow = 3
    assert (places.count, places.may_store(9), places.may_store(10)) == (11, True, False)
    places.slow = 40
    assert (places.count, places.may_store(11), places.may_store(12)) == (16, True, False)


def test_every_second_is_the_latest_while_half_of_the_workers_are_held_up_or_may_be() -> None:
    places = Places(8)
    places.slow = 3
    assert not any(places.takes_latest(eases=False) for _ in range(4))
    assert sum(places.takes_latest(eases=True) for _ in range(4)) == 2
    places.slow = 4
    assert sum(places.takes_latest(eases=False) for _ in range(4)) == 2


@pytest.mark.parametrize(("is_young", "beside"), [(True, 0), (False, 3)])
def test_others_have_places_beside_what_waits_long_for_its_first_question(is_young: bool, beside: int) -> None:
    places = Places(8)
    for who in range(3):
        places.takes(who, claim_in(TaskState.QUEUED), Stage.LIST, is_young=is_young)
    assert places.beside == beside
    assert not places.full_of_asks


def test_what_waits_for_questions_fills_its_half_of_the_places_and_leaves_those_for_storing() -> None:
    places = Places(4)
    for who in range(4):
        places.takes(who, claim_in(TaskState.QUEUED), Stage.LIST, is_young=False)
    assert (places.full_of_asks, places.full, places.count) == (True, False, 8)
    places.leaves(0)
    assert (places.full_of_asks, places.count) == (False, 7)
    places.takes(0, claim_in(TaskState.LISTED), Stage.STORE, is_young=False)
    assert places.count == 7, "a listed one goes first"
