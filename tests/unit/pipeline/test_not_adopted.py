"""Objects in a task's folder that say that they are its stems, and are not: named, never adopted, and nothing waits."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from archiver.core.errors import LinkSpent
from archiver.core.model import Archived, Later, Lost, Outcome, Yielded
from archiver.core.states import TaskState
from tests.fakes.audio import mp3
from tests.fakes.object_store import FakeStore
from tests.fakes.time import NOW as START
from tests.fixtures.planted import PLANTED, Planted, begin_of, sha256_of, with_length
from tests.house import SETTLES_AT_ONCE
from tests.worlds.path import PREFIX, TASK, Path, path_in

FOLDER = f"{PREFIX}{TASK}/"
DRUMS = mp3(4000, 2)
WHOLE = Planted(mp3(6000, 7), "")


@contextmanager
def dead_links(*stems: str, duration: float | None = None) -> Iterator[Path]:
    """A world in which these stems are listed, and the CDN has none of them any more."""
    with (
        tempfile.TemporaryDirectory() as folder,
        path_in(pathlib.Path(folder), store=FakeStore(), now=START + timedelta(days=40)) as world,
    ):
        world.accept(TASK)
        sources = (world.serves(stem, LinkSpent(status=404)) for stem in stems)
        world.lists(*(replace(source, duration=duration) for source in sources))
        yield world


def to_its_end(world: Path) -> Outcome:
    for _ in range(20):
        outcome = world.go()
        if not isinstance(outcome, Later):
            return outcome
        world.now = max(outcome.at, world.now + timedelta(hours=25))
    raise AssertionError(f"still not there: {outcome}")


def reasons(world: Path) -> set[tuple[object, object]]:
    return {
        (fields["key"], fields["reason"])
        for level, event, fields in world.events.seen
        if (level, event) == ("warning", "stem.not_adopted")
    }


@pytest.mark.parametrize("name", PLANTED)
def test_body_that_is_no_stem_is_named_and_the_others_are_adopted(name: str) -> None:
    planted = PLANTED[name]
    with dead_links("vocal", "drums") as world:
        key = planted.put(world.store, FOLDER, TASK)
        drums = Planted(DRUMS, "", {"stem": "drums"}, file="drums.flac")
        stands = drums.put(world.store, FOLDER, TASK)
        assert isinstance(to_its_end(world), Lost)
        assert {row.name: row.state for row in world.task.stems} == {"vocal": "lost", "drums": "stored"}
        [(named, reason)] = reasons(world)
        assert named == key
        assert planted.reason in str(reason)
        assert world.manifest()["drums"]["key"] == stands
        assert world.store.objects[key] == planted.body


CUT = with_length(6000, 9000)
AS_STORED = {"sha256": sha256_of(WHOLE.body)}
ADOPTED: Mapping[str, tuple[Planted, float | None, str | None]] = {
    "whole": (WHOLE, None, ""),
    "in parts": (replace(WHOLE, metadata={"sha256-begin": begin_of(WHOLE.body, 5000)}), None, ""),
    "by title": (replace(WHOLE, file="My Song - vocal.mp3"), None, ""),
    "far too short": (WHOLE, 200.0, None),
    "far too short, as it was stored": (replace(WHOLE, metadata=AS_STORED), 200.0, "far shorter"),
    "cut, as it was stored": (Planted(CUT, "", {"sha256": sha256_of(CUT)}), None, "shorter than its first bytes"),
}
"""What stands there, the seconds of the record, and the doubt that it is adopted with; None: it is left alone."""


@pytest.mark.parametrize("name", ADOPTED)
def test_audio_is_adopted_and_doubtful_audio_only_where_it_is_as_it_was_stored(name: str) -> None:
    planted, duration, doubt = ADOPTED[name]
    with dead_links("vocal", duration=duration) as world:
        key = planted.put(world.store, FOLDER, TASK)
        outcome = to_its_end(world)
        if doubt is None:
            assert isinstance(outcome, Lost)
            [(_, reason)] = reasons(world)
            assert "nothing proves that it is whole" in str(reason)
            return
        assert outcome == Archived()
        [stem] = world.manifest().values()
        assert (stem["key"], stem["sha256"]) == (key, sha256_of(planted.body))
        assert doubt in stem.get("doubt", "")
        assert bool(doubt) == ("doubt" in stem)


def test_second_object_of_one_stem_is_taken_where_the_first_is_broken() -> None:
    with dead_links("vocal") as world:
        broken = replace(PLANTED["HTML"], file="vocal.aac").put(world.store, FOLDER, TASK)
        sound = WHOLE.put(world.store, FOLDER, TASK)
        assert to_its_end(world) == Archived()
        assert [named for named, _ in reasons(world)] == [broken]
        assert world.manifest()["vocal"]["key"] == sound


def test_object_larger_than_is_taken_is_named() -> None:
    with dead_links("vocal") as world:
        world.archiver = world.start(policy=replace(SETTLES_AT_ONCE, max_stem_bytes=5999)).archiver
        WHOLE.put(world.store, FOLDER, TASK)
        assert isinstance(to_its_end(world), Lost)
        [(_, reason)] = reasons(world)
        assert "download.max_stem_bytes" in str(reason)


def test_look_at_a_large_object_ends_with_the_process() -> None:
    with dead_links("vocal") as world:
        replace(WHOLE, body=mp3(900_000, 1)).put(world.store, FOLDER, TASK)
        world.store.before = lambda method, _: world.cancelled.set() if method == "open" else None
        assert isinstance(to_its_end(world), Yielded)
        assert world.task.state is TaskState.LISTED
