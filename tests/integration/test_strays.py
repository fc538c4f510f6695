"""Multipart uploads that no journal names: ours are aborted, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from archiver.adapters.object_store import S3Store
from archiver.core.errors import AccessRefused
from archiver.core.intake import Intake
from archiver.core.model import TaskId
from archiver.demo.seaweed import S3Server
from archiver.service.housekeeping import abort_strays
from tests.fakes.events import Events
from tests.fakes.time import NOW
from tests.fixtures.ledgers import accept
from tests.house import Ledger, ledger_at, s3_store

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
    ledger = ledger_at(f"sqlite:///{tmp_path}/ledger.db")
    accept(ledger, Intake(ids=(TASK,)), now=NOW)
    yield ledger
    ledger.close()


def begin(client: S3Client, bucket: str, *keys: str) -> None:
    for key in keys:
        client.create_multipart_upload(Bucket=bucket, Key=key)


def still_open(store: S3Store) -> list[str]:
    return sorted(key for key, _, _ in store.uploads(""))


def test_strays_of_idle_tasks_are_aborted_and_those_of_others_are_left(
    client: S3Client, bucket: str, store: S3Store, ledger: Ledger
) -> None:
    others = ["p/unknown-0002/vocal.mp3", "q/task-0001/vocal.mp3", "p/vocal.mp3", f"p/{TASK}-more/vocal.mp3"]
    begin(client, bucket, f"p/{TASK}/vocal.mp3", f"p/{TASK}/vocal.mp3", f"p/{TASK}/bass.wav", *others)
    events = Events()
    abort_strays(reports=ledger.reports, store=store, prefix="p/", log=events)
    assert still_open(store) == sorted(others)
    assert len(events.of("upload.aborted")) == 3


def test_upload_of_a_task_that_is_being_worked_on_is_left(
    client: S3Client, bucket: str, store: S3Store, ledger: Ledger
) -> None:
    assert ledger.claims.claim(owner="at-work", now=NOW, lease=timedelta(minutes=10)) is not None
    begin(client, bucket, f"p/{TASK}/vocal.mp3")
    abort_strays(reports=ledger.reports, store=store, prefix="p/", log=Events())
    assert still_open(store) == [f"p/{TASK}/vocal.mp3"]


def test_store_that_does_not_list_uploads_is_logged_and_does_no_harm(ledger: Ledger) -> None:
    class Refusing:
        def uploads(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
            raise AccessRefused("ListMultipartUploads: 403 AccessDenied")

        def abort(self, key: str, upload_id: str) -> None:
            raise AssertionError

    events = Events()
    abort_strays(reports=ledger.reports, store=Refusing(), prefix="p/", log=events)
    [failed] = events.of("upload.abort_failed")
    assert "AccessDenied" in str(failed["reason"])
