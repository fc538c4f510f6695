"""Every durable step of a multipart upload, stopped by SIGKILL, and by exception and SIGTERM one of a kind."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.faults.points import Point, Scene, Size, hows_of, points_of
from tests.faults.runner import Stop
from tests.faults.scenes import Stage, finish, stop_at, task_of
from tests.worlds.site import PREFIX


@pytest.mark.parametrize("point", points_of(Size.MULTIPART), ids=str)
def test_multipart_stopped_at_a_durable_step_is_finished_by_the_next_start(stage: Stage, point: Point) -> None:
    for how in hows_of(point, Size.MULTIPART):
        stop_at(stage, point, Size.MULTIPART, how)
    finish(stage, point)


def test_large_file_damaged_when_its_process_was_dead_is_named_by_the_next_and_no_other_blamed(stage: Stage) -> None:
    task = task_of("damaged-dead", Size.MULTIPART, Scene.FRESH)
    file, key = stage.give(task), f"{PREFIX}{task.task_id}/vocal.mp3"
    killed = stage.run("backfill", str(file), stop=Stop("multipart.completed", "SIGKILL"))
    assert (killed.ended.code, killed.reached) == (-9, True), str(killed)
    with closing(stage.site.client()) as client:
        found = client.get_object(Bucket=stage.site.bucket, Key=key)
        bad = bytearray(found["Body"].read())
        bad[-1] ^= 1
        client.put_object(Bucket=stage.site.bucket, Key=key, Body=bytes(bad), Metadata=found["Metadata"])
    after = stage.run("backfill", str(file))
    assert after.ended.code == 1, str(after)
    [vocal] = stage.site.show(task.task_id)["stems"]
    assert (vocal["state"], vocal["reason"].partition(":")[0]) == ("refused", "store.corrupt"), vocal
    assert stage.site.objects()[key] == bytes(bad)
    assert stage.site.uploads() == []
