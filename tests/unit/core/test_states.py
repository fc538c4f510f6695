"""The two tables, pair by pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import TypeVar

import pytest

from archiver.core.states import (
    OPEN_TASK_STATES,
    STEM_MOVES,
    TASK_MOVES,
    IllegalMove,
    StemEvent,
    StemState,
    TaskEvent,
    TaskState,
    step_stem,
    step_task,
)
from tests.fixtures.states import STEM_TABLE, TASK_TABLE

State = TypeVar("State", TaskState, StemState)
Event = TypeVar("Event", TaskEvent, StemEvent)


@pytest.mark.parametrize(("state", "event"), list(product(TaskState, TaskEvent)))
def test_task_pair_moves_as_the_table_says_or_is_illegal(state: TaskState, event: TaskEvent) -> None:
    expected = TASK_TABLE[state].get(event)
    if expected is None:
        with pytest.raises(IllegalMove, match=f"TaskState {state} does not know the event {event}"):
            step_task(state, event)
    else:
        assert step_task(state, event) is TaskState(expected)


@pytest.mark.parametrize(("state", "event"), list(product(StemState, StemEvent)))
def test_stem_pair_moves_as_the_table_says_or_is_illegal(state: StemState, event: StemEvent) -> None:
    expected = STEM_TABLE[state].get(event)
    if expected is None:
        with pytest.raises(IllegalMove, match=f"StemState {state} does not know the event {event}"):
            step_stem(state, event)
    else:
        assert step_stem(state, event) is StemState(expected)


def reachable(start: State, moves: Mapping[tuple[State, Event], State]) -> set[State]:
    found = {start}
    while more := {after for (before, _), after in moves.items() if before in found} - found:
        found |= more
    return found


def ends(states: Iterable[State], moves: Mapping[tuple[State, Event], State]) -> set[State]:
    return {state for state in states if reachable(state, moves) == {state}}


def test_every_state_is_reachable_from_the_first() -> None:
    assert reachable(TaskState.QUEUED, TASK_MOVES) == set(TaskState)
    assert reachable(StemState.WANTED, STEM_MOVES) == set(StemState)


def test_only_success_has_no_way_out() -> None:
    assert ends(TaskState, TASK_MOVES) == {TaskState.ARCHIVED}
    assert ends(StemState, STEM_MOVES) == {StemState.STORED}


def test_task_is_archived_only_when_all_is_stored() -> None:
    assert [pair for pair, after in TASK_MOVES.items() if after is TaskState.ARCHIVED] == [
        (TaskState.LISTED, TaskEvent.ALL_STORED)
    ]


def test_every_event_is_in_its_table() -> None:
    assert {event for _, event in TASK_MOVES} == set(TaskEvent)
    assert {event for _, event in STEM_MOVES} == set(StemEvent)


def test_ended_states_are_left_only_by_an_operators_retry() -> None:
    ways_out = {event for (state, event) in TASK_MOVES if state not in OPEN_TASK_STATES}
    assert ways_out == {TaskEvent.RETRIED}
