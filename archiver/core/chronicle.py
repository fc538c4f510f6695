"""The course of a task, as its manifest tells it beside stems and record: how it came here, and how it ends. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from archiver.core.model import (
    Archived,
    Failed,
    Lost,
    Missing,
    Outcome,
    Refused,
    StemName,
)
from archiver.core.reports import Moved
from archiver.core.states import StemEvent, TaskEvent, TaskState, step_task

MOST_UNFOLDED: Final = 100
"""Events up to which each is told by itself."""

LEFT_OUT: Final = "left_out"
"""Stands for events that a manifest has no room for."""
_FIRST_EVENTS: Final = 100
FEWEST_EVENTS: Final = 2 * _FIRST_EVENTS

PREMIS: Final = {
    StemEvent.STORED.value: "ingestion, message digest calculation",
    StemEvent.ADOPTED.value: "recovery",
}
"""Our words by those of the PREMIS Data Dictionary, where it has one."""
_IN_THE_STEM: Final = frozenset({"key", "bytes", "sha256"})
"""Of what was stored, that is told by the stem."""


@dataclass(frozen=True, slots=True)
class Chronicle:
    """Columns and history of a task that its claim does not hold."""

    source: str = ""
    flag: str = ""
    first_asked_at: datetime | None = None
    url_cut: frozenset[StemName] = field(default_factory=frozenset)
    """Stems whose URL had a query, which is kept nowhere."""
    events: Sequence[Moved] = ()
    crc32: Mapping[StemName, str] = field(default_factory=dict)
    """Eight lower-case hex digits each, of the objects that it was computed of just now: the ledger keeps none."""


@dataclass(frozen=True, slots=True)
class End:
    """The state that a manifest tells: an end and its time, or LISTED, whose refused stems are looked at again."""

    state: TaskState
    reason: str = ""
    at: datetime | None = None
    event: TaskEvent | None = None

    @classmethod
    def of(cls, outcome: Outcome, at: datetime) -> End | None:
        """Return the end that an outcome is; None for one that no manifest tells."""
        match outcome:
            case Archived():
                return cls(TaskState.ARCHIVED, "", at, TaskEvent.ALL_STORED)
            case Lost(reason=reason):
                return cls(TaskState.LOST, reason, at, TaskEvent.STEMS_LOST)
            case Failed(reason=reason):
                return cls(TaskState.FAILED, reason, at, TaskEvent.PROVIDER_FAILED)
            case Missing(reason=reason):
                return cls(TaskState.MISSING, reason, at, TaskEvent.NEVER_SEEN)
            case Refused(reason=reason):
                return cls(TaskState.LISTED, reason)
            case _:
                return None

    def moved(self, before: TaskState) -> tuple[Moved, ...]:
        """Return the line that the ledger writes at the end, once the manifest stands."""
        if self.event is None or self.at is None:
            return ()
        after = step_task(before, self.event)
        detail = {"reason": self.reason} if self.reason else {}
        return (Moved(self.at, None, self.event.value, before.value, after.value, detail),)


def events_of(events: Sequence[Moved]) -> list[dict[str, object]]:
    """Return the events as a manifest tells them; of more than MOST_UNFOLDED those not ready, in a row, as one."""
    lines = [_line(each) for each in events]
    return lines if len(lines) <= MOST_UNFOLDED else list(_folded(lines))


def shortened(events: Sequence[Mapping[str, object]], most: int) -> list[Mapping[str, object]]:
    """Return at most so many of the events: of more the first few and the last, and between them how many are left out.

    `most` is at least FEWEST_EVENTS.
    """
    if len(events) <= most:
        return list(events)
    left = events[_FIRST_EVENTS : len(events) - (most - _FIRST_EVENTS - 1)]
    times = sum(_times(each) for each in left)
    until = left[-1].get("until") or left[-1]["at"]
    line = {"type": None, "at": left[0]["at"], "stem": None, "event": LEFT_OUT, "before": "", "after": "", "detail": {}}
    return [*events[:_FIRST_EVENTS], {**line, "times": times, "until": until}, *events[_FIRST_EVENTS + len(left) :]]


def _line(moved: Moved) -> dict[str, object]:
    stored, adopted = moved.event == StemEvent.STORED, moved.detail.get("by") == "recovery"
    return {
        "type": PREMIS.get(StemEvent.ADOPTED if stored and adopted else moved.event),
        "at": moved.at.isoformat(),
        "stem": moved.stem,
        "event": moved.event,
        "before": moved.before,
        "after": moved.after,
        "detail": {name: value for name, value in moved.detail.items() if not stored or name not in _IN_THE_STEM},
    }


def _folded(lines: Iterable[dict[str, object]]) -> Iterator[dict[str, object]]:
    last: dict[str, object] | None = None
    for event in lines:
        if last is not None and _not_ready(last) and _not_ready(event):
            last |= {"detail": event["detail"], "until": event["at"], "times": _times(last) + 1}
            continue
        if last is not None:
            yield last
        last = event
    if last is not None:
        yield last


def _times(event: Mapping[str, object]) -> int:
    times = event.get("times", 1)
    return times if isinstance(times, int) else 1


def _not_ready(event: dict[str, object]) -> bool:
    return event["event"] == TaskEvent.NOT_READY
