"""What is expected, held against what is listed: nothing is left out, nothing told twice."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.fixity import (
    FAULTS,
    Boundary,
    Expected,
    Fixity,
    KnownStem,
    KnownTask,
    Pair,
    Part,
    TrimmedFolder,
    expected_of,
    known_by,
    looks_alike,
    may_be_under_way,
    merged,
    pairs_of,
    resized,
    store_denies,
    unlike,
    walk_of,
)
from archiver.core.fixity_cost import PRESETS, Holdings, Prices, Speed, plan_of
from archiver.core.levels import Level
from archiver.core.manifest_read import Manifest, ManifestStem
from archiver.core.model import StemName, TaskId
from archiver.ports.archive import ListedObject, ObjectHead

SHA = "ab" * 32
TASK = TaskId("task-0001")
IDS = st.lists(st.text("-A_a0", min_size=1, max_size=6), unique=True, max_size=40)
KEYS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4), unique=True, max_size=30)


def known(name: str, state: str = "archived", *stems: KnownStem) -> KnownTask:
    return KnownTask(TaskId(name), state, stems)


def stem(name: str = "vocal", **changes: Any) -> KnownStem:  # noqa: ANN401 - of a KnownStem
    return replace(KnownStem(StemName(name), "stored", f"p/{TASK}/{name}.mp3", 5, SHA, "e"), **changes)


def paired(tasks: Iterable[KnownTask], keys: Iterable[str]) -> list[Pair]:
    found = list(pairs_of(tasks, (ListedObject(key, 1, "") for key in keys), "p/"))
    return [pair for pair in found if isinstance(pair, Pair)]


@pytest.mark.parametrize("order", ["of keys", "of names"])
@given(mine=IDS, theirs=IDS)
def test_the_rest_of_a_walk_from_any_boundary_is_what_came_behind_it(
    order: str, mine: list[str], theirs: list[str]
) -> None:
    folders = sorted(theirs, key=lambda name: f"{name}/") if order == "of keys" else sorted(theirs)
    listed = [f"p/{name}/{each}" for name in folders for each in ("manifest.json", "x.mp3")]

    def walk(begin: str) -> list[Pair | TrimmedFolder | Boundary]:
        tasks = (known(name) for name in sorted(mine) if name >= begin)
        behind = [key for key in listed if key.split("/")[1] >= begin] if order == "of names" else listed
        keys = (key for key in behind if order == "of names" or key > f"p/{begin}")
        return list(walk_of(tasks, (ListedObject(key, 1, "") for key in keys), "p/"))

    whole = walk("")
    for number, boundary in enumerate(whole):
        if isinstance(boundary, Boundary):
            rest = [each for each in whole[number:] if not isinstance(each, Boundary)]
            assert [each for each in walk(boundary.folder) if not isinstance(each, Boundary)] == rest
            before = {each.expected.task.task_id for each in whole[:number] if isinstance(each, Pair) and each.expected}
            assert boundary.tasks == len(before)


@pytest.mark.parametrize("order", ["of keys", "of names", "at random"])
@given(mine=IDS, theirs=IDS, data=st.data())
def test_each_key_comes_with_what_both_sides_know_in_either_order_of_folders(
    order: str, mine: list[str], theirs: list[str], data: st.DataObject
) -> None:
    folders = sorted(theirs, key=lambda name: f"{name}/") if order == "of keys" else sorted(theirs)
    if order == "at random":
        folders = data.draw(st.permutations(folders))
    listed = [f"p/{name}/{each}" for name in folders for each in ("manifest.json", "x.mp3")]
    pairs = paired((known(name) for name in sorted(mine)), listed)
    expected = [f"p/{name}/{each}" for name in mine for each in ("manifest.json", "record-info.json")]
    assert sorted(pair.expected.key for pair in pairs if pair.expected) == sorted(expected)
    assert [pair.listed.key for pair in pairs if pair.listed] == listed
    both = [pair.listed.key for pair in pairs if pair.listed and pair.expected]
    assert all(pair.expected.key == pair.listed.key for pair in pairs if pair.expected and pair.listed)
    if order != "at random":
        assert sorted(both) == sorted({*listed} & {*expected})


@given(mine=KEYS, theirs=KEYS)
def test_two_sides_merge_into_each_key_once_with_what_both_know(mine: list[str], theirs: list[str]) -> None:
    expected = (Expected(key, known("x")) for key in sorted(mine))
    pairs = list(merged(expected, (ListedObject(key, 1, "") for key in sorted(theirs))))
    keys = [pair.expected.key if pair.expected else pair.listed.key for pair in pairs if pair.expected or pair.listed]  # type: ignore[union-attr]  # one of them is there
    assert keys == sorted({*mine, *theirs})
    for key, pair in zip(keys, pairs, strict=True):
        assert (pair.expected is not None, pair.listed is not None) == (key in mine, key in theirs)


def test_keys_in_no_folder_and_of_no_task_come_alone() -> None:
    keys = ["p/", "p/x", "p/~/y", "p/é/z/1"]
    pairs = paired([known("task-0001")], keys)
    assert [pair.listed.key for pair in pairs if pair.listed] == keys
    assert sum(pair.expected is not None for pair in pairs) == 2


def test_objects_of_a_task_are_expected_once_each_beside_its_sidecars() -> None:
    task = known(TASK, "archived", stem(), stem("alias", key=f"p/{TASK}/vocal.mp3"), stem("bass"))
    found = expected_of(task, "other/")
    assert [each.key.rpartition("/")[2] for each in found] == [
        "bass.mp3",
        "manifest.json",
        "record-info.json",
        "vocal.mp3",
    ]
    assert all(each.required and each.key.startswith(f"p/{TASK}/") for each in found)


@pytest.mark.parametrize("state", ["queued", "listed", "failed", "missing"])
def test_sidecars_of_a_task_that_is_not_whole_may_be_there_or_not(state: str) -> None:
    assert [each.required for each in expected_of(known(TASK, state), "p/")] == [False, False]


def test_every_missing_part_has_a_fault_of_its_own() -> None:
    kinds = {each.part: each.missing_as for each in expected_of(known(TASK, "archived", stem()), "p/")}
    assert kinds == {
        Part.STEM: Fixity.MISSING,
        Part.RECORD: Fixity.RECORD_MISSING,
        Part.MANIFEST: Fixity.MANIFEST_MISSING,
    }
    assert set(Fixity) - FAULTS == {Fixity.OK, Fixity.COLD, Fixity.UNREAD}


@pytest.mark.parametrize(
    ("size", "etag", "alike", "sized"),
    [(5, "e", True, True), (5, "f", False, True), (4, "e", False, False), (5, "", True, True)],
)
def test_size_and_etag_are_held_against_the_ledgers(size: int, etag: str, alike: bool, sized: bool) -> None:
    [expected] = [each for each in expected_of(known(TASK, "archived", stem()), "p/") if each.part is Part.STEM]
    seen = ObjectHead(size, etag)
    assert looks_alike(expected, seen) is alike
    judged = resized(expected, seen)
    assert (judged is None) is sized
    assert judged is None or (judged.verdict, judged.is_fault) == (Fixity.ALTERED, True)


@pytest.mark.parametrize(
    ("checksums", "metadata", "denies"),
    [
        ({}, {}, False),
        ({"ChecksumSHA256": base64.b64encode(bytes.fromhex(SHA)).decode()}, {}, False),
        ({"ChecksumSHA256": base64.b64encode(bytes(32)).decode()}, {}, True),
        ({"ChecksumSHA256": f"{base64.b64encode(bytes(32)).decode()}-3", "ChecksumType": "COMPOSITE"}, {}, False),
        ({}, {"sha256": SHA}, False),
        ({}, {"sha256": "cd" * 32}, True),
    ],
)
def test_a_checksum_of_the_whole_object_alone_denies_it(
    checksums: dict[str, str], metadata: dict[str, str], denies: bool
) -> None:
    expected = Expected("k", known(TASK), sha256=SHA)
    assert store_denies(expected, checksums, metadata) is denies


def manifest(*stems: ManifestStem, state: str = "archived") -> Manifest:
    return Manifest(2, TASK, state, stems, "sha256:x", datetime(2026, 3, 1, tzinfo=UTC))


def told(name: str = "vocal", **changes: Any) -> ManifestStem:  # noqa: ANN401 - of a ManifestStem
    return replace(ManifestStem(StemName(name), "stored", path=f"{name}.mp3", size=5, sha256=SHA), **changes)


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (manifest(told()), ""),
        (manifest(told(), state="lost"), "it says lost, the ledger archived"),
        (manifest(told(sha256="cd" * 32)), "it tells another size or SHA-256 of vocal"),
        (manifest(told(size=6)), "it tells another size or SHA-256 of vocal"),
        (manifest(told(path="voice.mp3")), "it tells another name of the object of vocal"),
        (manifest(told(), told("bass")), "the ledger has no stem bass"),
        (manifest(), "vocal is stored in the ledger alone"),
        (manifest(told(state="lost")), "vocal is stored in the ledger alone"),
    ],
)
def test_a_manifest_unlike_the_ledger_is_told_by_what_differs(theirs: Manifest, said: str) -> None:
    assert unlike(theirs, known(TASK, "archived", stem())) == said


def test_of_an_open_task_only_what_both_have_stored_counts() -> None:
    assert not unlike(manifest(told("bass"), state="lost"), known(TASK, "listed", stem()))
    assert unlike(manifest(told(sha256="cd" * 32)), known(TASK, "listed", stem()))


def test_a_task_by_its_manifest_has_its_objects_beside_it() -> None:
    task = known_by(manifest(told(), told("bass", state="lost")), "q/other/")
    assert [(each.name, each.key) for each in task.stems] == [("vocal", "q/other/vocal.mp3"), ("bass", "")]


@pytest.mark.parametrize(
    ("name", "state", "may"),
    [
        ("bass.mp3", "listed", True),
        ("My Song - bass.mp3", "listed", True),
        ("bass.mp3", "archived", False),
        ("piano.mp3", "listed", False),
        ("vocal.wav", "listed", False),
    ],
)
def test_an_object_of_an_open_task_may_be_one_that_is_just_being_stored(name: str, state: str, may: bool) -> None:
    task = known(TASK, state, stem(), KnownStem(StemName("bass"), "wanted"))
    assert may_be_under_way(f"p/{TASK}/{name}", task) is may


def test_cost_of_the_example_archive_is_that_of_the_specification() -> None:
    archive = Holdings(tasks=10**6, whole=10**6, objects=12 * 10**6, bytes=60 * 10**12)
    listed = plan_of(Level.LIST, archive, PRESETS["aws"], Speed())
    assert (listed.requests, listed.bytes, round(listed.price, 2)) == (14_000, 0, 0.07)
    read = plan_of(Level.READ, archive, replace(PRESETS["aws"], gigabyte=0.0), Speed(16, 7_700_000))
    assert (read.gets, round(read.price, 1)) == (13 * 10**6, 5.3)
    assert 90 <= read.seconds / 86_400 <= 91


@given(
    tasks=st.integers(0, 10**7),
    stems=st.integers(0, 20),
    size=st.integers(0, 10**7),
    level=st.sampled_from(Level),
    prices=st.builds(Prices, *[st.floats(0, 1)] * 3),
)
def test_a_closer_level_costs_no_less(tasks: int, stems: int, size: int, level: Level, prices: Prices) -> None:
    archive = Holdings(tasks, tasks, tasks * stems, tasks * stems * size)
    plans = [plan_of(each, archive, prices, Speed(4)) for each in Level]
    assert [plan.price for plan in plans] == sorted(plan.price for plan in plans)
    assert plan_of(level, archive, prices, Speed(4)).listings >= 1
    assert plan_of(level, archive, prices, Speed(4), ids=3).listings == 3
