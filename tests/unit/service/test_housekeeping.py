"""Housekeeping: each upload that dead processes left is aborted by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from archiver.core.errors import ArchiverError, StoreBusy, StoreMisfit
from archiver.core.intake import Intake
from archiver.core.model import TaskId
from archiver.service.housekeeping import BUSY_TO_END, TURN, Housekeeping, abort_strays
from tests.fakes.events import Events
from tests.fakes.object_store import FakeStore
from tests.fakes.time import NOW, Clock
from tests.fixtures.ledgers import accept
from tests.house import Ledger

DAY = timedelta(days=1)


@dataclass
class Listing(FakeStore):
    """A bucket that lists its uploads, and aborts none to the keys of `refused`."""

    refused: dict[str, ArchiverError] = field(default_factory=dict)
    tries: int = 0

    def __post_init__(self) -> None:
        self.before = self.refuse

    def refuse(self, method: str, key: str) -> None:
        self.tries += method == "abort"
        if method == "abort" and key in self.refused:
            raise self.refused[key]

    def list_uploads(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
        return ((key, its, NOW) for key, its in sorted(self.uploads) if key.startswith(prefix))


class Bucket:
    """The same as an UploadList."""

    def __init__(self, store: Listing) -> None:
        self.uploads, self.abort = store.list_uploads, store.abort


class Left:
    """Uploads that a dead process left, one of each task, and what clears them away."""

    def __init__(self, ledger: Ledger, count: int) -> None:
        self.ledger, self.store, self.events, self.clock = ledger, Listing(), Events(), Clock()
        self.keys = [f"p/task-{number:04}/vocal.mp3" for number in range(count)]
        accept(ledger, Intake(ids=tuple(TaskId(key.split("/")[1]) for key in self.keys)), now=NOW)
        for number, key in enumerate(self.keys):
            self.store.uploads.add((key, str(number)))
            ledger.uploads.opened("dead", key, str(number), now=NOW)

    def sweep(self) -> None:
        ledger = self.ledger
        Housekeeping(
            ledger.claims, ledger.uploads, self.store, lambda _: False, self.clock, self.events
        ).abort_uploads()

    def sweep_strays(self) -> None:
        reports, uploads, bucket = self.ledger.reports, self.ledger.uploads, Bucket(self.store)
        abort_strays(
            reports=reports, uploads=uploads, store=bucket, prefix="p/", now=self.clock() + DAY, log=self.events
        )

    @property
    def open(self) -> set[str]:
        return {key for key, _ in self.store.uploads}

    def reasons(self) -> dict[object, object]:
        return {each["key"]: each["reason"] for each in self.events.of("upload.abort_failed")}


REFUSALS = [StoreMisfit("AbortMultipartUpload: 405 MethodNotAllowed"), StoreBusy("AbortMultipartUpload: 500")]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda each: each.code)
@pytest.mark.parametrize("which", [0, 3, 5])
def test_upload_that_cannot_be_aborted_keeps_no_other_open(ledger: Ledger, error: ArchiverError, which: int) -> None:
    left = Left(ledger, 6)
    left.store.refused[left.keys[which]] = error
    left.sweep()
    assert left.open == {left.keys[which]}
    assert left.reasons() == {left.keys[which]: f"{error.code}: {error}"}
    assert ledger.uploads.of_dead(lambda _: False) == [(left.keys[which], str(which))]


def test_many_refused_uploads_keep_no_other_open_each_with_its_own_reason(ledger: Ledger) -> None:
    left = Left(ledger, 10)
    left.store.refused = {key: StoreMisfit(f"405 about {key}") for key in left.keys[:7]}
    left.sweep()
    assert left.open == set(left.keys[:7])
    assert left.reasons() == {key: f"store.misfit: 405 about {key}" for key in left.keys[:7]}


def test_sweep_of_a_store_out_of_reach_ends_early(ledger: Ledger) -> None:
    left = Left(ledger, 50)
    left.store.refused = dict.fromkeys(left.keys, StoreBusy("no answer"))
    left.sweep()
    assert left.store.tries == BUSY_TO_END == 3


def test_uploads_that_always_find_the_store_busy_keep_none_open_for_ever(ledger: Ledger) -> None:
    left = Left(ledger, 12)
    left.store.refused = dict.fromkeys(left.keys[:8], StoreBusy("500"))
    for _ in left.keys:
        left.sweep()
        left.clock.forward(seconds=TURN)
    assert left.open == set(left.keys[:8])


@pytest.mark.parametrize("error", REFUSALS, ids=lambda each: each.code)
def test_stray_that_cannot_be_aborted_keeps_no_other_open(ledger: Ledger, error: ArchiverError) -> None:
    left = Left(ledger, 6)
    left.store.refused[left.keys[0]] = error
    left.sweep_strays()
    assert left.open == {left.keys[0]}
    assert left.reasons() == {left.keys[0]: f"{error.code}: {error}"}


def test_stray_that_cannot_be_aborted_is_remembered_as_ours(ledger: Ledger) -> None:
    left = Left(ledger, 2)
    for key in left.keys:
        ledger.uploads.opening("dead", key, now=NOW)
    left.store.refused[left.keys[0]] = REFUSALS[0]
    left.sweep_strays()
    assert set(ledger.uploads.keys()) == {left.keys[0]}
