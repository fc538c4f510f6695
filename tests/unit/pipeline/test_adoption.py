"""Looking first: what the bucket has of a task is taken from there, and never called lost, missing or failed."""

from __future__ import annotations

import hashlib
import itertools
import json
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.core.errors import LinkSpent, StoreBusy
from archiver.core.manifest import seal_of
from archiver.core.model import Archived, Failed, Later, Lost, Missing, Outcome, Phase, RecordInfo, Refused, TaskId
from archiver.core.states import StemState
from tests.fakes.audio import mp3
from tests.fakes.object_store import FakeStore
from tests.fakes.time import NOW as START
from tests.fixtures.ledgers import retry
from tests.worlds.path import PREFIX, TASK, Path, path_in

VOCAL, DRUMS = mp3(4500, 1), mp3(4000, 2)
MANIFEST, RECORD = f"{PREFIX}{TASK}/manifest.json", f"{PREFIX}{TASK}/record-info.json"
DEAD = timedelta(days=40)
MEMORY = pathlib.Path("/dev/shm")


@contextmanager
def worlds(store: FakeStore | None = None, at: timedelta = timedelta()) -> Iterator[Path]:
    """A world with a ledger of its own, on a bucket that may be another's."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
        path_in(pathlib.Path(folder), store=store or FakeStore(), now=START + at) as world,
    ):
        world.accept(TASK)
        yield world


def archived(world: Path) -> FakeStore:
    world.lists(world.serves("vocal", VOCAL), world.serves("drums", DRUMS))
    assert world.go() == Archived()
    return world.store


def links_die(world: Path) -> None:
    """From now on the provider lists the stems, and the CDN has none."""
    world.lists(world.serves("vocal", LinkSpent(status=404)), world.serves("drums", LinkSpent(status=404)))


def outcomes(world: Path) -> Iterator[Outcome]:
    """Take the task up again and again; from its second try on it has waited for a day."""
    for _ in range(20):
        outcome = world.go()
        yield outcome
        if not isinstance(outcome, Later):
            return
        world.now = max(outcome.at, world.now + timedelta(hours=25))
    raise AssertionError(f"still not there: {outcome}")


def to_its_end(world: Path) -> Outcome:
    return list(outcomes(world))[-1]


def whole(world: Path) -> object:
    [row] = world.ledger.rebuilds.whole([TaskId(TASK)])
    return row


def resealed(document: dict[str, Any]) -> bytes:
    return json.dumps(document | {"seal": f"sha256:{seal_of(document)}"}).encode()


# ------------------------------------------------------------------ at the first claim


def test_task_that_is_new_here_is_taken_from_its_manifest_and_the_provider_is_not_asked() -> None:
    with worlds() as first:
        store, before = archived(first), whole(first)
    with worlds(store, DEAD) as world:
        written = dict(store.written)
        assert world.go() == Archived()
        assert (world.api.fetched, store.written) == ([], written)
        assert whole(world) == before, "in every column, and its history"
        assert [event for _, event in world.logged("task.")] == ["task.adopted", "task.archived"]


def test_lost_task_is_taken_with_its_reason_and_record() -> None:
    with worlds(at=DEAD) as first:
        first.lists(first.serves("vocal", VOCAL), first.serves("drums", LinkSpent(status=404)))
        assert isinstance(first.go(), Lost)
        before = whole(first)
    with worlds(first.store, DEAD) as world:
        assert isinstance(world.go(), Lost)
        assert (world.api.fetched, whole(world)) == ([], before)
        world.serves("drums", DRUMS)
        world.lists(world.serves("vocal", VOCAL), world.serves("drums", DRUMS))
        assert list(retry(world.ledger, [TASK], now=world.now)) == [TASK]
        assert world.go() == Archived(), "an operator's retry is no first claim"


def test_refused_stem_of_a_task_is_tried_again_and_what_is_stored_is_not() -> None:
    with worlds() as first:
        drums = first.serves("drums", DRUMS)
        first.lists(first.serves("vocal", VOCAL), drums)
        first.store.objects[f"{PREFIX}{TASK}/drums.mp3"] = b"not ours"
        assert isinstance(first.go(), Refused)
        del first.store.objects[f"{PREFIX}{TASK}/drums.mp3"]
    with worlds(first.store) as world:
        world.lists(world.serves("vocal", LinkSpent(status=404)), world.serves("drums", DRUMS))
        assert isinstance(world.go(), Refused)
        assert {row.name: row.state for row in world.task.stems} == {"vocal": "stored", "drums": "refused"}


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.ABSENT])
def test_history_of_a_task_that_fails_again_and_again_grows_by_what_happened_and_not_by_itself(phase: Phase) -> None:
    with worlds() as world:
        world.api.knows(TASK, RecordInfo(phase, flag="F", document="" if phase is Phase.ABSENT else '{"failed": 1}'))
        lengths = []
        for _ in range(6):
            assert isinstance(to_its_end(world), Failed | Missing)
            lengths.append(len(world.task.history))
            assert list(retry(world.ledger, [TASK], now=world.now)) == [TASK]
        grown = {after - before for before, after in itertools.pairwise(lengths[1:])}
        assert len(grown) == 1, lengths
        assert grown.pop() < 10, lengths


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.ABSENT])
def test_task_without_audio_is_asked_about_again_with_its_history(phase: Phase) -> None:
    record = RecordInfo(phase, flag="F", document="" if phase is Phase.ABSENT else '{"failed": 1}')
    with worlds() as first:
        first.api.knows(TASK, record)
        assert isinstance(to_its_end(first), Failed | Missing)
        seal = json.loads(first.store.objects[MANIFEST])["seal"]
        assert (RECORD in first.store.objects) == (phase is Phase.FAILED)
    with worlds(first.store, DEAD) as world:
        world.lists(world.serves("vocal", VOCAL), world.serves("drums", DRUMS))
        assert world.go() == Archived()
        events = [each["event"] for each in json.loads(world.store.objects[MANIFEST])["events"]]
        assert events.count("retried") == 1
        assert events[-1] == "all_stored"
        assert json.loads(world.store.objects[MANIFEST])["previous"] == seal


def test_manifest_of_format_1_is_taken_too() -> None:
    with worlds() as first:
        store = archived(first)
    document = json.loads(store.objects[MANIFEST])
    for name in ("state", "account", "source", "flag", "reason", "first_asked_at", "ended_at", "previous", "events"):
        del document[name]
    for stem in document["stems"]:
        for name in ("path", "url_cut", "attempts", "gone", "not_before"):
            del stem[name]
    store.objects[MANIFEST] = resealed({**document, "format": 1})
    with worlds(store, DEAD) as world:
        assert world.go() == Archived()
        assert world.api.fetched == []
        assert [each.event for each in world.task.history] == ["adopted", "all_stored"]


def test_broken_manifest_is_none_and_is_set_aside_before_it_is_replaced() -> None:
    with worlds() as first:
        store = archived(first)
    broken = store.objects[MANIFEST] = store.objects[MANIFEST].replace(b"vocal", b"local")
    with worlds(store) as world:
        world.lists(world.serves("vocal", VOCAL), world.serves("drums", DRUMS))
        assert world.go() == Archived()
        world.manifest()
        etag = hashlib.md5(broken, usedforsecurity=False).hexdigest()
        assert store.objects[f"{PREFIX}_archive/broken/{TASK}/{etag}.json"] == broken
        assert ("error", "manifest.broken") in world.logged("manifest.")


def test_store_that_does_not_answer_at_first_is_looked_at_before_a_verdict() -> None:
    with worlds() as first:
        store = archived(first)
    with worlds(store, DEAD) as world:
        links_die(world)
        store.fail("document", StoreBusy("503"), times=1)
        assert to_its_end(world) == Archived()
        assert len(world.api.fetched) > 0


# ------------------------------------------------------------------ before a verdict


@pytest.mark.parametrize("stands", ["record", "no record"])
def test_objects_without_a_manifest_are_adopted_where_the_links_are_dead(stands: str) -> None:
    with worlds() as first:
        store = archived(first)
    del store.objects[MANIFEST]
    if stands == "no record":
        del store.objects[RECORD]
    with worlds(store, DEAD) as world:
        links_die(world)
        assert to_its_end(world) == Archived()
        assert {row.state for row in world.task.stems} == {StemState.STORED}
        assert {each["sha256"] for each in world.manifest().values()} == {
            hashlib.sha256(each).hexdigest() for each in (VOCAL, DRUMS)
        }
        events = [each for each in json.loads(store.objects[MANIFEST])["events"] if each["event"] == "adopted"]
        assert {each["type"] for each in events} == {"recovery"}
        assert [event for _, event in world.logged("stem.adopted")] == ["stem.adopted"] * 2


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.ABSENT])
def test_task_with_objects_is_neither_failed_nor_missing(phase: Phase) -> None:
    with worlds() as first:
        store = archived(first)
    del store.objects[MANIFEST], store.objects[RECORD]
    with worlds(store, DEAD) as world:
        world.api.knows(TASK, RecordInfo(phase, flag="F"))
        outcome = to_its_end(world)
        assert isinstance(outcome, Lost)
        assert "2 of its files stand in the bucket" in outcome.reason
        assert {each["state"] for each in world.manifest().values()} == {"stored"}


def test_foreign_objects_are_never_adopted() -> None:
    with worlds() as first:
        store = archived(first)
    del store.objects[MANIFEST]
    store.metadata[f"{PREFIX}{TASK}/vocal.mp3"] = {}
    store.objects[f"{PREFIX}{TASK}/drums.mp3"] = DRUMS[::-1]
    with worlds(store, DEAD) as world:
        links_die(world)
        assert isinstance(to_its_end(world), Lost)
        assert {row.state for row in world.task.stems} == {StemState.LOST}


@pytest.mark.parametrize("method", ["document", "objects", "open"])
def test_no_verdict_while_the_store_does_not_answer(method: str) -> None:
    with worlds() as first:
        store = archived(first)
    del store.objects[MANIFEST]
    with worlds(store, DEAD) as world:
        links_die(world)
        store.fail(method, StoreBusy("503"), times=4)
        seen = list(outcomes(world))
        assert seen[-1] == Archived()
        assert not any(isinstance(each, Lost | Failed | Missing) for each in seen)


@pytest.mark.parametrize("method", ["objects", "open"])
def test_task_about_which_the_store_fails_for_weeks_is_looked_at_again_and_then_archived(method: str) -> None:
    """Its time is over, and none of its stems is refused: nobody would see it, nor take it up again."""
    with worlds() as first:
        store = archived(first)
    del store.objects[MANIFEST]
    with worlds(store, DEAD) as world:
        links_die(world)
        store.fail(method, StoreBusy("503"), times=60)
        outcome = world.go()
        while isinstance(outcome, Later | Refused):
            assert outcome.at is not None, "it is never looked at again"
            world.now = max(outcome.at, world.now + timedelta(hours=25))
            world.breakers.reload()
            outcome = world.go()
        assert outcome == Archived()
        assert "task.refused" in {event for _, event in world.logged("task.")}


def test_retried_task_of_which_the_provider_knows_nothing_any_more_is_lost_and_not_missing() -> None:
    with worlds(at=DEAD) as world:
        world.lists(world.serves("vocal", VOCAL), world.serves("drums", LinkSpent(status=404)))
        assert isinstance(world.go(), Lost)
        world.api.knows(TASK, RecordInfo(Phase.ABSENT))
        assert list(retry(world.ledger, [TASK], now=world.now)) == [TASK]
        assert isinstance(to_its_end(world), Lost)
        assert {row.name: row.state for row in world.task.stems} == {"vocal": "stored", "drums": "lost"}


class Stopped(BaseException):
    """The process is no more."""


def stop_at(step: str, nth: int) -> Callable[[str], None]:
    """Return a checkpoint that ends the process when `step` is passed for the nth time."""
    left = [nth]

    def checkpoint(passed: str) -> None:
        left[0] -= passed == step
        if not left[0]:
            raise Stopped

    return checkpoint


STEPS = ("stem.recorded", "put.done", "document.put", "record.put", "manifest.put", "record.fetched")


ANY_END = given(
    step=st.sampled_from(STEPS),
    nth=st.integers(1, 3),
    phase=st.sampled_from([Phase.DONE, Phase.ABSENT, Phase.FAILED]),
    store_fails=st.integers(0, 3),
)


@settings(max_examples=12, deadline=None)
@ANY_END
def test_what_stands_in_the_bucket_is_never_called_otherwise(
    step: str, nth: int, phase: Phase, store_fails: int
) -> None:
    check_no_false_verdict(step, nth, phase, store_fails)


def check_no_false_verdict(step: str, nth: int, phase: Phase, store_fails: int) -> None:
    """The first ledger is gone after a kill at any step; then the links die, and the id comes again."""
    with worlds() as first:
        first.lists(first.serves("vocal", VOCAL), first.serves("drums", DRUMS))
        stop = first.store.checkpoint = stop_at(step, nth)
        with suppress(Stopped):
            first.start(checkpoint=stop).archiver.archive(first.claim())
    store = first.store
    store.checkpoint = lambda _: None
    kept = {key for key in store.objects if key.endswith(".mp3")}
    with worlds(store, DEAD) as world:
        if phase is Phase.DONE:
            links_die(world)
        else:
            world.api.knows(TASK, RecordInfo(phase, flag="F"))
        store.fail("document", StoreBusy("503"), times=store_fails)
        outcome = to_its_end(world)
        stored = {row.receipt.key for row in world.task.stems if row.receipt}
        assert stored == kept
        if len(kept) == 2 and (MANIFEST in store.objects or phase is Phase.DONE):
            assert isinstance(outcome, Archived | Lost)
        if not kept:
            assert isinstance(outcome, Lost | Failed | Missing)
