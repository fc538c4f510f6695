"""Which requests go first at the provider's pace: about what came just now, and for the links of a first try."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path as Folder

import pytest

from archiver.core import plan
from archiver.core.model import Phase, RecordInfo
from tests.worlds.path import TASK, Path, path_in

PENDING = RecordInfo(Phase.PENDING, flag="PENDING")


@pytest.fixture
def asked(tmp_path: Folder) -> Iterator[tuple[Path, list[bool]]]:
    with path_in(tmp_path) as world:
        firsts: list[bool] = []
        world.api.permit = firsts.append
        world.accept(TASK)
        yield world, firsts


@pytest.mark.parametrize(("age", "first"), [(timedelta(), True), (plan.YOUNG, True), (2 * plan.YOUNG, False)])
def test_first_ask_goes_first_while_its_id_is_young(
    asked: tuple[Path, list[bool]], age: timedelta, first: bool
) -> None:
    world, firsts = asked
    world.api.knows(TASK, PENDING)
    world.forward(age)
    world.go()
    assert firsts == [first]


def test_ask_that_comes_again_does_not_go_first(asked: tuple[Path, list[bool]]) -> None:
    world, firsts = asked
    world.api.knows(TASK, PENDING)
    world.go_until(lambda _: len(firsts) == 2)
    assert firsts == [True, False]
