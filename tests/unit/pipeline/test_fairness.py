"""Which stage a free worker goes to."""

from __future__ import annotations

from datetime import timedelta

import pytest

from archiver.core.model import Stage
from archiver.pipeline.fairness import preferred


@pytest.mark.parametrize(
    ("listing", "storing", "ahead", "stage"),
    [
        (1, 0, -9, Stage.STORE),
        (0, 1, 9, Stage.LIST),
        (3, 4, 9, Stage.LIST),
        (0, 0, -9, Stage.LIST),
        (0, 0, 0, Stage.LIST),
        (0, 0, 1, Stage.LIST),
        (2, 2, 1, Stage.LIST),
        (0, 0, 1.001, Stage.STORE),
        (2, 2, 1.001, Stage.STORE),
    ],
)
def test_free_worker_goes_where_fewer_are_and_else_to_asking_up_to_its_head_start(
    listing: int, storing: int, ahead: float, stage: Stage
) -> None:
    left = timedelta(hours=10)
    assert preferred(listing, storing, ahead=timedelta(hours=ahead), left=left) is stage


@pytest.mark.parametrize(("ahead", "stage"), [(-1, Stage.LIST), (0, Stage.LIST), (1, Stage.STORE)])
def test_free_worker_without_a_known_deadline_shares_its_time_evenly(ahead: int, stage: Stage) -> None:
    assert preferred(0, 0, ahead=timedelta(seconds=ahead), left=timedelta()) is stage


@pytest.mark.parametrize("asking", [1, 60, 3600])
def test_storing_has_half_of_the_time_by_the_nearest_deadline_whatever_there_is_to_ask(asking: int) -> None:
    deadline = timedelta(days=2)
    now, spent = timedelta(), dict.fromkeys(Stage, timedelta())
    turns = {Stage.LIST: timedelta(seconds=asking), Stage.STORE: timedelta(seconds=600)}
    while now < deadline:
        ahead = spent[Stage.LIST] - spent[Stage.STORE]
        stage = preferred(0, 0, ahead=ahead, left=deadline - now)
        spent[stage] += turns[stage]
        now += turns[stage]
    assert spent[Stage.STORE] >= deadline / 2 - turns[Stage.LIST] - turns[Stage.STORE]
