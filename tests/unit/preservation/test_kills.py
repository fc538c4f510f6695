"""A process that is killed while it writes leaves no wrong file under a final name, and the next one goes on."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from zipfile import ZipFile

import pytest

from archiver.preservation.results import PROVEN
from tests.fakes.archive import MemoryObject
from tests.fixtures.archived import TASK, noise
from tests.unit.preservation.rig import Bench, bench_at, in_a_child

pytestmark = pytest.mark.long

STEMS = {f"stem{number}": noise(40_000 + number, number) for number in range(6)}
STEPS = ["folder", "part", "sync", "name", "folder sync"]
DEAD = 9


class Slow(MemoryObject):
    """Takes 9 ms over each file, so that most moments lie within."""

    def readinto(self, view: memoryview) -> int:
        time.sleep(0.001)
        return MemoryObject.readinto(self, view)


def hold(bench: Bench) -> None:
    """Fail where a file under a final name is not what it should be; unfinished ones begin with a dot."""
    expected = {f"{TASK}/{key.rpartition('/')[2]}": data for key, data in bench.store.objects.items()}
    for name, data in bench.files().items():
        if name == f"{TASK}.zip":
            with ZipFile(bench.into / name) as archive:
                assert {each: archive.read(each) for each in archive.namelist()} == expected
        elif not Path(name).name.startswith("."):
            assert data == expected[name], name


def finish(bench: Bench, *, zipped: bool) -> None:
    """Run it again to the end, after which nothing is unfinished."""
    results = bench.zip() if zipped else bench.get()
    assert all(each.verdict in PROVEN for each in results)
    hold(bench)
    assert len(bench.files()) == (1 if zipped else len(bench.store.objects))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_dies_at_a_step_leaves_nothing_wrong(tmp_path: Path, step: str, zipped: bool) -> None:
    bench = bench_at(tmp_path / "out", STEMS)
    left = [2]

    def die(at: str) -> None:
        left[0] -= at == step
        if left[0] <= 0 or (at == step and (zipped or step == "folder")):
            os.kill(os.getpid(), signal.SIGKILL)

    bench.step = die
    child = in_a_child(lambda: bench.zip() if zipped else bench.get())
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or (zipped and step == "folder")  # an archive needs no folder
    hold(bench)
    bench.step = lambda _: None
    finish(bench, zipped=zipped)


def killed(tmp_path: Path, moments: int) -> None:
    """Kill a process at so many moments, each later than all that it takes is rare; `get` and `get --zip` in turn."""
    chance = random.Random(16)
    died = 0
    for moment in range(moments):
        bench = bench_at(tmp_path / f"{moment}", STEMS)
        zipped = moment % 2 == 1
        bench.alter = lambda _, body: Slow(body.head, body.data, body.at, most=5_000)
        child = in_a_child(lambda bench=bench, zipped=zipped: bench.zip() if zipped else bench.get())  # type: ignore[misc]
        time.sleep(chance.random() * 0.1)
        os.kill(child, signal.SIGKILL)
        died += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        hold(bench)
        bench.alter = lambda _, body: body
        finish(bench, zipped=zipped)
    assert died > moments // 3


def test_a_process_that_is_killed_at_any_moment_leaves_nothing_wrong(tmp_path: Path) -> None:
    killed(tmp_path, 30)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_process_that_is_killed_at_a_thousand_moments_leaves_nothing_wrong(tmp_path: Path) -> None:
    killed(tmp_path, 1_000)
