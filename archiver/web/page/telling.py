"""A task in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from archiver.core.reports import Moved, TaskRow
from archiver.core.states import OPEN_TASK_STATES, StemState, TaskState
from archiver.web.page.words import counted, in_words, span

Tone = Literal["good", "busy", "warn", "bad"]
SIGNS: dict[Tone, str] = {"good": "✓", "busy": "◷", "warn": "!", "bad": "✕"}


@dataclass(frozen=True, slots=True)
class Standing:
    """How a task stands: a sign, words, and a tone that is never told by colour alone."""

    tone: Tone
    words: str

    @property
    def sign(self) -> str:
        """The sign before the words."""
        return SIGNS[self.tone]


def standing(row: TaskRow) -> Standing:
    """Return how the task stands, in few words."""
    stems = len(row.stems) or (row.trimmed.stems if row.trimmed else 0)
    stored = sum(1 for each in row.stems if each.receipt is not None)
    lost = sum(1 for each in row.stems if each.state is StemState.LOST)
    refused = sum(1 for each in row.stems if each.state is StemState.REFUSED)
    match row.state:
        case TaskState.ARCHIVED:
            return Standing("good", f"safe: all {counted(stems, 'stem')}" if stems else "safe")
        case TaskState.LOST:
            return Standing("bad", f"lost: {lost} of {counted(stems, 'stem')}")
        case TaskState.FAILED:
            return Standing("bad", "failed: the provider made no audio")
        case TaskState.MISSING:
            return Standing("bad", "missing: the provider does not know it")
    if refused:
        return Standing("warn", f"refused: {refused} of {counted(stems, 'stem')}")
    return Standing("busy", f"in work: {stored} of {counted(stems, 'stem')} stored" if stems else "in work")


def head_of(row: TaskRow, now: datetime) -> Sequence[tuple[str, datetime | None]]:
    """Return the facts of the head line: words, and the moment that follows them where there is one."""
    return [fact for fact in _facts(row, now) if fact is not None]


def _facts(row: TaskRow, now: datetime) -> Iterator[tuple[str, datetime | None] | None]:
    yield (row.kind.value, None) if row.kind is not None else None
    yield f"account {in_words(row.account)}", None
    yield ("made", row.created_at) if row.created_at else ("accepted", row.accepted_at)
    listed = _first(row, "listed")
    yield (f"listed after {span(listed - row.accepted_at)}", None) if listed else None
    stored = [each.receipt.stored_at for each in row.stems if each.receipt is not None]
    if stored and listed:
        yield f"{counted(len(stored), 'stem')} stored within {span(max(max(stored) - listed, timedelta()))}", None
    if row.deadline is not None:
        yield ("deadline was" if row.deadline < now or row.ended_at else "deadline"), row.deadline
    if row.not_before is not None and row.state in OPEN_TASK_STATES:
        yield "next try", row.not_before
    yield (f"why: {in_words(row.reason)}", None) if row.reason else None


def _first(row: TaskRow, event: str) -> datetime | None:
    return next((each.at for each in row.history if each.event == event and each.stem is None), None)


@dataclass(frozen=True, slots=True)
class Line:
    """A move, or several alike in a row, in words."""

    at: datetime
    words: str
    is_bad: bool


_WORDS = {
    "not_ready": "asked: not ready yet",
    "listed": "listed",
    "relisted": "asked again: fresh links",
    "all_stored": "manifest written: archived",
    "stems_lost": "ended: stems are lost",
    "provider_failed": "the provider made no audio",
    "never_seen": "the provider does not know it",
    "retried": "back to work",
    "adopted": "found in the bucket",
    "quarantined": "set apart: processes died while at it",
    "stored": "stored",
    "refused": "refused",
    "gone": "gone, for good",
    "moved": "its address changed",
}
_BAD = frozenset({"stems_lost", "provider_failed", "never_seen", "gone", "refused", "quarantined"})


def moves(row: TaskRow, most: int) -> tuple[Sequence[Line], int]:
    """Return the history in words, at most so many lines of it, the middle left out; and how many were."""
    lines = [Line(row.accepted_at, f"accepted from {in_words(row.source) or 'the queue file'}", is_bad=False)]
    lines += _folded(row.history)
    if len(lines) <= most:
        return lines, 0
    half = most // 2
    return [*lines[:half], *lines[-half:]], len(lines) - 2 * half


def _folded(history: Sequence[Moved]) -> Iterator[Line]:
    """Yield each move; those of stems that are alike and follow each other as one."""
    at = 0
    while at < len(history):
        end = at + 1
        while end < len(history) and history[at].stem and history[end].stem and _alike(history[at], history[end]):
            end += 1
        yield _line(history[at:end])
        at = end


def _alike(one: Moved, other: Moved) -> bool:
    return one.event == other.event and one.detail.get("reason") == other.detail.get("reason")


def _line(group: Sequence[Moved]) -> Line:
    first, last = group[0], group[-1]
    words = _WORDS.get(first.event, first.event.replace("_", " "))
    why = in_words(str(first.detail.get("reason", "")))
    if first.stem is not None:
        names = in_words(first.stem) if len(group) == 1 else f"{len(group)} stems"
        words = f"{names}: {words}"
    return Line(last.at, f"{words} ({why})" if why else words, first.event in _BAD)
