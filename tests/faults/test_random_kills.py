"""SIGKILL at random moments, over and over: nothing is lost, corrupt or stored twice."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from archiver.demo.audio import EmulatedStem
from archiver.demo.emulator import Emulator
from archiver.demo.records import EmulatedTask
from archiver.demo.seaweed import S3Server
from tests.faults.scenes import LARGE, Stage, check, versioning
from tests.worlds.forks import fork_server
from tests.worlds.site import Site

TASKS = 30
MULTIPARTS = 3
SHORTEST, LONGEST = 0.2, 4.0
"""How long a process lives, in starts of one that finds nothing to do; even over the orders of magnitude."""


@dataclass(slots=True)
class Tally:
    """What the kills came to."""

    kills: int = 0
    starts: int = 0
    tasks: int = 0
    stems: int = 0


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.mark.timeout(600)
def test_25_kills_at_random_moments_lose_corrupt_and_double_nothing(
    tmp_path: Path, s3_server: S3Server, emulator: Emulator
) -> None:
    _kill(25, tmp_path, s3_server, emulator, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_1000_kills_at_random_moments_lose_corrupt_and_double_nothing(
    tmp_path: Path, s3_server: S3Server, emulator: Emulator
) -> None:
    _kill(1000, tmp_path, s3_server, emulator, seed=random.randrange(1 << 32))


def _kill(wanted: int, folder: Path, s3: S3Server, emulator: Emulator, *, seed: int) -> None:
    """Work through one load after another, killing every process, until there were `wanted` kills."""
    print(f"seed {seed}")
    chance, tally = random.Random(seed), Tally()
    with fork_server() as server, closing(s3.client()) as client:
        while tally.kills < wanted:
            bucket = f"random-kills-{tally.tasks}"
            client.create_bucket(Bucket=bucket)
            versioning(client, bucket)
            site = folder / bucket
            site.mkdir()
            stage = Stage(Site(site, s3, bucket, emulator), server)
            _load(stage)
            _kill_until_done(stage, chance, tally, wanted)
            client.delete_bucket(Bucket=bucket)
    print(
        f"{tally.kills} kills in {tally.starts} starts over {tally.tasks} tasks with {tally.stems} stems: "
        "0 lost, 0 corrupt, 0 duplicates"
    )
    assert tally.kills >= wanted


def _load(stage: Stage) -> None:
    for number in range(TASKS):
        name = f"{stage.site.bucket}-{number:03}"
        sizes = {"vocal": LARGE} if number % (TASKS // MULTIPARTS) == 0 else {"vocal": 40_000, "instrumental": 300_000}
        stems = {stem: EmulatedStem(size, f"{name}/{stem}") for stem, size in sizes.items()}
        stage.give(EmulatedTask(task_id=name, stems=stems))
    stage.site.queue.write_text("".join(f"{task.task_id}\n" for task in stage.tasks))


def _kill_until_done(stage: Stage, chance: random.Random, tally: Tally, wanted: int) -> None:
    unit, code = min(_start(stage), _start(stage)), -9
    while code == -9:
        tally.starts += 1
        lives = unit * SHORTEST * (LONGEST / SHORTEST) ** chance.random()
        enough = tally.kills >= wanted
        # The daemon never ends by itself, and reads the queue from where it stood.
        command = "backfill" if enough else chance.choice(("backfill", "backfill", "run"))
        run = stage.run(command, kill_after=None if enough else lives)
        code = run.ended.code
        assert code in {0, -9}, str(run)
        tally.kills += code == -9
    check(stage)
    tally.tasks += len(stage.tasks)
    tally.stems += sum(len(task.stems or ()) for task in stage.tasks)


def _start(stage: Stage) -> float:
    """Seconds that a run takes which finds nothing to do; it depends on what else the machine does."""
    nothing = stage.site.folder / "nothing.txt"
    nothing.touch()
    began = time.monotonic()
    assert stage.run("backfill", str(nothing)).ended.code == 0
    return time.monotonic() - began
