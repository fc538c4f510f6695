"""A stem whose link is on record never waits for one of its task whose link must be asked for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path as Folder

import pytest

from archiver.core.errors import ArchiverError, KeyRefused, OriginBusy
from archiver.core.model import Phase, RecordInfo, StemName
from archiver.core.states import StemState
from tests.worlds.path import TASK, Path, path_in

PENDING = RecordInfo(Phase.PENDING, flag="EXPIRING", document="{}")


@pytest.fixture
def world(tmp_path: Folder) -> Iterator[Path]:
    with path_in(tmp_path) as world:
        yield world


@pytest.mark.parametrize("answer", [KeyRefused("401"), PENDING])
def test_plain_link_is_tried_in_its_time_while_the_signed_one_cannot_be_had(
    world: Path, answer: ArchiverError | RecordInfo
) -> None:
    plain = world.serves("vocal", OriginBusy("timeout"), OriginBusy("timeout"), b"vocal" * 1000)
    signed = world.serves("drums", OriginBusy("timeout"), query="?sig=1")
    record = world.lists(plain, signed)
    world.accept(TASK)
    world.api.knows(TASK, record, answer)
    world.passes(timedelta(minutes=2))
    stems = {stem.name: stem.state for stem in world.task.stems}
    assert stems == {StemName("vocal"): StemState.STORED, StemName("drums"): StemState.WANTED}
    assert world.downloader.opened.count(plain.url) == 3
    assert len(world.api.fetched) < 40, "and the provider is asked no more often"


def test_task_ends_once_the_signed_link_is_had_again(world: Path) -> None:
    plain = world.serves("vocal", OriginBusy("timeout"), b"vocal" * 1000)
    signed = world.serves("drums", OriginBusy("timeout"), b"drums" * 1000, query="?sig=1")
    record = world.lists(plain, signed)
    world.accept(TASK)
    world.api.knows(TASK, record, PENDING, PENDING, record)
    world.passes(timedelta(hours=1), [TASK])
    assert world.archived(TASK)


def test_plain_link_is_tried_in_its_time_while_the_provider_is_paused_for_all(world: Path) -> None:
    plain = world.serves("vocal", OriginBusy("timeout"), OriginBusy("timeout"), b"vocal" * 1000)
    signed = world.serves("drums", OriginBusy("timeout"), query="?sig=1")
    world.lists(plain, signed)
    world.accept(TASK)
    world.passes(timedelta(seconds=1))
    world.api.trouble = KeyRefused("401")
    world.passes(timedelta(minutes=2))
    assert {stem.name for stem in world.task.stems if stem.state is StemState.STORED} == {"vocal"}
    world.api.trouble = None
    world.serves("drums", b"drums" * 1000, query="?sig=1")
    world.passes(timedelta(minutes=2), [TASK])
    assert world.archived(TASK)
