"""Manifests at the bounds: what is written can be read, or is refused before anything is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from archiver.core.chronicle import FEWEST_EVENTS, LEFT_OUT, Chronicle, End, shortened
from archiver.core.manifest import following, manifest_of
from archiver.core.manifest_bounds import LARGEST, MOST_EVENTS, MOST_STEMS
from archiver.core.manifest_read import read_manifest
from archiver.core.model import Archived, Receipt, Refused, StemName, StemRow
from archiver.core.rebuilt import rebuilt
from archiver.core.refusals import ManifestTooLong
from archiver.core.reports import Moved
from archiver.core.states import StemState, TaskState
from archiver.core.succession import Succession
from archiver.core.whole_task import differences
from tests.fixtures.manifest_schemas import check_schema
from tests.unit.core.tasks import DAY, NOW, claim, row

TASK = replace(claim(), created_at=NOW - DAY, completed_at=NOW, deadline=NOW + DAY, state=TaskState.LISTED)
SEAL = f"sha256:{'0' * 64}"


def stem(number: int) -> StemRow:
    name = f"stem-{number:06}"
    receipt = Receipt(f"p/{TASK.task_id}/{name}.mp3", 1234, "ab" * 32, '"' + "c" * 32 + '"', "audio/mpeg", NOW)
    url = f"https://cdn.example/{name}.mp3"
    return replace(row(), name=StemName(name), state=StemState.STORED, receipt=receipt, url=url, url_shown=url)


def refused(number: int, reason: str = "403") -> Moved:
    return Moved(NOW + number * DAY / 1440, StemName("stem-000000"), "refused", "wanted", "refused", {"reason": reason})


def written(stems: Sequence[StemRow], events: Sequence[Moved], outcome: Archived | Refused = Archived()) -> bytes:  # noqa: B008 - frozen
    end = End.of(outcome, NOW + 4000 * DAY)
    assert end is not None
    return manifest_of(TASK, stems, end, version="1", now=NOW, chronicle=Chronicle("queue", events=events))


def test_manifest_of_one_stem_more_than_is_read_is_refused() -> None:
    with pytest.raises(ManifestTooLong, match="20001 files"):
        written([stem(0)] * (MOST_STEMS + 1), [])


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_manifest_of_as_many_stems_as_are_read_is_read_whole() -> None:
    stems = [stem(number) for number in range(MOST_STEMS)]
    stored = [Moved(NOW, each.name, "stored", "wanted", "stored", {}) for each in stems]
    data = written(stems, stored)
    assert len(data) <= LARGEST
    manifest = read_manifest(following(data, SEAL))
    assert [each.name for each in manifest.stems] == [each.name for each in stems]
    assert len(rebuilt(manifest, "p/x/").stems) == MOST_STEMS


@pytest.mark.parametrize("length", [pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(120)]), 8000])
def test_history_that_is_too_long_is_left_out_in_its_middle_and_that_is_told(length: int) -> None:
    events = [refused(number, f"{number} {'x' * length}") for number in range(20_000_000 // length)]
    data = written([stem(0)], events[: MOST_EVENTS + 1])
    manifest = read_manifest(following(data, SEAL))
    check_schema(json.loads(data))
    counted = sum(each.times for each in manifest.events)
    assert counted == min(len(events), MOST_EVENTS + 1) + 1
    [left] = [each for each in manifest.events if each.event == LEFT_OUT]
    assert left.until is not None
    assert left.at < left.until < manifest.events[-1].at
    assert manifest.events[0].at == events[0].at
    whole = rebuilt(manifest, f"p/{TASK.task_id}/")
    assert not list(differences(replace(whole, history=()), whole)), "what a manifest cannot tell is no difference"
    assert Succession(data, TASK.task_id).keeps(data)


def test_manifest_that_is_too_long_without_any_history_is_refused() -> None:
    stems = [replace(stem(number), url_shown=f"https://cdn.example/{'y' * 3000}") for number in range(6000)]
    with pytest.raises(ManifestTooLong, match="bytes"):
        written(stems, [])


@pytest.mark.parametrize("extra", [0, 1, 2, 500])
def test_events_are_shortened_to_just_the_most_and_all_are_counted(extra: int) -> None:
    events = [{"at": f"{number:05}", "event": "refused"} for number in range(FEWEST_EVENTS + extra)]
    short = shortened(events, FEWEST_EVENTS)
    assert len(short) == FEWEST_EVENTS
    times = [each.get("times", 1) for each in short]
    assert sum(each for each in times if isinstance(each, int)) == len(events)
    assert (short[0], short[-1]) == (events[0], events[-1])
    assert [each["at"] for each in short] == sorted(str(each["at"]) for each in short)
    assert any(each["event"] == LEFT_OUT for each in short) == (extra > 0)
