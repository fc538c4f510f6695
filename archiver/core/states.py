"""The two state machines, each a table; `step` is the only way a state changes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar


class TaskState(StrEnum):
    """The state of a task."""

    QUEUED = "queued"
    """No audio is known yet; not_before says when to ask again."""
    LISTED = "listed"
    """The record named stems; at least one is not yet stored."""
    ARCHIVED = "archived"
    """Every stem is stored and the manifest is written."""
    LOST = "lost"
    """Audio existed and can no longer be had."""
    FAILED = "failed"
    """The provider made no audio."""
    MISSING = "missing"
    """The provider does not know the id."""


class StemState(StrEnum):
    """The state of a stem."""

    WANTED = "wanted"
    STORED = "stored"
    REFUSED = "refused"
    """Will not improve by itself; an operator may retry it."""
    LOST = "lost"


class TaskEvent(StrEnum):
    """An event in the life of a task."""

    NOT_READY = "not_ready"
    LISTED = "listed"
    RELISTED = "relisted"
    ALL_STORED = "all_stored"
    STEMS_LOST = "stems_lost"
    PROVIDER_FAILED = "provider_failed"
    NEVER_SEEN = "never_seen"
    RETRIED = "retried"
    ADOPTED = "adopted"
    """Its objects, or a manifest that tells no history, were found in the bucket."""
    QUARANTINED = "quarantined"
    """Processes died while at it; it is tried last and alone."""


class StemEvent(StrEnum):
    """An event in the life of a stem."""

    STORED = "stored"
    REFUSED = "refused"
    RETRIED = "retried"
    GONE = "gone"
    ADOPTED = "adopted"
    """Its object was found in the bucket, read and hashed."""
    MOVED = "moved"
    """The provider gave another address for it; the event keeps the one of before."""


class IllegalMove(Exception):
    """A state was asked to make a move that its table does not hold: a bug."""


TASK_MOVES: Mapping[tuple[TaskState, TaskEvent], TaskState] = {
    (TaskState.QUEUED, TaskEvent.NOT_READY): TaskState.QUEUED,
    (TaskState.QUEUED, TaskEvent.LISTED): TaskState.LISTED,
    (TaskState.QUEUED, TaskEvent.ADOPTED): TaskState.LISTED,
    (TaskState.QUEUED, TaskEvent.PROVIDER_FAILED): TaskState.FAILED,
    (TaskState.QUEUED, TaskEvent.NEVER_SEEN): TaskState.MISSING,
    (TaskState.LISTED, TaskEvent.RELISTED): TaskState.LISTED,
    (TaskState.LISTED, TaskEvent.ALL_STORED): TaskState.ARCHIVED,
    (TaskState.LISTED, TaskEvent.STEMS_LOST): TaskState.LOST,
    (TaskState.LOST, TaskEvent.RETRIED): TaskState.QUEUED,
    (TaskState.FAILED, TaskEvent.RETRIED): TaskState.QUEUED,
    (TaskState.MISSING, TaskEvent.RETRIED): TaskState.QUEUED,
    (TaskState.LISTED, TaskEvent.RETRIED): TaskState.LISTED,
    (TaskState.QUEUED, TaskEvent.RETRIED): TaskState.QUEUED,
    (TaskState.QUEUED, TaskEvent.QUARANTINED): TaskState.QUEUED,
    (TaskState.LISTED, TaskEvent.QUARANTINED): TaskState.LISTED,
}

STEM_MOVES: Mapping[tuple[StemState, StemEvent], StemState] = {
    (StemState.WANTED, StemEvent.STORED): StemState.STORED,
    (StemState.WANTED, StemEvent.REFUSED): StemState.REFUSED,
    (StemState.WANTED, StemEvent.GONE): StemState.LOST,
    (StemState.WANTED, StemEvent.ADOPTED): StemState.STORED,
    (StemState.REFUSED, StemEvent.ADOPTED): StemState.STORED,
    (StemState.LOST, StemEvent.ADOPTED): StemState.STORED,
    (StemState.REFUSED, StemEvent.RETRIED): StemState.WANTED,
    (StemState.REFUSED, StemEvent.GONE): StemState.LOST,
    (StemState.LOST, StemEvent.RETRIED): StemState.WANTED,
    (StemState.WANTED, StemEvent.MOVED): StemState.WANTED,
    (StemState.REFUSED, StemEvent.MOVED): StemState.REFUSED,
    (StemState.LOST, StemEvent.MOVED): StemState.LOST,
}

OPEN_TASK_STATES = frozenset({TaskState.QUEUED, TaskState.LISTED})
"""Tasks in these states are still worked on; all others have ended."""

ENDED_WITH_AUDIO = frozenset({TaskState.ARCHIVED, TaskState.LOST})
"""Tasks that ended in these states had audio."""

ENDED_BADLY = (TaskState.FAILED, TaskState.LOST, TaskState.MISSING)
"""Tasks that ended in these states lack audio, and may be retried."""

_S = TypeVar("_S", TaskState, StemState)
_E = TypeVar("_E", TaskEvent, StemEvent)


def _step(moves: Mapping[tuple[_S, _E], _S], state: _S, event: _E) -> _S:
    try:
        return moves[state, event]
    except KeyError:
        raise IllegalMove(f"{type(state).__name__} {state} does not know the event {event}") from None


def step_task(state: TaskState, event: TaskEvent) -> TaskState:
    """Return the state that follows; raise IllegalMove when the table has none."""
    return _step(TASK_MOVES, state, event)


def step_stem(state: StemState, event: StemEvent) -> StemState:
    """Return the state that follows; raise IllegalMove when the table has none."""
    return _step(STEM_MOVES, state, event)
