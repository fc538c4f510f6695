"""The view of a backfill at work: what flows, how long it takes, and the reason of every wait."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from archiver.commands.progress import Tally
from archiver.commands.screen import Screen, Source, View
from archiver.core.intake import Intake
from archiver.core.model import Dependency, Pause, TaskId
from archiver.core.reports import EnlistedWork, OpenWork
from archiver.core.states import TaskState
from archiver.core.transfer import Moving
from archiver.service.backfill import Standing
from tests.fakes.events import Events
from tests.fakes.time import NOW

MINUTE = timedelta(minutes=1)
STATES = {TaskState.ARCHIVED: 12, TaskState.LISTED: 30, TaskState.QUEUED: 2, TaskState.FAILED: 2, TaskState.LOST: 1}
LEFT = OpenWork(32, NOW, None, NOW + 9 * MINUTE)
MOVING = [Moving(f"{number:032x}", "vocal", 3_100_000, 6_000_000, 2.0) for number in range(10)]
PAUSE = Pause(Dependency.STORE, NOW, "no bucket", "create it", lasting=True, probes=1, next_probe=NOW + MINUTE)


def view(left: OpenWork = LEFT, *pauses: Pause, **changes: Any) -> View:  # noqa: ANN401 - fields of it
    plain = View(
        now=NOW,
        seconds=41,
        read=47,
        standing=Standing(EnlistedWork(STATES), left, pauses),
        stems=23,
        came=1_200_000_000,
        rate=3_400_000,
        seconds_left=290,
        moving=MOVING,
        working=10,
        next_in=None,
        stopping=False,
    )
    return replace(plain, **changes)


def test_failures_are_told_apart_from_successes_with_rate_and_time_left() -> None:
    head, flow, *_ = view().lines(80)
    assert head == "[######xx................]  12 of 47 tasks archived, 2 failed, 1 lost  0:41"
    assert flow == "  23 stems stored, 1.2 GB in, 3.4 MB/s, about 5 min left, deadline in 9m"


def test_transfers_have_lines_where_there_is_room() -> None:
    assert not any("vocal" in line for line in view().lines(99))
    wide = list(view().lines(100))
    assert sum("vocal" in line for line in wide) == 8
    assert wide[2] == f"    {0:032x}   vocal                   3.1 MB of 6.0 MB  1.6 MB/s"
    assert "    and 2 more" in wide


@pytest.mark.parametrize("width", [80, 100])
def test_no_line_is_wider_than_the_terminal_and_all_is_ascii(width: int) -> None:
    busy = view(replace(LEFT, pending=2, next_ask=NOW + 70 * MINUTE, next_retry=NOW + MINUTE), PAUSE, next_in=3.2)
    for line in busy.lines(width):
        assert line.isascii()
        assert len(line) <= width


WAITS: dict[str, tuple[View, list[str]]] = {
    "nothing waits": (view(), []),
    "pace": (view(next_in=3.2), ["provider's pace: next in 4 s"]),
    "pending": (
        view(replace(LEFT, pending=2, next_ask=NOW + 11 * MINUTE)),
        ["2 pending at the provider, asked again at 00:11 UTC (in 11m)"],
    ),
    "pending and due": (
        view(replace(LEFT, pending=1, next_ask=NOW)),
        ["1 pending at the provider, asked again now"],
    ),
    "retry": (
        view(replace(LEFT, next_retry=NOW + MINUTE)),
        ["what failed is tried again at 00:01 UTC (in 1m)"],
    ),
    "paused": (view(LEFT, PAUSE), ["store paused: no bucket; tried again at 00:01 UTC (in 1m)"]),
    "probe due": (
        view(LEFT, replace(PAUSE, next_probe=NOW - MINUTE)),
        ["store paused: no bucket; tried again by the next task that needs it"],
    ),
    "held": (view(LEFT, replace(PAUSE, held=True)), ["store held by the operator: stem-archiver resume"]),
    "others": (view(moving=[], working=0), ["another process works on what is left (32)"]),
    "stopping": (view(replace(LEFT, pending=2, next_ask=NOW), PAUSE, stopping=True), []),
}


@pytest.mark.parametrize("case", WAITS)
def test_every_wait_has_its_reason(case: str) -> None:
    seen, reasons = WAITS[case]
    assert list(seen.waits()) == reasons
    assert [line.strip() for line in seen.lines(80) if "waiting" in line] == [f"waiting: {why}" for why in reasons]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"moving": MOVING[:4]}, "finishing 4 transfers, press Ctrl-C again to stop"),
        ({"moving": MOVING[:1]}, "finishing 1 transfer, press Ctrl-C again to stop"),
        ({"moving": [], "working": 2}, "finishing 2 tasks, press Ctrl-C again to stop"),
        ({"moving": [], "working": 0}, "stopping"),
    ],
)
def test_ctrl_c_is_answered_with_what_is_waited_for(changes: dict[str, Any], said: str) -> None:
    assert list(replace(view(), stopping=True, **changes).lines(80))[-1] == f"  {said}"


def source(*, stopping: Callable[[], bool] = lambda: False) -> Source:
    return Source(Tally(), lambda: NOW, lambda: MOVING, lambda: 10, lambda: None, stopping)


def test_ids_are_counted_while_they_are_read() -> None:
    looked_at = source()
    list(looked_at.reading([Intake(ids=(TaskId("task-0001"), TaskId("task-0002")))]))
    assert looked_at.view().head == "reading ids: 2 so far"


def test_stream_of_events_gets_no_line_for_people_and_a_stream_for_people_no_event() -> None:
    standing = Standing(EnlistedWork(STATES), LEFT, (PAUSE,))
    for log in (Events(), None):
        out = io.StringIO()
        looked_at = source(stopping=lambda: True)
        with Screen(Console(file=out), looked_at, quiet=False, log=log, said_every=0.0) as screen:
            screen.update(standing)
            screen.stopping()
        if log is None:
            assert "12 of 47 tasks archived, 2 failed, 1 lost" in out.getvalue()
            assert "finishing 10 transfers, press Ctrl-C again to stop" in out.getvalue()
        else:
            assert out.getvalue() == ""
            [progress] = log.of("backfill.progress")
            assert (progress["tasks"], progress["archived"], progress["failed"]) == (47, 12, 3)


def test_time_left_is_told_by_tasks_that_ended_or_by_the_bytes_that_are_left() -> None:
    looked_at = source()
    looked_at.note(Standing(EnlistedWork(STATES), replace(LEFT, tasks=10)))
    assert looked_at.view().seconds_left is None, "no bytes came yet, and no task ended"
    looked_at.note(Standing(EnlistedWork({**STATES, TaskState.ARCHIVED: 15}), replace(LEFT, tasks=7)))
    left = looked_at.view().seconds_left
    assert left is not None
    assert left < 60
