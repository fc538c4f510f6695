"""Whatever a record says: what comes to stand in the bucket has a key and metadata of a closed alphabet."""

from __future__ import annotations

import itertools
import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archiver.adapters.downloader.sniff import sniff
from archiver.core.intake import Intake
from archiver.core.model import Archived, Later, TaskId
from archiver.core.records.record import record_of
from archiver.demo.seaweed import S3Server
from archiver.ports.store import ObjectStore
from tests.fakes.audio import mp3
from tests.fakes.downloader import Audio, FakeDownloader
from tests.fakes.events import Events
from tests.fakes.record_api import FakeApi
from tests.fakes.time import NOW, Clock
from tests.fixtures.ledgers import accept
from tests.fixtures.profiles import examples
from tests.house import Archiver, Ledger, archiver_on, breakers_on, ready_ledger_at, s3_store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "stems/"
EXTENSIONS = frozenset(
    [
        *(
            "mp3",
            "aac",
            "latm",
            "ac3",
            "eac3",
            "wav",
            "w64",
            "flac",
            "ogg",
            "opus",
            "spx",
            "m4a",
            "m4b",
            "aiff",
            "aifc",
            "caf",
            "wma",
        ),
        *(
            "mid",
            "8svx",
            "awb",
            "amr",
            "wv",
            "ape",
            "tta",
            "tak",
            "ofr",
            "mpc",
            "dsf",
            "dff",
            "au",
            "dts",
            "shn",
            "voc",
            "ra",
        ),
        *("qoa", "mp4", "mov", "webm", "mkv", "3gp", "3g2", "ts", "avi", "flv"),
    ]
)
KEY = re.compile(r"stems/[A-Za-z0-9_-]{8,128}/[a-z0-9]+(?:_[a-z0-9]+)*\.mp3")

HOSTILE = st.sampled_from(
    ["..", "/", "\\", "\r\nx-amz-acl: public-read", "\0", "%2e%2e%2f", "%00", "é", "\u202e", "💣", "?a=b", "#", ".exe"]
)
WORDS = st.lists(
    HOSTILE | st.sampled_from(["vocal", "Drums", "manifest", "record-info", "json", "CON", " "]), max_size=4
)
TEXT = WORDS.map("".join) | st.text(max_size=30)
NAMES = st.builds("{}{}".format, TEXT, st.sampled_from(["Url", "_url"]))
URLS = st.builds("https://cdn.example/{}".format, TEXT)
ITEM = st.dictionaries(st.sampled_from(["stem_type_group_name", "audio_url", "audioUrl", "id", "title"]), TEXT | URLS)
DATA = st.fixed_dictionaries(
    {
        "successFlag": st.just("SUCCESS"),
        "taskId": TEXT,
        "response": st.builds(
            lambda flat, items: {**flat, "originData": items},
            st.dictionaries(NAMES, URLS, min_size=1, max_size=5),
            st.lists(ITEM | st.dictionaries(st.sampled_from(["extract", "remove"]), ITEM), max_size=3),
        ),
    }
)


class AnyUrl(dict[str, list[Audio]]):
    """Every URL gives audio of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._seeds = itertools.count()

    def get(self, url: str, _: object = None) -> list[Audio]:
        return self.setdefault(url, [Audio(mp3(600, next(self._seeds)))])


@dataclass
class Place:
    """The path into a real bucket, and a look at it."""

    client: S3Client
    bucket: str
    store: ObjectStore
    ledger: Ledger
    numbers: Iterator[int]

    def archive(self, data: object) -> tuple[TaskId, int] | None:
        """Take one task with this record along the path; None when it names no audio, else how many addresses.

        It is archived, unless what stands in the place of one cannot be asked for: that is tried again.
        """
        record = record_of(data)
        if not record.stems:
            return None
        api, task = FakeApi(), TaskId(f"task-{next(self.numbers):04}")
        api.knows(task, record)
        accept(self.ledger, Intake(ids=(task,)), now=NOW)
        claim = self.ledger.claims.claim(owner="me", now=NOW, lease=timedelta(minutes=10))
        assert claim is not None
        outcome = self.archiver(api).archive(claim)
        addresses = [stem.url for stem in record.stems if stem.url]
        assert isinstance(outcome, Archived if len(addresses) == len(record.stems) else Later)
        return task, len(set(addresses))

    def archiver(self, api: FakeApi) -> Archiver:
        log = Events()
        return archiver_on(
            self.ledger,
            breakers_on(self.ledger, Clock(), log),
            Clock(),
            log,
            api=api,
            downloader=FakeDownloader(AnyUrl()),
            store=self.store,
            prefix=PREFIX,
        )

    def keys(self) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {entry["Key"] for page in pages for entry in page.get("Contents", ())}


@pytest.fixture
def place(tmp_path: Path, s3_server: S3Server, bucket: str) -> Iterator[Place]:
    with (
        closing(s3_store(s3_server.client(), bucket)) as store,
        closing(s3_server.client()) as client,
        closing(ready_ledger_at(f"sqlite:///{tmp_path}/ledger.db")) as ledger,
    ):
        yield Place(client, bucket, store, ledger, itertools.count())


@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(data=DATA)
def test_record_of_any_kind_makes_keys_below_its_task_and_metadata_of_plain_ascii(place: Place, data: object) -> None:
    before = place.keys()
    made = place.archive(data)
    if made is None:
        return
    task, urls = made
    folder = f"{PREFIX}{task}/"
    fresh = place.keys() - before
    sidecars = {f"{folder}manifest.json", f"{folder}record-info.json"} & fresh
    audio = fresh - sidecars
    assert len(audio) == urls
    assert len(sidecars) in {0, 2}
    for key in audio:
        assert KEY.fullmatch(key)
        assert key.startswith(folder)
        head = place.client.head_object(Bucket=place.bucket, Key=key, ChecksumMode="ENABLED")
        assert head["Metadata"] == {
            "task-id": task,
            "stem": key.removeprefix(folder).removesuffix(".mp3"),
            "sha256": b64decode(head["ChecksumSHA256"]).hex(),
        }
        assert head["ContentType"] == "audio/mpeg"


@given(st.binary(max_size=300) | st.sampled_from([mp3(5000), b"RIFF\0\0\0\0WAVE", b"OggS\0", b"fLaC"]))
def test_extension_and_type_are_of_a_closed_set_whatever_the_bytes(head: bytes) -> None:
    found = sniff(head, whole=True)
    assert found is None or found.extension in EXTENSIONS
    assert found is None or re.fullmatch(r"(?:audio|video)/[a-z0-9-]+", found.content_type)
