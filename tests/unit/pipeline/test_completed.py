"""Stems that are complete: the task's own thread writes them down, while its transfers go on."""

from __future__ import annotations

import pathlib
import threading
from contextlib import closing

from archiver.core.model import Archived, Later
from tests.fakes.downloader import Audio
from tests.fixtures.ledgers import ready_ledger
from tests.house import TransferThreads
from tests.worlds.path import TASK, Path, path_in

DRUMS, VOCAL = b"drums" * 8000, b"vocal" * 9000


def test_transfer_begins_the_next_stem_while_the_last_one_is_written_down(tmp_path: pathlib.Path) -> None:
    began, went_on = threading.Event(), list[bool]()

    def vocal() -> Audio:
        began.set()
        return Audio(VOCAL)

    def note(step: str) -> None:
        if step == "stem.recorded":
            went_on.append(began.wait(5))

    with closing(TransferThreads(1)) as pool, path_in(tmp_path, pool=pool) as world:
        world.accept(TASK)
        world.lists(world.serves("drums", DRUMS), world.serves("vocal", vocal))
        assert world.start(checkpoint=note).archiver.archive(world.claim()) == Archived()
    assert went_on == [True, True]


def test_stems_that_are_complete_at_one_time_are_written_down_in_one_transaction(tmp_path: pathlib.Path) -> None:
    steps = list[str]()
    with closing(ready_ledger(tmp_path, steps.append)) as ledger:
        world = Path(ledger)
        world.accept(TASK)
        world.lists(world.serves("drums", DRUMS), world.serves("vocal", VOCAL))
        assert world.go() == Archived()
    assert steps.count("ledger.stem_stored") == 1


def test_stem_that_is_complete_is_written_down_though_another_one_met_a_bug(tmp_path: pathlib.Path) -> None:
    def bug() -> Audio:
        raise ZeroDivisionError("bug")

    with path_in(tmp_path) as world:
        world.accept(TASK)
        world.lists(world.serves("drums", DRUMS), world.serves("vocal", bug))
        outcome = world.go()
        assert isinstance(outcome, Later)
        assert [(stem.name, stem.state) for stem in world.task.stems] == [("drums", "stored"), ("vocal", "wanted")]
