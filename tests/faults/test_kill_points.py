"""Every durable step, by exception, SIGTERM and SIGKILL, in one put and in parts: the next start goes to the end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from archiver.demo.emulator import Emulator
from archiver.demo.seaweed import S3Server
from tests.faults.launcher import ForkServer, fork_server
from tests.faults.points import BOTH, HOWS, POINTS, Point, Size
from tests.faults.scenes import Stage, finish, stop_at, versioning
from tests.integration.site import ROOT, Site

CASES = [pytest.param(point, size, id=f"{point.name}-{size}") for point in POINTS for size in point.sizes]


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with fork_server() as running:
        yield running


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def versioned(s3_server: S3Server, bucket: str) -> str:
    with closing(s3_server.client()) as client:
        versioning(client, bucket)
    return bucket


@pytest.fixture
def stage(tmp_path: Path, s3_server: S3Server, versioned: str, emulator: Emulator, server: ForkServer) -> Stage:
    return Stage(Site(tmp_path, s3_server, versioned, emulator), server)


@pytest.mark.parametrize(("point", "size"), CASES)
def test_run_stopped_at_a_durable_step_is_finished_by_the_next_start(stage: Stage, point: Point, size: Size) -> None:
    for how in HOWS:
        stop_at(stage, point, size, how)
    finish(stage, point)


@pytest.mark.slow
@pytest.mark.parametrize(("point", "size"), CASES)
def test_fresh_interpreter_stopped_at_a_durable_step_is_finished_by_the_next_start(
    stage: Stage, point: Point, size: Size
) -> None:
    stage.fresh = True
    for how in HOWS:
        stop_at(stage, point, size, how)
    finish(stage, point)


def test_table_has_at_least_24_points_for_each_size_and_way_of_stopping() -> None:
    for size in BOTH:
        assert len({point.name for point in POINTS if size in point.sizes}) >= 24
    assert len(HOWS) == 3
    print(f"kill cases: {len(CASES) * len(HOWS)} ({len(POINTS)} points)")


def test_table_names_every_checkpoint_of_the_service() -> None:
    called = re.compile(r'checkpoint(?:"\])?\((?:\s*)"([a-z_.]+)"')
    sources = [file.read_text() for file in (ROOT / "archiver").rglob("*.py")]
    steps = {step for source in sources for step in called.findall(source)}
    assert len(steps) >= 30
    assert steps == {point.step for point in POINTS}
