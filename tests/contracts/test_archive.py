"""What every Archive promises, asked of the fake and of the real one on each real S3 server."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from archiver.core.reading import ObjectAbsent, ObjectChanged, ObjectLong
from archiver.demo.seaweed import S3Server
from archiver.ports.archive import BrowsedArchive, ObjectBody
from tests.fakes.object_store import FakeStore
from tests.house import paged_by, s3_store

AUDIO = random.Random(1).randbytes(300_000)
META = {"task-id": "0123456789abcdef", "stem": "vocal"}


@dataclass
class Rig:
    """An archive, and a way to put what it reads."""

    archive: BrowsedArchive
    put: Callable[[str, bytes], object]
    keeps_metadata: bool = True
    names: list[str] = field(default_factory=list)

    def fill(self, *keys: str, data: bytes = b"x") -> None:
        for key in keys:
            self.put(key, data)


def fake_rig() -> Iterator[Rig]:
    store = FakeStore()

    def put(key: str, data: bytes) -> None:
        store.objects[key], store.metadata[key], store.content_types[key] = data, META, "audio/mpeg"

    yield Rig(store.archive, put)


def real_rig(name: str, server: S3Server, bucket: str) -> Iterator[Rig]:
    with closing(server.client()) as client, closing(s3_store(server.client(), bucket)) as store:

        def put(key: str, data: bytes) -> None:
            client.put_object(Bucket=bucket, Key=key, Body=data, Metadata=META, ContentType="audio/mpeg")

        yield Rig(store.archive, put, keeps_metadata=name != "localbucket")


@pytest.fixture(params=["fake", "seaweedfs", *(pytest.param(it, marks=pytest.mark.long) for it in ("rclone", "moto"))])
def rig(request: pytest.FixtureRequest, s3_servers: Callable[[str], S3Server]) -> Iterator[Rig]:
    if request.param == "fake":
        yield from fake_rig()
    elif request.param == "seaweedfs":
        yield from real_rig(request.param, s3_servers(request.param), request.getfixturevalue("bucket"))
    else:
        server, bucket = s3_servers(request.param), f"test-{uuid.uuid4().hex[:20]}"
        with closing(server.client()) as client:
            client.create_bucket(Bucket=bucket)
        yield from real_rig(request.param, server, bucket)


def drained(body: ObjectBody, most: int = 70_000) -> bytes:
    data, view = bytearray(), memoryview(bytearray(most))
    with closing(body):
        while size := body.readinto(view):
            data += view[:size]
    return bytes(data)


def etag_at(rig: Rig, key: str) -> str:
    with closing(rig.archive.open(key)) as body:
        return body.head.etag


def test_folders_are_those_right_under_the_prefix_each_once(rig: Rig) -> None:
    rig.fill("p/a/1", "p/a/2", "p/a/b/3", "p/c/1", "other/d/1")
    for _ in range(2):  # the second time by our own signature
        assert list(rig.archive.folders("p/")) == ["a", "c"]
    assert list(rig.archive.folders("q/")) == []


def test_folders_after_one_begin_behind_it_whether_it_is_there_or_not(rig: Rig) -> None:
    rig.fill("p/a/1", "p/b/1", "p/b/2", "p/d/1")
    assert list(rig.archive.folders("p/", after="b")) == ["d"]
    assert list(rig.archive.folders("p/", after="aa")) == ["b", "d"]
    assert list(rig.archive.folders("p/", after="d")) == []


def test_more_folders_and_objects_than_one_page_holds_are_listed_whole(rig: Rig) -> None:
    keys = [f"many/{number:05}/x" for number in range(8)]
    rig.fill(*keys)
    paged = paged_by(rig.archive, 3)
    for _ in range(2):
        assert list(paged.folders("many/")) == [key.split("/")[1] for key in keys]
        assert list(paged.folders("many/", after="00002")) == [key.split("/")[1] for key in keys[3:]]
        assert [each.key for each in paged.objects("many/")] == keys


def test_objects_are_listed_with_size_and_etag(rig: Rig) -> None:
    rig.fill("p/a/manifest.json", "p/a/vocal.mp3", "p/b/x", data=b"12345")
    for _ in range(2):
        listed = list(rig.archive.objects("p/a/"))
        assert [(each.key, each.size) for each in listed] == [("p/a/manifest.json", 5), ("p/a/vocal.mp3", 5)]
        assert listed[0].etag == "827ccb0eea8a706c4c34a16891f84e7b"
    assert [each.key for each in rig.archive.objects("p/a/", after="p/a/manifest.json")] == ["p/a/vocal.mp3"]


def test_keys_that_are_special_in_urls_and_xml_are_listed_and_read(rig: Rig) -> None:
    odd = ["p/t/a b+c%20&<>'\"é\U0001f600.mp3", "p/t/~-_.!*()=;,@$.mp3"]
    rig.fill(*odd, data=b"odd")
    for _ in range(2):
        assert sorted(each.key for each in rig.archive.objects("p/t/")) == sorted(odd)
        for key in odd:
            assert drained(rig.archive.open(key)) == b"odd"


def test_a_document_comes_whole_with_what_is_said_of_it(rig: Rig) -> None:
    rig.fill("p/a/manifest.json", data=b"{}")
    for _ in range(2):
        found = rig.archive.document("p/a/manifest.json", limit=2)
        assert found is not None
        assert (found.data, found.head.size, found.head.content_type) == (b"{}", 2, "audio/mpeg")
        assert found.head.etag == "99914b932bd37a50b983c5e7c90ae93b"
        assert not rig.keeps_metadata or META.items() <= found.head.metadata.items()


def test_an_absent_document_is_none_and_a_long_one_is_an_error(rig: Rig) -> None:
    rig.fill("p/a/manifest.json", data=b"123")
    for _ in range(2):
        assert rig.archive.document("p/a/nothing", limit=10) is None
        with pytest.raises(ObjectLong):
            rig.archive.document("p/a/manifest.json", limit=2)


def test_an_empty_document_is_one(rig: Rig) -> None:
    rig.fill("p/a/empty", data=b"")
    for _ in range(2):
        found = rig.archive.document("p/a/empty", limit=10)
        assert found is not None
        assert found.data == b""


def test_a_head_says_what_a_read_would(rig: Rig) -> None:
    rig.fill("p/a/vocal.mp3", data=AUDIO)
    for _ in range(2):
        head = rig.archive.head("p/a/vocal.mp3")
        assert head is not None
        assert (head.size, head.content_type) == (len(AUDIO), "audio/mpeg")
        assert head.etag == etag_at(rig, "p/a/vocal.mp3")
        assert not rig.keeps_metadata or META.items() <= head.metadata.items()
        assert rig.archive.head("p/a/nothing") is None


@pytest.mark.parametrize("offset", [0, 1, 65_536, len(AUDIO) - 1])
def test_a_body_comes_from_the_offset_on_of_that_very_object(rig: Rig, offset: int) -> None:
    rig.fill("p/a/vocal.mp3", data=AUDIO)
    etag = etag_at(rig, "p/a/vocal.mp3")
    for _ in range(2):
        body = rig.archive.open("p/a/vocal.mp3", offset=offset, etag=etag)
        assert body.head.size == len(AUDIO)
        assert drained(body) == AUDIO[offset:]


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (0, 131_072), (131_072, 262_144), (299_990, 400_000)])
def test_a_span_has_just_its_bytes_of_that_very_object_each_time(rig: Rig, begin: int, end: int) -> None:
    rig.fill("p/a/vocal.mp3", data=AUDIO)
    etag = etag_at(rig, "p/a/vocal.mp3")
    for _ in range(3):
        body = rig.archive.span("p/a/vocal.mp3", begin, end, etag=etag)
        assert body.head.size == len(AUDIO)
        assert drained(body) == AUDIO[begin:end]


def test_a_span_of_another_object_than_is_meant_is_refused(rig: Rig) -> None:
    rig.fill("p/a/vocal.mp3", data=AUDIO)
    for _ in range(2):
        with pytest.raises(ObjectChanged):
            rig.archive.span("p/a/vocal.mp3", 0, 10, etag="0" * 32)


def test_a_body_of_another_object_than_is_meant_is_refused(rig: Rig) -> None:
    rig.fill("p/a/vocal.mp3", data=AUDIO)
    etag = etag_at(rig, "p/a/vocal.mp3")
    rig.fill("p/a/vocal.mp3", data=AUDIO[1:])
    for _ in range(2):
        with pytest.raises(ObjectChanged):
            rig.archive.open("p/a/vocal.mp3", offset=10, etag=etag)
        with pytest.raises(ObjectChanged):
            rig.archive.open("p/a/vocal.mp3", offset=len(AUDIO) + 5)


def test_a_body_of_what_is_absent_is_told_so(rig: Rig) -> None:
    rig.fill("p/a/vocal.mp3")
    assert drained(rig.archive.open("p/a/vocal.mp3")) == b"x"
    for _ in range(2):
        with pytest.raises(ObjectAbsent):
            rig.archive.open("p/a/nothing")


def test_a_body_left_half_way_harms_no_other(rig: Rig) -> None:
    rig.fill("p/a/vocal.mp3", data=AUDIO)
    for _ in range(3):
        with closing(rig.archive.open("p/a/vocal.mp3")) as body:
            body.readinto(memoryview(bytearray(10)))
    assert drained(rig.archive.open("p/a/vocal.mp3")) == AUDIO
