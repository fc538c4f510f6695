"""Small work shares a core, and a large file may have any: who moves stems says which it is, before its bytes come."""

from __future__ import annotations

import pathlib
from dataclasses import replace

import pytest

from archiver.core.model import Archived
from archiver.core.transfer import MUCH
from tests.fakes.cores import NotedCores
from tests.fakes.downloader import Audio
from tests.worlds.path import path_in


@pytest.mark.parametrize(
    ("audio", "asked"),
    [
        (Audio(b"small"), ["gather", "gather", "moved"]),
        (Audio(bytes(MUCH)), ["gather", "gather", "moved"]),
        (Audio(bytes(MUCH + 1)), ["gather", "gather", "scatter", "moved"]),
        (Audio(b"who knows", announced=False), ["gather", "gather", "scatter", "moved"]),
    ],
    ids=["small", "the largest of the small", "large", "of unknown size"],
)
def test_thread_gathers_for_a_task_and_for_each_stem_and_scatters_before_a_large_one(
    tmp_path: pathlib.Path, audio: Audio, asked: list[str]
) -> None:
    noted = NotedCores()

    def moved(_size: int) -> None:
        if noted.seen[-1] != "moved":
            noted.seen.append("moved")

    with path_in(tmp_path) as world:
        world.accept("task-0001")
        world.lists(world.serves("vocal", replace(audio, comes=moved)), task="task-0001")
        archiver = replace(world.archiver, context=replace(world.archiver.context, cores=noted))
        assert archiver.archive(world.claim()) == Archived()
    assert noted.seen == asked
