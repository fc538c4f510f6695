"""A ledger out of a bucket with everything planted in it that can stand there; killed, gone on with, and compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from archiver.core.backup import Scope
from archiver.core.errors import BucketMissing, Interrupted, StoreBusy
from archiver.core.model import Receipt, StemName, TaskId
from archiver.core.rebuilding import Found, LedgerFull, Totals
from archiver.core.states import StemState, TaskState
from archiver.core.whole_task import Difference, WholeTask
from tests import FIXTURES
from tests.fakes.audio import mp3
from tests.fakes.object_store import FakeStore
from tests.fixtures.ledgers import NOW, listed, ready_ledger, stored, take_in, tid
from tests.fixtures.planted import PLANTED
from tests.fixtures.whole_tasks import drawn_in, manifest_in_format_2
from tests.house import Ledger, comparison_on, rebuild_on

pytestmark = pytest.mark.long

PREFIX = "stems/"
OLD = TaskId("3e63b4cc88d5")
"""The task of the frozen manifests of format 1."""


class Killed(BaseException):
    """The process is no more."""


@dataclass
class Bench:
    """A bucket, and a folder for ledgers."""

    folder: Path
    store: FakeStore = field(default_factory=FakeStore)
    dies_at: int = 0
    reached: list[str] = field(default_factory=list)

    def put(self, *wholes: WholeTask) -> None:
        for whole in wholes:
            self.store.objects[f"{PREFIX}{whole.task_id}/manifest.json"] = manifest_in_format_2(whole)
            if whole.document:
                self.store.objects[f"{PREFIX}{whole.task_id}/record-info.json"] = whole.document.encode()

    def put_stem(self, task: str, stem: str, data: bytes, **metadata: str) -> str:
        key = f"{PREFIX}{task}/{stem}.mp3"
        self.store.objects[key] = data
        self.store.content_types[key] = "audio/mpeg"
        self.store.metadata[key] = {"task-id": task, "stem": stem, **metadata}
        return key

    def ledger(self) -> Ledger:
        return ready_ledger(self.folder, self.at)

    def at(self, point: str) -> None:
        if point.startswith("rebuild."):
            self.reached.append(point)
            if len(self.reached) == self.dies_at:
                raise Killed

    def rebuild(self, **more: object) -> tuple[Found, Totals, list[WholeTask]]:
        with closing(self.ledger()) as ledger:
            found, totals = rebuild_on(ledger, self.store.archive, lambda: NOW, PREFIX, **more).run()
            return found, totals, list(ledger.rebuilds.page("", 10_000))

    def compare(self, ledger: Ledger) -> list[Difference]:
        return list(comparison_on(ledger, self.store.archive, lambda: NOW, PREFIX).run())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def plant(bench: Bench) -> list[WholeTask]:
    """Everything that can stand in a bucket; return the tasks whose manifests are whole."""
    wholes = drawn_in(40)
    bench.put(*wholes)
    objects = bench.store.objects
    objects[f"{PREFIX}{OLD}/manifest.json"] = (FIXTURES / "manifests" / "format-1-lost.json").read_bytes()
    objects[f"{PREFIX}{OLD}/record-info.json"] = b'{"successFlag":"SUCCESS"}'
    objects[f"{PREFIX}broken-seal-1/manifest.json"] = objects[f"{PREFIX}{tid(1000)}/manifest.json"].replace(
        b"2", b"3", 1
    )
    objects[f"{PREFIX}another-task/manifest.json"] = objects[f"{PREFIX}{tid(1001)}/manifest.json"]
    objects[f"{PREFIX}_archive/manifest-2.schema.json"] = b"{}"
    objects[f"{PREFIX}short/holiday.jpg"] = b"jpeg"
    objects[f"{PREFIX}holiday-2026/holiday.jpg"] = b"jpeg"
    objects[f"{PREFIX}stem-archiver-probe"] = b""
    objects["elsewhere/manifest.json"] = b"{}"
    bench.put_stem("orphaned-0001", "vocal", mp3(3000, 1), sha256=hashlib.sha256(mp3(3000, 1)).hexdigest())
    bench.put_stem("orphaned-0001", "drums", mp3(3000, 2))
    bench.put_stem("damaged-0001", "vocal", mp3(3000, 3), sha256="ab" * 32)
    bench.put_stem("no-audio-0001", "vocal", b"<html>" * 100)
    objects[f"{PREFIX}record-only-1/record-info.json"] = b'{"taskId":"record-only-1"}'
    return wholes


TROUBLES = {
    "another-task": "another task's",
    "broken-seal-1": "its seal",
    "damaged-0001": "not those that its metadata names",
    "holiday-2026": "nothing in it is ours",
    "no-audio-0001": "neither audio",
    "short": "no task id",
}


def test_whatever_stands_in_the_bucket_is_a_task_again_or_is_named(bench: Bench) -> None:
    wholes = plant(bench)
    before = dict(bench.store.objects)
    found, totals, tasks = bench.rebuild()
    by_id = {whole.task_id: whole for whole in tasks}
    assert [by_id[whole.task_id] for whole in wholes] == wholes
    assert {each.folder: each.reason for each in found.named}.keys() == TROUBLES.keys()
    assert all(TROUBLES[each.folder] in each.reason for each in found.named)
    assert (found.broken, found.foreign, found.format_1, found.adopted) == (4, 2, 1, 2)
    assert by_id[OLD].state is TaskState.LOST
    queued = {whole.task_id for whole in tasks if whole.state is TaskState.QUEUED}
    assert queued == {"orphaned-0001", "damaged-0001", "no-audio-0001", "record-only-1"}
    assert {whole.task_id for whole in tasks} == {whole.task_id for whole in wholes} | queued | {OLD}
    assert sum(totals.tasks.values()) == len(tasks)
    assert bench.store.objects == before, "it wrote into the bucket"


def test_objects_without_a_manifest_are_adopted_with_their_hash(bench: Bench) -> None:
    key = bench.put_stem("orphaned-0001", "vocal", data := mp3(300_000, 1))
    bench.store.objects[f"{PREFIX}orphaned-0001/foreign.bin"] = b"x"
    found, _, [task] = bench.rebuild()
    [row] = task.stems
    assert row.state is StemState.STORED
    assert row.receipt is not None
    assert (row.receipt.key, row.receipt.size, row.receipt.sha256) == (key, len(data), hashlib.sha256(data).hexdigest())
    assert task.history[0].detail["by"] == "recovery"
    assert (task.state, task.not_before) == (TaskState.QUEUED, NOW)
    assert "not ours" in found.named[0].reason
    assert found.named[0].folder == "orphaned-0001"


def test_bodies_that_are_no_stems_are_named_and_the_others_are_adopted(bench: Bench) -> None:
    keys = {}
    for number, planted in enumerate(PLANTED.values()):
        task = f"planted-{number:04}"
        keys[task] = planted.put(bench.store, f"{PREFIX}{task}/", task)
        bench.put_stem(task, "bass", mp3(3000, 2))
    found, _, tasks = bench.rebuild()
    assert found.adopted == len(PLANTED)
    assert {whole.task_id: [row.name for row in whole.stems] for whole in tasks} == {task: ["bass"] for task in keys}
    assert {each.folder for each in found.named} == keys.keys()
    assert all(keys[each.folder] in each.reason for each in found.named)


def test_open_tasks_come_from_the_newest_backup_that_is_whole(bench: Bench) -> None:
    inner = bench.folder / "old"
    inner.mkdir()
    with closing(ready_ledger(inner)) as old:
        mine = listed(old, 1)
        take_in(old, 2, 3)
        kept = old.rebuilds.page("", 9)
        out = bytearray()
        old.backups.write(Scope.OPEN, out.extend, now=NOW, version="test")
        stored(old, mine)
    names = [f"{PREFIX}_archive/ledger/2026-11-2{day}T00-00-00Z.jsonl.gz" for day in (1, 2, 3)]
    bench.store.objects |= dict(zip(names, [b"older", bytes(out), bytes(out[:-9])], strict=True))
    bench.put_stem(tid(1), "vocal", mp3(3000, 1))
    [ended] = drawn_in(1)
    ended = replace(
        ended,
        task_id=tid(3),
        stems=(),
        history=(),
        state=TaskState.MISSING,
        document="",
        settled=False,
        ended_at=NOW,
        not_before=None,
        stage=kept[2].stage,
    )
    bench.put(ended)
    found, totals, tasks = bench.rebuild()
    assert found.backup == names[1]
    assert [each.folder for each in found.named] == ["_archive/ledger/2026-11-23T00-00-00Z.jsonl.gz"]
    assert [tasks[1], tasks[2]] == [kept[1], ended]
    assert tasks[0].state is TaskState.LISTED
    assert {row.name: row.state for row in tasks[0].stems} == {"vocal": StemState.STORED, "bass": StemState.WANTED}
    assert totals.stems == {"stored": 1, "wanted": 1, "refused": 0, "lost": 0}


def test_stored_stems_of_a_backup_from_another_prefix_are_where_their_objects_stand_now(bench: Bench) -> None:
    """A copied bucket has keys and ETags of its own; an alias points at the object of another stem."""
    inner, own, data = bench.folder / "old", tid(1), mp3(3000, 1)
    inner.mkdir()
    before = Receipt(f"before/{own}/vocal.mp3", len(data), hashlib.sha256(data).hexdigest(), "old-2", "audio/mpeg", NOW)
    with closing(ready_ledger(inner)) as old:
        mine = listed(old, 1, "bass", "drums", "vocal")
        stored(old, mine, "vocal", before)
        stored(old, mine, "bass", replace(before, alias_of=StemName("vocal")))
        stored(old, mine, "drums", replace(before, key=f"before/{own}/drums.mp3"))
        [known] = old.rebuilds.page("", 9)
        out = bytearray()
        old.backups.write(Scope.OPEN, out.extend, now=NOW, version="test")
    bench.store.objects[f"{PREFIX}_archive/ledger/2026-11-21T00-00-00Z.jsonl.gz"] = bytes(out)
    key = bench.put_stem(own, "vocal", data)
    bench.put_stem(own, "drums", mp3(3000, 2))
    _, _, [task] = bench.rebuild()
    bass, drums, vocal = (row.receipt for row in task.stems)
    assert vocal == replace(before, key=key, etag=hashlib.md5(data, usedforsecurity=False).hexdigest())
    assert bass == replace(vocal, alias_of=StemName("vocal"))
    assert drums == known.stems[1].receipt, "these are other bytes"
    told = [line.detail["key"] for line in task.history if line.event == "stored"]
    assert told == [key, key, f"before/{own}/drums.mp3"], "as a manifest beside them would tell it"
    assert [replace(line, detail={}) for line in task.history] == [replace(line, detail={}) for line in known.history]


def test_ledger_with_tasks_is_left_alone(bench: Bench) -> None:
    with closing(bench.ledger()) as ledger:
        take_in(ledger, 1)
    with pytest.raises(LedgerFull):
        bench.rebuild()


def test_bucket_that_cannot_be_listed_leaves_no_mark(bench: Bench) -> None:
    bench.store.fail("folders", BucketMissing("404"))
    with pytest.raises(BucketMissing):
        bench.rebuild()
    with closing(bench.ledger()) as ledger:
        assert ledger.rebuilds.unfinished() is None


def test_killed_at_any_point_it_goes_on_to_the_same_ledger(bench: Bench, tmp_path: Path) -> None:
    plant(bench)
    found, totals, tasks = bench.rebuild(batch=20)
    points = list(bench.reached)
    assert {"rebuild.begun", "rebuild.taken", "rebuild.ended"} <= set(points)
    for number in range(1, len(points) + 1):
        folder = tmp_path / f"killed-{number}"
        folder.mkdir()
        again = Bench(folder, bench.store, dies_at=number)
        with pytest.raises(Killed):
            again.rebuild(batch=20)
        if points[number - 1] != "rebuild.ended":
            again.rebuild(batch=20)
        with closing(again.ledger()) as ledger:
            assert list(ledger.rebuilds.page("", 10_000)) == tasks
            assert ledger.rebuilds.unfinished() is None
    assert found.folders == 49
    assert totals.tasks


def test_store_that_fails_in_the_middle_is_gone_on_with(bench: Bench) -> None:
    wholes = drawn_in(20)
    bench.put(*wholes)
    asked: list[str] = []

    def busy(method: str, key: str) -> None:
        asked.append(key)
        if method == "document" and str(tid(1015)) in key and "twice" not in asked:
            raise StoreBusy("503")

    bench.store.before = busy
    with pytest.raises(StoreBusy):
        bench.rebuild(batch=7)
    asked.append("twice")
    found, _, tasks = bench.rebuild(batch=7)
    assert tasks == wholes
    assert found.folders == len(wholes)
    assert asked[asked.index("twice") :].count(f"{PREFIX}{tid(1000)}/manifest.json") == 0, "what was done is done"


def test_stopped_it_keeps_what_is_done(bench: Bench) -> None:
    bench.put(*drawn_in(12))
    with pytest.raises(Interrupted):
        bench.rebuild(batch=5, stopped=lambda: True)
    with closing(bench.ledger()) as ledger:
        mark = ledger.rebuilds.unfinished()
        assert mark is not None
        assert mark.found.folders == len(ledger.rebuilds.page("", 99)) == 5
    assert bench.rebuild(batch=5)[0].folders == 12


# ---------------------------------------------------------------- compared


@pytest.fixture
def compared(bench: Bench) -> Iterator[tuple[Bench, Ledger, list[WholeTask]]]:
    wholes = drawn_in(25)
    bench.put(*wholes)
    bench.rebuild()
    with closing(bench.ledger()) as ledger:
        yield bench, ledger, wholes


def test_ledger_that_was_rebuilt_differs_in_nothing(compared: tuple[Bench, Ledger, list[WholeTask]]) -> None:
    bench, ledger, _ = compared
    take_in(ledger, 1, 2)
    assert bench.compare(ledger) == []


def test_each_difference_is_named(compared: tuple[Bench, Ledger, list[WholeTask]]) -> None:
    bench, ledger, wholes = compared
    gone, changed, broken = [whole for whole in wholes if whole.state is not TaskState.LISTED][:3]
    del bench.store.objects[f"{PREFIX}{gone.task_id}/manifest.json"]
    bench.put(replace(changed, flag="ANOTHER"))
    bench.store.objects[f"{PREFIX}{broken.task_id}/manifest.json"] = b"{}"
    [new] = drawn_in(1)
    bench.put(new := replace(new, task_id=tid(7), stems=(), history=(), state=TaskState.MISSING, document=""))
    bench.put_stem("orphaned-0001", "vocal", mp3(3000, 1))
    assert {(each.task_id, each.column) for each in bench.compare(ledger)} == {
        (gone.task_id, "manifest"),
        (changed.task_id, "flag"),
        (broken.task_id, "manifest"),
        (new.task_id, "task"),
        ("orphaned-0001", "task"),
    }


def test_open_task_may_be_ahead_of_its_manifest_but_not_behind(bench: Bench) -> None:
    whole = next(whole for whole in drawn_in(60) if any(row.receipt for row in whole.stems))
    saved = replace(whole, stems=tuple(row for row in whole.stems if row.receipt), history=(), not_before=None)
    bench.put(replace(saved, state=TaskState.LISTED, ended_at=None))
    retried = replace(saved, state=TaskState.QUEUED, ended_at=None, not_before=NOW, settled=False)
    with closing(bench.ledger()) as ledger:
        mark = ledger.rebuilds.begin(now=NOW)
        ledger.rebuilds.take([retried], mark, mark)
        assert bench.compare(ledger) == []
        bench.put(replace(saved, state=TaskState.ARCHIVED, ended_at=NOW, document=""))
        assert [each.column for each in bench.compare(ledger)] == ["state"], "its manifest says that all is done"
        row, *rest = saved.stems
        assert row.receipt is not None
        other = replace(row, receipt=replace(row.receipt, sha256="cd" * 32))
        bench.put(replace(saved, state=TaskState.LISTED, ended_at=None, stems=(other, *rest)))
        assert [each.column for each in bench.compare(ledger)] == [f"stems.{row.name}.sha256"]


def test_task_that_comes_to_its_end_meanwhile_is_no_difference(bench: Bench) -> None:
    whole = next(each for each in drawn_in(60) if each.state is TaskState.ARCHIVED)
    bench.put(whole)
    listed_ = replace(whole, state=TaskState.LISTED, ended_at=None, not_before=NOW, document="{}")
    with closing(bench.ledger()) as ledger:
        begun = ledger.rebuilds.begin(now=NOW)
        ledger.rebuilds.take([listed_], begun, mark := replace(begun, after="a"))

        def end(_seconds: float) -> None:
            ledger.rebuilds.take([whole], mark, replace(mark, after="b"))

        work = comparison_on(ledger, bench.store.archive, lambda: NOW, PREFIX, sleep=end)
        assert list(work.run()) == []
        assert ledger.rebuilds.page("", 9) == [whole], "it was looked at twice"
