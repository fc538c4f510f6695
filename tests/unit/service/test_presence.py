"""Presence: what a process writes down of itself, and how often."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from archiver.core.errors import LedgerFault
from archiver.service.presence import EVERY, Presence, clock_off
from tests.fakes.time import NOW


class Notes:
    """The Processes of a ledger, which keep what they are told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, datetime | None, str]] = []
        self.ended = False
        self.full = False

    def begin(self, owner: str, **_: Any) -> None:  # noqa: ANN401 - any field
        if self.full:
            raise LedgerFault("the disk is full", "make room")
        self.seen.append((owner, None, ""))

    def note(self, _owner: str, *, doing: str, looked_at: datetime | None, fault: str, now: datetime) -> None:
        assert now >= NOW
        self.seen.append((doing, looked_at, fault))

    def end(self, _owner: str, *, now: datetime) -> None:
        self.ended = now >= NOW

    def ahead(self, *, now: datetime) -> timedelta:
        raise AssertionError(now)

    def take_back(self, *, now: datetime) -> None:
        raise AssertionError(now)


def _presence(notes: Notes, time: SimpleNamespace) -> Presence:
    return Presence(notes, "us", "run", "here", 7, clock=lambda: time.now, doing=lambda: "2 tasks in flight")


def test_first_look_is_noted_at_once_and_later_ones_now_and_then() -> None:
    notes, time = Notes(), SimpleNamespace(now=NOW)
    presence = _presence(notes, time)
    presence.begin()
    presence.looked("")
    assert notes.seen == [("us", None, ""), ("2 tasks in flight", NOW, "")]
    for _ in range(100):
        time.now += EVERY / 10
        presence.looked("")
        presence.note()
    assert 10 <= len(notes.seen) - 2 <= 11


def test_fault_of_a_look_is_noted_at_once_and_so_is_its_end() -> None:
    notes, time = Notes(), SimpleNamespace(now=NOW)
    presence = _presence(notes, time)
    presence.begin()
    for fault in ("", "no rights", "no rights", ""):
        time.now += timedelta(milliseconds=1)
        presence.looked(fault)
    assert [fault for _, _, fault in notes.seen[1:]] == ["", "no rights", ""]


def test_note_comes_also_after_the_clock_was_set_back() -> None:
    notes, time = Notes(), SimpleNamespace(now=NOW + timedelta(days=1))
    presence = _presence(notes, time)
    presence.begin()
    presence.note()
    time.now = NOW
    presence.note()
    presence.end()
    assert (len(notes.seen), notes.ended) == (3, True)


def test_process_that_began_on_a_failing_ledger_is_written_down_once_it_works() -> None:
    notes, time = Notes(), SimpleNamespace(now=NOW)
    presence = _presence(notes, time)
    notes.full = True
    presence.begin()
    assert notes.seen == []
    notes.full = False
    presence.note()
    assert notes.seen == [("us", None, ""), ("2 tasks in flight", None, "")]


def test_clock_that_disagrees_with_the_provider_is_named_with_its_side() -> None:
    assert clock_off(timedelta(seconds=59)) == clock_off(timedelta(seconds=-59)) == ""
    assert clock_off(timedelta(days=1, seconds=2.4)) == "its clock is 1 day, 0:00:02 ahead of the provider's"
    assert clock_off(timedelta(minutes=-5)) == "its clock is 0:05:00 behind the provider's"
