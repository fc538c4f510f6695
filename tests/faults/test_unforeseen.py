"""An exception that nobody foresaw, at places where it would cost more than the one try it hits."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from archiver.core.errors import OriginBusy
from archiver.core.model import Later, Outcome
from tests.fakes.time import Clock
from tests.house import Ledger, TransferThreads, ledger_at
from tests.unit.pipeline.test_dispatch import Archive, dispatcher_of, queued
from tests.worlds.path import TASK, Path


class Unforeseen(Exception):
    pass


class FailsOnce:
    """A checkpoint that raises the first time a step is passed."""

    def __init__(self, step: str) -> None:
        self.step = step

    def __call__(self, step: str) -> None:
        if step == self.step:
            self.step = ""
            raise Unforeseen


@pytest.fixture
def failing(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[Ledger]:
    ledger = ledger_at(f"sqlite:///{tmp_path}/ledger.db", checkpoint=FailsOnce(request.param))
    yield ledger
    ledger.close()


@pytest.mark.parametrize("failing", ["ledger.claimed"], indirect=True)
def test_claim_that_fails_unforeseen_gives_its_worker_back(failing: Ledger) -> None:
    queued(failing, "task-0001", "task-0002")

    def later(_: object) -> Outcome:
        return Later(clock.now + timedelta(days=1), "later")

    clock = Clock()
    dispatcher, _, _ = dispatcher_of(failing, clock, Archive(failing, later), workers=1)
    with pytest.raises(Unforeseen):
        dispatcher.pump()
    assert dispatcher.working == 0
    assert dispatcher.pump() == 1
    assert dispatcher.wait_idle(5)


@pytest.mark.parametrize("failing", ["ledger.stem_failed"], indirect=True)
def test_stem_that_fails_unforeseen_does_not_end_the_try_under_its_siblings(failing: Ledger) -> None:
    threads, putting, go_on = TransferThreads(4), threading.Event(), threading.Event()
    world = Path(failing, pool=threads)
    world.accept(TASK)

    def put_slowly(step: str) -> None:
        if step == "put.begun":
            putting.set()
            assert go_on.wait(60)

    def busy_once_vocal_is_put() -> OriginBusy:
        assert putting.wait(60)
        return OriginBusy("503")

    world.store.checkpoint = put_slowly
    world.lists(world.serves("bass", busy_once_vocal_is_put, b"drums"), world.serves("vocal", b"vocal"))
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(world.go)
        assert putting.wait(60)
        try:
            with pytest.raises(TimeoutError):
                outcome.result(0.3)
        finally:
            go_on.set()
        assert isinstance(outcome.result(60), Later)
    threads.close()
    states = {stem.name: stem.state for stem in world.task.stems}
    assert states == {"bass": "wanted", "vocal": "stored"}
