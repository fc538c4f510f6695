"""A megabyte of log a minute: what is written, what is counted, and what a flood of one kind leaves to the others."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator

from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from archiver.core.log_budget import Line, LogBudget
from tests.fixtures.profiles import examples

ALERTED = {"task.lost", "dependency.paused"}
ERROR, WARNING, INFO = logging.ERROR, logging.WARNING, logging.INFO


def ours(name: str, level: int, *about: str, stem: bool = False) -> Line:
    return Line(name, level, name, about, is_about_a_stem=stem)


def library(name: str, said: str, level: int = WARNING) -> Line:
    return Line(name, level, said, is_library=True)


def write(budget: LogBudget, line: Line, size: int, now: float) -> bool:
    """Write a line if there is room, as the log does."""
    if size > budget.room(line, now):
        budget.leave_out(line)
        return False
    budget.write(line, size, now)
    return True


def written(budget: LogBudget, lines: Iterable[Line], *, size: int = 300, now: float = 0.0) -> Counter[str]:
    return Counter(line.name for line in lines if write(budget, line, size, now))


def many(name: str, level: int, count: int, *, stem: bool = False) -> Iterator[Line]:
    return (ours(name, level, f"task-{number}", stem=stem) for number in range(count))


def test_work_at_the_providers_pace_is_written_whole() -> None:
    budget = LogBudget(ALERTED)
    lines = [line for name in ("task.listed", "stem.stored", "task.archived") for line in many(name, INFO, 480)]
    assert sum(written(budget, lines).values()) == 1_440
    assert budget.left_out() == ({}, logging.NOTSET)


def test_ends_of_tasks_are_written_though_details_of_their_stems_are_too_many() -> None:
    budget = LogBudget(ALERTED)
    details = written(budget, many("stem.stored", INFO, 5_000, stem=True))
    assert details["stem.stored"] == 1_600
    assert written(budget, many("task.archived", INFO, 240)) == {"task.archived": 240}


def test_thousand_lost_tasks_are_all_written_after_a_flood_of_everything_else() -> None:
    budget = LogBudget(ALERTED)
    written(budget, (library("asyncio", "no descriptor") for _ in range(10_000)))
    for name, level, stem in (
        ("stem.stored", INFO, True),
        ("queue.rejected", WARNING, False),
        ("stem.lost", ERROR, True),
        ("task.crashed", ERROR, False),
    ):
        written(budget, many(name, level, 5_000, stem=stem))
    assert written(budget, many("task.lost", ERROR, 1_000)) == {"task.lost": 1_000}


def test_first_lines_of_an_event_are_written_whatever_floods() -> None:
    budget = LogBudget(ALERTED)
    for name, level in (("queue.accepted", INFO), ("task.crashed", ERROR)):
        written(budget, many(name, level, 5_000))
    assert written(budget, (ours("heartbeat.failed", WARNING) for _ in range(50))) == {"heartbeat.failed": 10}
    assert written(budget, (ours("daemon.draining", INFO) for _ in range(1))) == {"daemon.draining": 1}


def test_errors_of_distinct_tasks_are_written_though_one_task_repeats_its_own() -> None:
    budget = LogBudget(ALERTED)
    assert written(budget, (ours("task.crashed", ERROR, "same") for _ in range(10_000))) == {"task.crashed": 20}
    assert written(budget, many("task.crashed", ERROR, 1_000)) == {"task.crashed": 1_000}
    assert budget.left_out() == ({"task.crashed": 9_980}, ERROR)


def test_dependency_that_flaps_leaves_room_for_what_is_lost() -> None:
    budget = LogBudget(ALERTED)
    flapping = written(budget, (ours("dependency.paused", ERROR, "provider") for _ in range(10_000)))
    assert flapping == {"dependency.paused": 20}
    assert written(budget, many("task.lost", ERROR, 1_000)) == {"task.lost": 1_000}


def test_libraries_share_a_tenth_and_another_ones_first_words_are_still_written() -> None:
    budget = LogBudget()
    noise = written(budget, (library("asyncio", "socket.accept() out of system resource") for _ in range(10_000)))
    assert 250 <= noise["asyncio"] <= 334
    assert written(budget, [library("urllib3", "retrying")]) == {"urllib3": 1}
    assert written(budget, [library("asyncio", "another thing")]) == {"asyncio": 1}
    assert sum(written(budget, (library("x", f"number {n}") for n in range(10_000))).values()) < 1_000


def test_logger_that_bears_the_name_of_an_alert_is_a_library_all_the_same() -> None:
    assert written(LogBudget(ALERTED), (library("task.lost", "x") for _ in range(10_000)))["task.lost"] < 400


def test_what_was_left_out_is_counted_by_name_with_the_worst_level_and_told_once() -> None:
    budget = LogBudget()
    count = written(budget, many("queue.accepted", INFO, 10_000))["queue.accepted"]
    assert count == 1_866
    assert budget.left_out() == ({"queue.accepted": 8_134}, INFO)
    assert budget.left_out() == ({}, logging.NOTSET)


def test_summary_is_written_when_nothing_else_is() -> None:
    budget = LogBudget(ALERTED)
    written(budget, many("task.lost", ERROR, 5_000))
    assert not write(budget, ours("task.lost", ERROR, "one more"), 300, 0.0)
    assert written(budget, [ours("log.suppressed", WARNING)] * 60) == {"log.suppressed": 60}


def test_minute_later_there_is_room_again() -> None:
    budget = LogBudget()
    assert written(budget, many("queue.accepted", INFO, 10_000), now=100.0) == {"queue.accepted": 1_866}
    assert sum(written(budget, many("queue.accepted", INFO, 10_000), now=159.0).values()) == 0
    assert written(budget, many("queue.accepted", INFO, 10_000), now=162.0) == {"queue.accepted": 1_866}


LINES = st.builds(
    Line,
    st.sampled_from(["task.lost", "stem.lost", "queue.accepted", "log.suppressed", "asyncio"]),
    st.sampled_from([INFO, WARNING, ERROR, logging.CRITICAL]),
    st.sampled_from(["a", "b"]),
    st.sampled_from([(), ("one",), ("two", "x")]) | st.tuples(st.integers(0, 10_000).map(str)),
    st.booleans(),
    st.booleans(),
)
BURSTS = st.tuples(LINES, st.integers(1, 50), st.integers(100, 10_000), st.floats(0, 20))


@given(st.lists(BURSTS, min_size=1, max_size=60))
@run_with(max_examples=examples(50))
def test_no_minute_holds_more_than_a_megabyte_and_every_line_is_written_or_counted(
    bursts: list[tuple[Line, int, int, float]],
) -> None:
    budget, now, log, asked = LogBudget(ALERTED), 0.0, list[tuple[float, int]](), 0
    for line, repeated, size, later in bursts:
        now += later
        asked += repeated
        log += [(now, size) for _ in range(repeated) if write(budget, line, size, now)]
    assert asked == len(log) + sum(budget.left_out()[0].values())
    for start, _ in log:
        assert sum(size for at, size in log if start <= at < start + 60) <= 1_000_000


def test_whatever_is_written_ends_at_a_million_bytes_a_minute() -> None:
    budget = LogBudget(ALERTED)
    told = ours("log.suppressed", WARNING)
    assert budget.room(told, 0.0) == 1_000_000
    budget.write(told, 999_999, 0.0)
    assert budget.room(told, 0.0) == 1


def test_200_names_of_what_was_left_out_are_told_and_further_ones_by_one_word() -> None:
    budget = LogBudget()
    for number in range(202):
        budget.leave_out(library(f"name-{number}", "said"))
    counts, _ = budget.left_out()
    assert counts == {**{f"name-{number}": 1 for number in range(200)}, "others": 2}
