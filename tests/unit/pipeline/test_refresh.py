"""A refresh of links, and the other stems of the task that are on their way meanwhile."""

from __future__ import annotations

import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import replace

import pytest

from archiver.core.errors import LinkSpent
from archiver.core.model import Archived, Phase, RecordInfo, TaskId
from archiver.ports.runtime import Unwatched
from tests.fakes.downloader import Audio
from tests.fakes.time import NOW
from tests.house import TransferThreads
from tests.worlds.path import TASK, Path, path_in

VOCAL, DRUMS, BETTER = b"vocal" * 9000, b"drums" * 8000, b"better" * 7000


@pytest.fixture
def world(tmp_path: pathlib.Path) -> Iterator[Path]:
    with closing(TransferThreads(4)) as pool, path_in(tmp_path, pool=pool) as world:
        world.accept(TASK)
        yield world


def until(is_so: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + 10
    while not is_so() and time.monotonic() < give_up:
        time.sleep(0.01)
    return is_so()


@pytest.mark.parametrize("phase", [Phase.DONE, Phase.PENDING])
def test_file_that_takes_the_place_of_one_on_its_way_is_archived_too_and_each_has_its_own_address(
    world: Path, phase: Phase
) -> None:
    under_way = threading.Event()

    def spent() -> LinkSpent:
        assert under_way.wait(10)
        return LinkSpent(status=403)

    def comes(_size: int) -> None:
        under_way.set()
        assert until(lambda: len(world.events.of("task.listed")) > 1), "the fresh links were listed meanwhile"

    vocal, fresh = world.serves("vocal", spent), world.serves("fresh", VOCAL)
    drums, better = world.serves("drums", Audio(DRUMS, comes=comes)), world.serves("better", BETTER)
    first = RecordInfo(phase, (vocal, drums), created_at=NOW, document="{}")
    moved = replace(first, stems=(replace(vocal, url=fresh.url), replace(drums, url=better.url)))
    world.api.knows(TaskId(TASK), first, moved, replace(moved, phase=Phase.DONE))
    assert world.go_until(lambda outcome: isinstance(outcome, Archived)) == Archived()
    names = {entry["source_url"]: entry["key"] for entry in world.manifest().values()}
    assert {url: world.store.objects[key] for url, key in names.items()} == {
        fresh.url: VOCAL,
        drums.url: DRUMS,
        better.url: BETTER,
    }


def test_stem_whose_transfer_has_not_begun_is_fetched_from_where_it_is_listed_meanwhile(tmp_path: pathlib.Path) -> None:
    with path_in(tmp_path) as path:  # one transfer after the other
        path.accept(TASK)
        bass, fresh = path.serves("bass", LinkSpent(status=403)), path.serves("fresh", VOCAL)
        drums, better = path.serves("drums", DRUMS), path.serves("better", BETTER)
        first = RecordInfo(Phase.DONE, (bass, drums), created_at=NOW, document="{}")
        moved = replace(first, stems=(replace(bass, url=fresh.url), replace(drums, url=better.url)))
        path.api.knows(TaskId(TASK), first, moved)
        assert path.go() == Archived()
        assert {name: entry["source_url"] for name, entry in path.manifest().items()} == {
            "bass": fresh.url,
            "drums": better.url,
        }
        assert drums.url not in path.downloader.opened


def test_stems_are_stored_and_written_down_while_the_provider_owes_the_fresh_links_of_another(world: Path) -> None:
    asked = threading.Event()

    def drums() -> Audio:
        assert asked.wait(10)
        return Audio(DRUMS)

    def before(call: str, _about: object) -> None:
        if call == "fetch" and world.api.fetched:
            asked.set()
            assert until(lambda: ("drums", "stored") in {(stem.name, stem.state) for stem in world.task.stems})

    world.api.before = before
    world.lists(world.serves("vocal", LinkSpent(status=403), VOCAL), world.serves("drums", drums))
    assert world.go() == Archived()


class Waits(Unwatched):
    """Counts the transfers that wait for another thread."""

    def __init__(self) -> None:
        self.transfers = list[str]()

    def waiting(self) -> AbstractContextManager[None]:
        name = threading.current_thread().name
        if name.startswith("stem-"):
            self.transfers.append(name)
        return super().waiting()


def test_transfer_that_waits_for_the_fresh_links_another_asks_for_is_not_taken_for_stuck(
    tmp_path: pathlib.Path,
) -> None:
    waits, spent = Waits(), LinkSpent(status=403)
    with closing(TransferThreads(4)) as pool, path_in(tmp_path, pool=pool, watch=waits) as path:

        def before(call: str, _about: object) -> None:
            if call == "fetch" and path.api.fetched:
                assert until(lambda: len(set(waits.transfers)) == 2), "its silence would be counted"

        path.accept(TASK)
        path.api.before = before
        path.lists(path.serves("vocal", spent, VOCAL), path.serves("drums", spent, DRUMS))
        assert path.go() == Archived()
