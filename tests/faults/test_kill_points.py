"""Every durable step of a put in one piece, stopped by SIGKILL, by exception and SIGTERM one of a kind; and the table.

Those in parts stand in test_kill_points_multipart.py, so that two workers can share the table.
"""

from __future__ import annotations

import re

import pytest

from tests import ROOT
from tests.faults.points import HOWS, POINTS, Point, Size, hows_of, points_of
from tests.faults.scenes import Stage, finish, stop_at


@pytest.mark.parametrize("point", points_of(Size.SINGLE), ids=str)
def test_run_stopped_at_a_durable_step_is_finished_by_the_next_start(stage: Stage, point: Point) -> None:
    for how in hows_of(point, Size.SINGLE):
        stop_at(stage, point, Size.SINGLE, how)
    finish(stage, point)


CASES = [(point, size) for size in Size for point in points_of(size)]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("point", "size"), CASES, ids=str)
def test_run_stopped_in_every_way_at_a_durable_step_is_finished_by_the_next_start(
    stage: Stage, point: Point, size: Size
) -> None:
    for how in HOWS:
        stop_at(stage, point, size, how)
    finish(stage, point)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("point", "size"), CASES, ids=str)
def test_fresh_interpreter_stopped_at_a_durable_step_is_finished_by_the_next_start(
    stage: Stage, point: Point, size: Size
) -> None:
    stage.fresh = True
    for how in HOWS:
        stop_at(stage, point, size, how)
    finish(stage, point)


def test_table_has_at_least_24_points_for_each_size() -> None:
    for size in Size:
        assert len({str(point) for point in points_of(size)}) >= 24
    cases = len(HOWS) * sum(len(points_of(size)) for size in Size)
    often = sum(len(hows_of(point, size)) for size in Size for point in points_of(size))
    print(f"{cases} kill cases at {len(POINTS)} points, {often} of them in every run")


OF_COMMANDS = {
    "integration/ledger/test_backups.py": ("backup.", "restore.", "ledger.kept"),
    "unit/preservation/test_fixity_reports.py": ("fixity.",),
    "unit/preservation/test_rebuild.py": ("rebuild.",),
    "unit/preservation/test_trimming.py": ("trim.",),
}
"""The beginnings of steps that no task passes, and where whoever passes them is stopped."""


def test_table_names_every_checkpoint_of_the_service() -> None:
    called = re.compile(r'checkpoint(?:"\])?\((?:\s*)"([a-z_.]+)"')
    sources = [file.read_text() for file in (ROOT / "archiver").rglob("*.py")]
    steps = {step for source in sources for step in called.findall(source)}
    assert len(steps) >= 30
    elsewhere = {step for step in steps for begins in OF_COMMANDS.values() if step.startswith(begins)}
    assert steps - elsewhere == {point.step for point in POINTS}
    for file, begins in OF_COMMANDS.items():
        assert all(begin in (ROOT / "tests" / file).read_text() for begin in begins)
