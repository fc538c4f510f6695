"""Every durable step of a multipart upload, stopped by exception and SIGKILL, by SIGTERM one of a kind."""

from __future__ import annotations

import pytest

from tests.faults.points import Point, Size, hows_of, points_of
from tests.faults.scenes import Stage, finish, stop_at


@pytest.mark.parametrize("point", points_of(Size.MULTIPART), ids=str)
def test_multipart_stopped_at_a_durable_step_is_finished_by_the_next_start(stage: Stage, point: Point) -> None:
    for how in hows_of(point, Size.MULTIPART):
        stop_at(stage, point, Size.MULTIPART, how)
    finish(stage, point)
