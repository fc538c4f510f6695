"""A task that comes back from its manifest: every column, or a plain no."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.manifest import seal_of
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.manifest_read import read_manifest
from archiver.core.model import TaskId
from archiver.core.rebuilt import REBUILT, needs_record, rebuilt
from archiver.core.states import StemState, TaskState
from archiver.core.whole_task import Difference, WholeTask, differences, stored_differently
from tests import FIXTURES
from tests.fixtures.whole_tasks import manifest_in_format_2, whole_tasks

pytestmark = pytest.mark.long

TASK = TaskId("3e63b4cc88d5")
FOLDER = f"stems/{TASK}/"


def of_sample(name: str, record: bytes | None = None) -> WholeTask:
    manifest = read_manifest((FIXTURES / "manifests" / f"{name}.json").read_bytes(), TASK)
    return rebuilt(manifest, FOLDER, record)


def of_format_2(whole: WholeTask, **changes: object) -> WholeTask:
    manifest = read_manifest(manifest_in_format_2(whole, **changes))
    record = whole.document.encode() if whole.document and needs_record(manifest) else None
    return rebuilt(manifest, f"stems/{whole.task_id}/", record)


@given(whole_tasks(TASK))
def test_any_task_comes_back_from_its_manifest_in_every_column(whole: WholeTask) -> None:
    assert list(differences(whole, of_format_2(whole))) == []
    assert of_format_2(whole) == replace(whole, tracks=whole.tracks or None)


@given(whole_tasks(TASK))
def test_what_was_copied_below_another_prefix_is_found_there(whole: WholeTask) -> None:
    moved = rebuilt(read_manifest(manifest_in_format_2(whole)), f"elsewhere/{TASK}/")
    keys = [
        (row.receipt.key, was.receipt.key)
        for row, was in zip(moved.stems, whole.stems, strict=True)
        if row.receipt and was.receipt
    ]
    assert all(key == was.replace("stems/", "elsewhere/") for key, was in keys)


@pytest.mark.parametrize(("name", "state"), [("archived", "archived"), ("lost", "lost"), ("listed", "listed")])
def test_format_1_gives_what_it_tells_and_says_what_it_does_not(name: str, state: str) -> None:
    whole = of_sample(f"format-1-{name}", b'{"taskId":"x","successFlag":"SUCCESS"}')
    assert (whole.state, whole.source, whole.account, whole.flag) == (TaskState(state), REBUILT, "default", "SUCCESS")
    assert whole.settled
    assert bool(whole.reason) == (state != "archived")
    assert bool(whole.document) == (state != "archived")
    assert {"account", "source", "history", "first_asked_at", "stems.gone", "stems.url_cut"} <= whole.untold
    [vocal] = [row for row in whole.stems if row.name == "vocal"]
    assert vocal.receipt is not None
    assert vocal.receipt.key == f"{FOLDER}vocal.mp3"
    unsaved = [row for row in whole.stems if row.state is not StemState.STORED]
    assert all(row.url is None for row in unsaved if row.url_shown.startswith("https")), "its query is not known"


def test_what_format_1_does_not_tell_is_no_difference() -> None:
    theirs = of_sample("format-1-archived")
    mine = replace(theirs, account=theirs.account, source="queue", history=(), untold=frozenset(), flag="SUCCESS")
    assert list(differences(mine, theirs)) == []
    assert [each.column for each in differences(replace(mine, deadline=None), theirs)] == ["deadline"]


@given(whole_tasks(TASK), st.data())
def test_each_column_that_differs_is_named(whole: WholeTask, data: st.DataObject) -> None:
    others = data.draw(whole_tasks(TASK))
    column = data.draw(
        st.sampled_from(["source", "flag", "reason", "deadline", "ended_at", "history", "title", "account"])
    )
    mine = replace(whole, **{column: getattr(others, column)})
    expected = [] if getattr(mine, column) == getattr(whole, column) else [column]
    assert [each.column for each in differences(mine, of_format_2(whole))] == expected


@given(whole_tasks(TASK))
def test_another_etag_of_the_same_bytes_is_no_difference_and_of_others_is_one(whole: WholeTask) -> None:
    copied = [replace(row, receipt=row.receipt and replace(row.receipt, etag="copied-2")) for row in whole.stems]
    assert list(differences(replace(whole, stems=tuple(copied)), whole)) == []
    others = [replace(row, receipt=row.receipt and replace(row.receipt, sha256="cd" * 32)) for row in copied]
    found = {each.column for each in differences(replace(whole, stems=tuple(others)), whole)}
    assert found == {
        f"stems.{row.name}.{column}" for row in whole.stems if row.receipt for column in ("etag", "sha256")
    }


@given(whole_tasks(TASK))
def test_stem_that_one_side_lacks_is_named(whole: WholeTask) -> None:
    for row in whole.stems:
        fewer = replace(whole, stems=tuple(each for each in whole.stems if each is not row))
        assert Difference(TASK, f"stems.{row.name}", "(nothing)", row.state.value) in list(differences(fewer, whole))
        lacking = [each.column for each in stored_differently(fewer, whole)]
        assert lacking == ([f"stems.{row.name}"] if row.receipt else [])


def hostile(change: Callable[[dict[str, Any]], object]) -> bytes:
    document: dict[str, Any] = json.loads((FIXTURES / "manifests" / "format-1-archived.json").read_bytes())
    document |= {"format": 2, "state": "archived"}
    for stem in document["stems"]:
        stem["path"] = stem["key"].rpartition("/")[2]
    change(document)
    return json.dumps({**document, "seal": f"sha256:{seal_of(document)}"}).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.update(state="evaporated"),
        lambda it: it.update(state="queued"),
        lambda it: it.update(state="listed", deadline=None),
        lambda it: it.update(accepted_at=None),
        lambda it: it["stems"][0].update(state="pondering"),
        lambda it: it["stems"][0].update(state="lost"),
        lambda it: it["stems"][0].update(state="wanted"),
        lambda it: it["stems"][0].update(media="smell"),
        lambda it: it["stems"][0].update(path="../vocal.mp3"),
        lambda it: it["stems"][0].update(stored_at=None),
        lambda it: it["stems"][0].update(gone=1 << 40),
        lambda it: it["stems"][0].update(source_url="https://cdn.example/a?secret"),
        lambda it: it.update(kind="x" * 33),
        lambda it: it.update(events=[{"at": "2026-03-01", "event": "x" * 17}]),
        lambda it: it.update(events=[{"at": "2026-03-01", "event": "stored", "stem": "absent"}]),
    ],
)
def test_sealed_manifest_that_no_ledger_can_hold_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(ManifestBroken):
        rebuilt(read_manifest(hostile(change)), FOLDER)
