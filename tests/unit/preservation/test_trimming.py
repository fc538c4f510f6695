"""Rows leave a ledger only once a manifest is proven to hold them: whatever stands there, and wherever it dies."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from archiver.core.errors import Interrupted, StoreBusy
from archiver.core.manifest import seal_of
from archiver.core.manifest_read import read_manifest
from archiver.core.model import TaskId
from archiver.core.states import TaskState
from archiver.core.trimming import Trims, folder_digest, trimmed_of
from archiver.core.whole_task import WholeTask
from archiver.preservation.trim_schedule import TrimSchedule
from archiver.preservation.trimming import Trim
from tests.fakes.archive import etag_of
from tests.fakes.events import Events
from tests.fakes.object_store import FakeStore
from tests.fakes.time import Clock
from tests.fixtures.ledgers import DAY, NOW, open_ledger, overview
from tests.fixtures.manifest_schemas import check_schema
from tests.fixtures.whole_tasks import drawn, fill, manifest_in_format_2
from tests.house import Ledger, comparison_on, trim_on

pytestmark = pytest.mark.long

PREFIX = "stems/"


class Killed(BaseException):
    """The process is no more."""


@dataclass
class Bench:
    """A bucket of archived tasks, and a folder for the ledger that knows them."""

    folder: Path
    wholes: Sequence[WholeTask] = field(default_factory=lambda: drawn(12))
    store: FakeStore = field(default_factory=FakeStore)
    dies_at: int = 0
    reached: list[str] = field(default_factory=list)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = open_ledger(self.folder, self.at)
        for whole in self.wholes:
            self.store.objects[manifest_of(whole)] = manifest_in_format_2(whole)
        fill(self.ledger, *self.wholes)

    def at(self, point: str) -> None:
        if point.startswith("trim."):
            self.reached.append(point)
            if len(self.reached) == self.dies_at:
                raise Killed

    def trim(self, before: datetime = NOW, **more: Any) -> Trims:  # noqa: ANN401 - of a Trim
        return trim_on(self.ledger, self.store, lambda: NOW, PREFIX, checkpoint=self.at, **more).run(before)

    def tasks(self) -> dict[TaskId, WholeTask]:
        return {whole.task_id: whole for whole in self.ledger.rebuilds.page("", 1000)}

    def differences(self) -> list[str]:
        found = comparison_on(self.ledger, self.store.archive, lambda: NOW, PREFIX).run()
        return [f"{each.task_id} {each.column}" for each in found]

    def killed(self) -> None:
        """Let the process be no more, and another begin."""
        self.close()
        self.ledger, self.dies_at = open_ledger(self.folder, self.at), 0

    def close(self) -> None:
        self.ledger.close()

    def copy(self, folder: Path) -> Bench:
        """One like it, which was closed."""
        shutil.copytree(self.folder, folder)
        found = copy(self)
        found.folder, found.reached, found.store = folder, [], FakeStore(objects=dict(self.store.objects))
        found.ledger = open_ledger(folder, found.at)
        return found

    def hold(self) -> None:
        """Fail unless each task has either all its rows, or none and what its manifest proves."""
        for task, found in self.tasks().items():
            whole = next(each for each in self.wholes if each.task_id == task)
            if found.trimmed is None:
                assert found == whole
                continue
            data = self.store.objects[manifest_of(whole)]
            read_manifest(data, task)
            assert (found.stems, found.history) == ((), ())
            assert found.trimmed == trimmed_of(whole.stems, (len(data), etag_of(data)))


def manifest_of(whole: WholeTask) -> str:
    return f"{PREFIX}{whole.task_id}/manifest.json"


Open = Callable[[Sequence[WholeTask]], Bench]


@pytest.fixture
def open_bench(tmp_path: Path) -> Iterator[Open]:
    with ExitStack() as stack:

        def opened(wholes: Sequence[WholeTask]) -> Bench:
            bench = Bench(Path(tempfile.mkdtemp(dir=tmp_path)), wholes)
            stack.callback(bench.close)
            return bench

        yield opened


@pytest.fixture
def bench(open_bench: Open) -> Bench:
    return open_bench(drawn(12))


def test_all_that_is_due_is_trimmed_and_the_bucket_says_the_same_as_before(bench: Bench) -> None:
    before = overview(bench.ledger)
    trims = bench.trim(batch=5)
    assert overview(bench.ledger) == before
    rows = sum(len(each.stems) + len(each.history) for each in bench.wholes)
    assert (trims.tasks, trims.rows, trims.left, trims.requests) == (12, rows, 0, 12)
    assert all(found.trimmed for found in bench.tasks().values())
    bench.hold()
    assert bench.differences() == []
    assert bench.trim().tasks == 0


def test_tasks_that_ended_later_stay_whole(bench: Bench) -> None:
    bench.trim(NOW - 3 * DAY)
    assert sum(found.trimmed is None for found in bench.tasks().values()) == 3
    bench.hold()


@pytest.mark.parametrize("state", [TaskState.LOST, TaskState.FAILED, TaskState.MISSING])
def test_tasks_that_ended_without_their_audio_are_never_trimmed(open_bench: Open, state: TaskState) -> None:
    bench = open_bench(drawn(3, state))
    assert bench.trim() == Trims(bytes=None)
    bench.hold()


Plant = Callable[[Bench, str], object]


def _gone(bench: Bench, key: str) -> None:
    del bench.store.objects[key]


def _flipped(bench: Bench, key: str) -> None:
    data = bytearray(bench.store.objects[key])
    data[data.index(b"archived")] ^= 1
    bench.store.objects[key] = bytes(data)


def _cut(bench: Bench, key: str) -> None:
    bench.store.objects[key] = bench.store.objects[key][:-1]


def _another(bench: Bench, key: str) -> None:
    bench.store.objects[key] = bench.store.objects[max(bench.store.objects)]


def _says(change: Callable[[dict[str, Any]], object]) -> Plant:
    def plant(bench: Bench, key: str) -> None:
        document = json.loads(bench.store.objects[key])
        change(document)
        del document["seal"]
        bench.store.objects[key] = json.dumps({**document, "seal": f"sha256:{seal_of(document)}"}).encode()

    return plant


PLANTED: dict[str, tuple[Plant, str]] = {
    "gone": (_gone, "there is none"),
    "flipped": (_flipped, "its seal"),
    "cut": (_cut, "no JSON"),
    "another's": (_another, "another task's"),
    "empty": (lambda bench, key: bench.store.objects.update({key: b""}), "no JSON"),
    "another size": (_says(lambda it: it["stems"][0].update(bytes=it["stems"][0]["bytes"] + 1)), "size"),
    "another SHA-256": (_says(lambda it: it["stems"][0].update(sha256="ab" * 32)), "sha256"),
    "another ETag": (_says(lambda it: it["stems"][0].update(etag="other")), "etag"),
    "another name": (_says(lambda it: it["stems"][0].update(path="other.mp3")), "key"),
    "a stem less": (_says(lambda it: it["stems"].pop(0)), "not where"),
    "a line of history less": (_says(lambda it: it["events"].pop()), "history"),
    "another account": (_says(lambda it: it.update(account="third")), "account"),
    "another state": (_says(lambda it: it.update(state="lost")), "state"),
    "a later format": (_says(lambda it: it.update(format=3)), "later version"),
}


def test_tasks_whose_manifests_do_not_prove_their_rows_keep_them_and_are_named(open_bench: Open) -> None:
    wholes = [each for each in drawn(60) if each.stems and each.history][: len(PLANTED) + 2]
    bench, reasons = open_bench(wholes), {}
    for whole, (plant, reason) in zip(wholes, PLANTED.values(), strict=False):
        plant(bench, manifest_of(whole))
        reasons[whole.task_id] = reason
    trims = bench.trim()
    assert (trims.tasks, trims.left) == (2, len(PLANTED))
    named = {left.task_id: left.reason for left in trims.named}
    assert named.keys() == reasons.keys()
    assert {reason: named[task] for task, reason in reasons.items() if reason not in named[task]} == {}
    bench.hold()


def test_manifest_of_the_same_words_in_other_bytes_is_proven_as_it_stands(bench: Bench) -> None:
    key = manifest_of(bench.wholes[0])
    bench.store.objects[key] = json.dumps(json.loads(bench.store.objects[key]), indent=3).encode()
    assert bench.trim().tasks == 12
    bench.hold()


def test_object_that_cannot_be_read_stops_nothing_else_but_a_store_that_is_down_does(bench: Bench) -> None:
    bench.store.fail("document", StoreBusy("503"), times=1000)
    with pytest.raises(StoreBusy):
        bench.trim()
    assert list(bench.tasks().values()) == sorted(bench.wholes, key=lambda each: each.task_id)
    bench.store.failures.clear()
    assert bench.trim().tasks == 12


def test_trim_that_is_asked_to_end_has_trimmed_whole_batches(bench: Bench) -> None:
    batches: list[Trims] = []
    with pytest.raises(Interrupted):
        bench.trim(batch=5, shown=batches.append, stopped=lambda: len(batches) == 2)
    assert sum(found.trimmed is not None for found in bench.tasks().values()) == 10
    bench.hold()


# ---------------------------------------------------------------------- format 1


def in_format_1(whole: WholeTask) -> bytes:
    """Its manifest as version 0.1.0 wrote it."""
    document = json.loads(manifest_in_format_2(whole))
    told = ("task_id", "accepted_at", "created_at", "completed_at", "deadline", "written_at", "kind", "title", "parent")
    of_stem = ("path", "url_cut", "attempts", "gone", "not_before", "crc32")
    stems = [{name: value for name, value in each.items() if name not in of_stem} for each in document["stems"]]
    music = {name: document[name] for name in ("made_from", "tracks")}
    old = {"format": 1, "stems": stems, **{name: document[name] for name in told}, **music, "archiver": "0.1.0"}
    return json.dumps({**old, "seal": f"sha256:{seal_of(old)}"}).encode()


def old_bench(open_bench: Open) -> Bench:
    """A bucket with the manifests of 0.1.0: of separations, which are made from nothing."""
    bench = open_bench([replace(each, track=None, tracks=None, parent=None, kind=None, title="") for each in drawn(4)])
    for whole in bench.wholes:
        bench.store.objects[manifest_of(whole)] = in_format_1(whole)
    return bench


def test_task_with_a_manifest_of_format_1_gets_one_of_format_2_first(open_bench: Open) -> None:
    bench = old_bench(open_bench)
    seals = {whole.task_id: read_manifest(in_format_1(whole)).seal for whole in bench.wholes}
    trims = bench.trim()
    assert (trims.tasks, trims.renewed, trims.left, trims.requests) == (4, 4, 0, 4 * 4)
    for whole in bench.wholes:
        data = bench.store.objects[manifest_of(whole)]
        check_schema(json.loads(data))
        manifest = read_manifest(data)
        assert (manifest.format, manifest.previous) == (2, seals[whole.task_id])
        assert manifest.ended_at == whole.ended_at
    bench.hold()
    assert bench.differences() == []


def test_manifest_of_format_1_that_is_unlike_the_rows_is_not_replaced(open_bench: Open) -> None:
    bench = old_bench(open_bench)
    whole = next(each for each in bench.wholes if each.stems)
    _says(lambda it: it["stems"][0].update(sha256="ab" * 32))(bench, manifest_of(whole))
    before = bench.store.objects[manifest_of(whole)]
    trims = bench.trim()
    assert (trims.tasks, [left.task_id for left in trims.named]) == (3, [whole.task_id])
    assert bench.store.objects[manifest_of(whole)] == before
    bench.hold()


def test_manifest_that_another_put_meanwhile_is_not_replaced(open_bench: Open) -> None:
    bench = old_bench(open_bench)
    whole = next(each for each in bench.wholes if each.stems)
    theirs = manifest_in_format_2(replace(whole, history=whole.history[:-1]))

    def come_between(method: str, key: str) -> None:
        if method == "put_document" and key == manifest_of(whole):
            bench.store.objects[key] = theirs

    bench.store.before = come_between
    assert whole.task_id in [left.task_id for left in bench.trim().named]
    assert bench.store.objects[manifest_of(whole)] == theirs
    bench.hold()


# ---------------------------------------------------------------------- killed


@pytest.mark.parametrize("old", [False, True])
def test_trim_that_is_killed_at_any_step_removed_no_row_without_its_manifest(
    open_bench: Open, tmp_path: Path, old: bool
) -> None:
    first = old_bench(open_bench) if old else open_bench(drawn(4))
    first.close()
    for dies_at in count(1):
        bench = first.copy(tmp_path / f"killed-{dies_at}")
        bench.dies_at = dies_at
        try:
            bench.trim(batch=2)
        except Killed:
            bench.killed()
        else:
            break
        bench.hold()
        bench.trim()
        bench.hold()
        assert all(found.trimmed for found in bench.tasks().values())
        assert bench.differences() == []
        bench.close()
    bench.close()
    assert set(bench.reached) == {"trim.proven", "trim.removing", "trim.removed", *(["trim.renewed"] if old else [])}


# ---------------------------------------------------------------------- the digest


def test_folder_digest_is_that_of_the_sorted_lines_whatever_their_order() -> None:
    lines = [("b.mp3", 2, "f"), ("a.mp3", 1, "e"), ("manifest.json", 3, "g")]
    assert folder_digest(lines) == folder_digest(lines[::-1]) == folder_digest([*lines, *lines])
    assert len({folder_digest(lines[:number]) for number in range(4)}) == 4


# ---------------------------------------------------------------------- day by day


@dataclass
class Daily:
    """A process that trims what ended two days ago."""

    bench: Bench
    clock: Clock = field(default_factory=lambda: Clock(NOW))
    log: Events = field(default_factory=Events)
    usable: bool = True

    def __post_init__(self) -> None:
        self.schedule = TrimSchedule(self.begin, 2 * DAY, lambda: self.usable, self.clock, self.log)

    def begin(self) -> Trim:
        return trim_on(self.bench.ledger, self.bench.store, self.clock, PREFIX, batch=4)

    def after(self, **span: float) -> int:
        """How many are trimmed once that time has passed, by five minutes."""
        until = self.clock.now + timedelta(**span)
        while self.clock.now < until:
            self.clock.forward(minutes=5)
            self.schedule()
        return sum(found.trimmed is not None for found in self.bench.tasks().values())


@pytest.fixture
def daily(bench: Bench) -> Daily:
    return Daily(bench)


def test_service_trims_a_batch_at_a_time_from_five_minutes_after_its_start_and_then_day_by_day(daily: Daily) -> None:
    daily.schedule()
    assert daily.after() == 0
    assert [daily.after(minutes=5) for _ in range(4)] == [4, 8, 11, 11]
    [done] = daily.log.of("trim.done")
    assert (done["tasks"], done["left"]) == (11, 0)
    assert daily.after(hours=23) == 11
    assert daily.after(hours=2) == 12


def test_service_names_what_it_left_alone_and_looks_again_the_next_day(daily: Daily) -> None:
    key = manifest_of(daily.bench.wholes[0])
    manifest = daily.bench.store.objects.pop(key)
    assert daily.after(hours=1) == 10
    [left] = daily.log.of("trim.left_alone")
    assert (left["task_id"], left["reason"]) == (daily.bench.wholes[0].task_id, "manifest.json: there is none")
    daily.bench.store.objects[key] = manifest
    assert daily.after(hours=25) == 12


def test_service_whose_store_fails_tries_again_in_an_hour_and_one_that_is_paused_waits(daily: Daily) -> None:
    daily.usable = False
    assert daily.after(hours=2) == 0
    daily.usable = True
    daily.bench.store.fail("document", StoreBusy("503"), times=1000)
    assert daily.after(minutes=30) == 0
    daily.bench.store.failures.clear()
    [failed] = daily.log.of("trim.failed")
    assert failed["reason"] == "store.busy: 503"
    assert daily.after(hours=1) == 11
