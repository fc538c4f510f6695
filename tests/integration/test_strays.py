"""Multipart uploads that no journal names: ours are aborted, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from archiver.adapters.object_store import S3Store
from archiver.core.errors import AccessRefused
from archiver.core.intake import Intake
from archiver.core.model import TaskId
from archiver.demo.seaweed import S3Server
from archiver.ports.store import UploadList
from archiver.service.housekeeping import abort_strays
from tests.fakes.events import Events
from tests.fakes.time import NOW
from tests.fixtures.ledgers import accept
from tests.house import Ledger, ready_ledger_at, s3_store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TASK = TaskId("task-0001")


@pytest.fixture
def client(s3_server: S3Server) -> Iterator[S3Client]:
    with closing(s3_server.client()) as client:
        yield client


@pytest.fixture
def store(client: S3Client, bucket: str) -> S3Store:
    return s3_store(client, bucket, clock=lambda: NOW)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = ready_ledger_at(f"sqlite:///{tmp_path}/ledger.db")
    accept(ledger, Intake(ids=(TASK,)), now=NOW)
    yield ledger
    ledger.close()


def begin(client: S3Client, bucket: str, *keys: str) -> None:
    for key in keys:
        client.create_multipart_upload(Bucket=bucket, Key=key)


def means_to_upload(ledger: Ledger, *keys: str) -> None:
    for key in keys:
        ledger.uploads.opening("died", key, now=NOW)


def sweep(ledger: Ledger, store: UploadList, events: Events | None = None, *, after: timedelta = timedelta()) -> None:
    """Clear strays away, so long after now."""
    abort_strays(
        reports=ledger.reports,
        uploads=ledger.uploads,
        store=store,
        prefix="p/",
        now=datetime.now(UTC) + after,
        log=events or Events(),
    )


def still_open(store: S3Store) -> list[str]:
    return sorted(key for key, _, _ in store.uploads(""))


def test_strays_of_idle_tasks_are_aborted_and_those_of_others_are_left(
    client: S3Client, bucket: str, store: S3Store, ledger: Ledger
) -> None:
    others = ["p/unknown-0002/vocal.mp3", "q/task-0001/vocal.mp3", "p/vocal.mp3", f"p/{TASK}-more/vocal.mp3"]
    begin(client, bucket, f"p/{TASK}/vocal.mp3", f"p/{TASK}/vocal.mp3", f"p/{TASK}/bass.wav", *others)
    means_to_upload(ledger, f"p/{TASK}/vocal.mp3", f"p/{TASK}/bass.wav", "p/vocal.mp3")
    events = Events()
    sweep(ledger, store, events)
    assert still_open(store) == sorted(others)
    assert len(events.of("upload.aborted")) == 3


def test_upload_of_a_task_that_is_being_worked_on_is_left(
    client: S3Client, bucket: str, store: S3Store, ledger: Ledger
) -> None:
    assert ledger.claims.claim(owner="at-work", now=NOW, lease=timedelta(minutes=10)) is not None
    begin(client, bucket, f"p/{TASK}/vocal.mp3")
    means_to_upload(ledger, f"p/{TASK}/vocal.mp3")
    for _ in range(2):
        sweep(ledger, store)
        assert still_open(store) == [f"p/{TASK}/vocal.mp3"]
    ledger.claims.release("at-work")
    sweep(ledger, store)
    assert still_open(store) == []


def test_upload_that_we_did_not_set_out_to_make_is_left_to_another_installation_for_a_day(
    client: S3Client, bucket: str, store: S3Store, ledger: Ledger
) -> None:
    """It may archive the same tasks under the same prefix by a ledger of its own."""
    begin(client, bucket, f"p/{TASK}/vocal.mp3")
    sweep(ledger, store, after=timedelta(hours=23))
    assert still_open(store) == [f"p/{TASK}/vocal.mp3"]
    sweep(ledger, store, after=timedelta(hours=25))
    assert still_open(store) == []


def test_what_was_set_out_for_is_forgotten_once_the_sweep_saw_its_task_idle(
    client: S3Client, bucket: str, store: S3Store, ledger: Ledger
) -> None:
    key = f"p/{TASK}/vocal.mp3"
    means_to_upload(ledger, key)
    sweep(ledger, store)
    begin(client, bucket, key)
    sweep(ledger, store)
    assert still_open(store) == [key]


def test_store_that_does_not_list_uploads_is_logged_and_does_no_harm(ledger: Ledger) -> None:
    class Refusing:
        def uploads(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
            raise AccessRefused("ListMultipartUploads: 403 AccessDenied")

        def abort(self, key: str, upload_id: str) -> None:
            raise AssertionError

    events = Events()
    sweep(ledger, Refusing(), events)
    [failed] = events.of("upload.abort_failed")
    assert "AccessDenied" in str(failed["reason"])
