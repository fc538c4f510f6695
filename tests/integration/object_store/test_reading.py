"""Answers to reads that are not as they should be: each is its own error, or is made good by asking again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pytest

from archiver.adapters.object_store.archive import S3Archive
from archiver.adapters.object_store.links import saved_as
from archiver.core.errors import AccessRefused, BucketMissing, StoreBusy
from archiver.core.misses import StoreStranger
from archiver.core.reading import ObjectAbsent, ObjectChanged, ObjectCold
from archiver.demo.seaweed import S3Server
from tests.fakes.s3_proxy import Exchange, S3Proxy, refuse, renamed, with_headers, without
from tests.fakes.scripted import Reply
from tests.fixtures.archived import noise
from tests.house import paged_by, s3_store

DATA = noise(100_000)
KEY = "p/task/vocal.mp3"
Action = Callable[[Exchange], Reply]


@dataclass
class Rig:
    proxy: S3Proxy
    archive: S3Archive

    def whole(self, offset: int = 0, etag: str = "") -> bytes:
        data, view = bytearray(), memoryview(bytearray(30_000))
        with closing(self.archive.open(KEY, offset=offset, etag=etag)) as body:
            while size := body.readinto(view):
                data += view[:size]
        return bytes(data)


@pytest.fixture
def rig(s3_server: S3Server, bucket: str) -> Iterator[Rig]:
    with closing(s3_server.client()) as client, S3Proxy(upstream=s3_server.endpoint_url) as proxy:
        for key in (KEY, "p/other/x", "p/third/x"):
            client.put_object(Bucket=bucket, Key=key, Body=DATA)
        with closing(s3_store(replace(s3_server, endpoint_url=proxy.url).client(), bucket)) as store:
            yield Rig(proxy, store.archive)


@pytest.fixture(params=["boto3 asks", "we ask ourselves"])
def ready(request: pytest.FixtureRequest, rig: Rig) -> Rig:
    """Both ways: boto3's, and our own once it has shown the way."""
    if request.param == "we ask ourselves":
        assert rig.whole() == DATA
        list(rig.archive.folders("p/"))
    return rig


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (refuse(404, "NoSuchKey"), ObjectAbsent),
        (refuse(404, "NoSuchBucket"), BucketMissing),
        (refuse(403, "InvalidObjectState"), ObjectCold),
        (refuse(403, "AccessDenied"), AccessRefused),
        (refuse(412, "PreconditionFailed"), ObjectChanged),
        (refuse(416, "InvalidRange"), ObjectChanged),
        (refuse(503, "SlowDown"), StoreBusy),
        (refuse(500, "InternalError"), StoreBusy),
    ],
)
def test_a_refusal_of_an_object_is_an_error_of_its_own(ready: Rig, action: Action, error: type[Exception]) -> None:
    ready.proxy.on("GetObject", action, times=1_000)
    with pytest.raises(error):
        ready.archive.open(KEY)


def test_documents_that_are_absent_show_the_way_too(rig: Rig) -> None:
    by_boto: list[bool] = []

    def absent(exchange: Exchange) -> Reply:
        by_boto.append("amz-sdk-invocation-id" in exchange.request.headers)
        return refuse(404, "NoSuchKey")(exchange)

    rig.proxy.on("GetObject", absent, times=3)
    assert [rig.archive.document(f"{KEY}{number}", limit=100) for number in range(3)] == [None, None, None]
    assert by_boto == [True, False, False]


@pytest.mark.parametrize(("size", "by_boto"), [(16_384, [False]), (16_385, [False, True])])
def test_of_the_text_of_an_error_16_kib_are_read_and_boto3_asks_where_more_is_wanted(
    rig: Rig, size: int, by_boto: list[bool]
) -> None:
    assert rig.whole() == DATA
    text = b"<Error><Code>NoSuchKey</Code>".rjust(size) + b"</Error>"
    asked: list[bool] = []

    def absent(exchange: Exchange) -> Reply:
        asked.append("amz-sdk-invocation-id" in exchange.request.headers)
        return Reply(text, 404, [("Content-Type", "application/xml")])

    rig.proxy.on("GetObject", absent, times=1_000)
    with pytest.raises(ObjectAbsent):
        rig.archive.open(KEY)
    assert asked == by_boto


def test_a_store_that_knows_no_ranges_gives_the_rest_all_the_same(ready: Rig) -> None:
    ready.proxy.on("GetObject", lambda _: Reply(DATA, 200, [("ETag", '"e"')]), times=10)
    assert ready.whole(60_000, "e") == DATA[60_000:]


@pytest.mark.parametrize(
    "action",
    [
        renamed({"Content-Range": "bytes 0-39999/100000"}),
        renamed({"Content-Range": "bytes 60000-99999/99999"}),
        renamed({"Content-Range": "bytes */100000"}),
        renamed({"Content-Range": "nonsense"}),
        without("content-range"),
    ],
)
def test_a_part_that_is_not_the_one_that_was_asked_for_is_refused(ready: Rig, action: Action) -> None:
    ready.proxy.on("GetObject", action, times=1_000)
    with pytest.raises(StoreBusy):
        ready.archive.open(KEY, offset=60_000)


def test_another_object_in_spite_of_if_match_is_refused(ready: Rig) -> None:
    ready.proxy.on("GetObject", lambda each: with_headers(each.forward(), {"ETag": '"other"'}), times=1_000)
    etag = ready.archive.head(KEY)
    assert etag is not None
    with pytest.raises(ObjectChanged):
        ready.archive.open(KEY, offset=60_000, etag=etag.etag)


def test_a_body_that_is_cut_is_an_error_and_no_end(ready: Rig) -> None:
    ready.proxy.on("GetObject", lambda each: replace(each.forward(), cut=50_000), times=1_000)
    with pytest.raises(StoreBusy):
        ready.whole()


def test_a_document_that_is_cut_is_asked_for_again(ready: Rig) -> None:
    rule = ready.proxy.on("GetObject", lambda each: replace(each.forward(), cut=50_000), times=2)
    found = ready.archive.document(KEY, limit=len(DATA))
    assert found is not None
    assert (found.data, rule.hits) == (DATA, 2)


LIST = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'


@pytest.mark.parametrize(
    "body",
    [
        b"<html>hello</html>",
        LIST,
        LIST + b"<CommonPrefixes><Prefix>q/task/</Prefix></CommonPrefixes></ListBucketResult>",
        LIST + b"<CommonPrefixes><Prefix>p/a/b/</Prefix></CommonPrefixes></ListBucketResult>",
        LIST + b"<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>",
    ],
)
def test_an_answer_that_is_no_listing_of_what_was_asked_is_refused(ready: Rig, body: bytes) -> None:
    ready.proxy.on("Bucket", lambda _: Reply(body, 200, [("Content-Type", "application/xml")]), times=1_000)
    with pytest.raises((StoreStranger, StoreBusy)):
        list(ready.archive.folders("p/"))


def test_a_listing_that_fails_in_its_midst_is_gone_on_with(ready: Rig) -> None:
    ready.proxy.on("Bucket", refuse(503, "SlowDown"), nth=2)
    assert list(paged_by(ready.archive, 1).folders("p/")) == ["other", "task", "third"]


def test_a_name_to_save_as_steers_no_header() -> None:
    assert saved_as('a"b\\c%é\r\nX: y') == (
        "attachment; filename=\"a_b_c___X: y\"; filename*=UTF-8''a%22b%5Cc%25%C3%A9%0D%0AX%3A%20y"
    ).replace("___X", "____X")
