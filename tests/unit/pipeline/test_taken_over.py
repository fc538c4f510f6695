"""A process that slept between its verdict and its manifest: what it writes then, and what the ledger says."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterator
from datetime import timedelta

import pytest

from archiver.core.errors import LeaseLost, LinkSpent
from archiver.core.manifest_read import read_manifest
from archiver.core.model import Phase, RecordInfo, TaskId
from archiver.core.states import OPEN_TASK_STATES, TaskState
from tests.fakes.time import NOW as START
from tests.fixtures.ledgers import retry
from tests.worlds.path import PREFIX, TASK, Path, path_in

VOCAL = b"vocal" * 9000
MANIFEST = f"{PREFIX}{TASK}/manifest.json"
OLD = START + timedelta(days=20)
"""Past every deadline of a task that came at START."""
ENDS = sorted(set(TaskState) - OPEN_TASK_STATES)
PAIRS = [(mine, theirs) for mine, theirs in itertools.permutations(ENDS, 2) if mine is not TaskState.ARCHIVED]
"""What is archived is so for all: its stems stand in the ledger before its verdict."""


@pytest.fixture
def world(tmp_path: pathlib.Path) -> Iterator[Path]:
    with path_in(tmp_path) as world:
        world.accept(TASK)
        world.api.knows(TASK, RecordInfo(Phase.ABSENT))
        world.go()
        world.now = OLD
        yield world


def turn(world: Path, to: TaskState) -> None:
    """Let the provider and its CDN say what the task ends so by."""
    match to:
        case TaskState.MISSING:
            world.api.knows(TASK, RecordInfo(Phase.ABSENT))
        case TaskState.FAILED:
            world.api.knows(TASK, RecordInfo(Phase.FAILED, flag="GENERATE_AUDIO_FAILED"))
        case TaskState.LOST:
            world.lists(world.serves("vocal", LinkSpent(status=404)), created=START)
        case _:
            world.lists(world.serves("vocal", VOCAL), created=START)


def ends(world: Path, to: TaskState) -> None:
    """Work, and let an operator retry, until the task ends so; what was lost stays so without audio."""
    turn(world, to)
    if world.task.stems and to is not TaskState.ARCHIVED:
        to = TaskState.LOST
    retry(world.ledger, [TASK], now=world.now)
    for _ in range(20):
        world.now += timedelta(hours=30)
        while world.dispatcher.step():
            pass
        if world.task.state not in OPEN_TASK_STATES:
            break
    assert world.task.state is to


def check(world: Path) -> None:
    """Manifest and ledger say the same of task and stems."""
    manifest = read_manifest(world.store.objects[MANIFEST], TaskId(TASK))
    assert manifest.state == world.task.state
    assert {each.name: each.state for each in manifest.stems} == {each.name: each.state for each in world.task.stems}


@pytest.mark.parametrize(("mine", "theirs"), PAIRS)
def test_sleeper_with_another_verdict_leaves_the_manifest_of_the_process_that_took_over(
    world: Path, mine: TaskState, theirs: TaskState
) -> None:
    def sleep(method: str, key: str) -> None:
        if (method, key) == ("put_document", MANIFEST):
            world.store.before = lambda method, key: None
            ends(world, theirs)

    turn(world, mine)
    claim = world.claim()
    world.store.before = sleep
    with pytest.raises(LeaseLost):
        world.start().archiver.archive(claim)
    check(world)


@pytest.mark.parametrize(("first", "then"), PAIRS)
def test_task_that_is_retried_and_ends_otherwise_has_the_manifest_of_its_last_end(
    world: Path, first: TaskState, then: TaskState
) -> None:
    ends(world, first)
    check(world)
    ends(world, then)
    check(world)
