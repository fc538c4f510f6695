"""Every fault between us and a real S3 server: the object ends right and alone, or the error says why not."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import pytest

from archiver.adapters.object_store import S3Store
from archiver.adapters.object_store.calls import Labels, ObjectOptions, S3Calls
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.faults import Conflict
from archiver.core.capabilities import Capabilities
from archiver.core.errors import (
    AccessRefused,
    ArchiverError,
    BodyShort,
    BucketMissing,
    ClockSkewed,
    KeyHidden,
    KeyTaken,
    ObjectTooLarge,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    StoreMisfit,
)
from archiver.core.manifest_bounds import LARGEST
from archiver.demo.seaweed import S3Server
from archiver.ports.runtime import Checkpoint, EventLog, unobserved
from tests.fakes.object_store import MemoryBody, MemoryJournal
from tests.fakes.s3_proxy import (
    Action,
    Exchange,
    S3Proxy,
    answer,
    drop_after,
    drop_before,
    emptied,
    flip_bit,
    hold,
    operation_of,
    refuse,
    refuse_after,
    renamed,
    truncate,
    without,
)
from tests.fakes.s3_ways import Ways, ways_to
from tests.fakes.scripted import Reply
from tests.house import BufferBudget, s3_client, s3_store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1024 * 1024
SINGLE = MIB
PART = 5 * MIB
SMALL, LARGE = 1000, PART + 1000
KEY = "a/b.mp3"
EVER = 1000
READ_SECONDS = 2


@lru_cache(8)
def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


class Log:
    """Notes the names of events."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def debug(self, event: str, **fields: object) -> None:
        self.events.append(event)

    info = warning = error = exception = debug


@dataclass
class Bench:
    """The store behind a proxy, and the way past the proxy."""

    proxy: S3Proxy
    direct: S3Client
    through: S3Client
    bucket: str
    budget: BufferBudget = field(default_factory=lambda: BufferBudget(32 * MIB))
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    slept: list[float] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    stores: list[S3Store] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = self.store_with(checkpoint=self.steps.append)

    def store_with(self, *, checkpoint: Checkpoint = unobserved, log: EventLog | None = None) -> S3Store:
        store = s3_store(
            self.through,
            self.bucket,
            buffers=self.budget,
            sleep=self.slept.append,
            single_max=SINGLE,
            part=PART,
            log=log,
            checkpoint=checkpoint,
        )
        self.stores.append(store)
        return store

    def close(self) -> None:
        for store in self.stores:
            store.close()

    def put(self, data: bytes) -> None:
        stored = self.store.put(KEY, MemoryBody(data), metadata={}, journal=self.journal)
        assert stored.size == len(data)

    def warm_up(self) -> None:
        """Put another object first: from then on boto3 has shown the way."""
        self.store.put("a/first", MemoryBody(b"1"), metadata={}, journal=self.journal)
        self.proxy.calm()

    def versions(self) -> list[bytes]:
        """The bytes of every version that ever stood under KEY."""
        found = self.direct.list_object_versions(Bucket=self.bucket, Prefix=KEY).get("Versions", [])
        bodies = []
        for version in found:
            with self.direct.get_object(Bucket=self.bucket, Key=KEY, VersionId=version["VersionId"])["Body"] as body:
                bodies.append(body.read())
        return bodies

    def open_uploads(self) -> list[tuple[str, str]]:
        return [(key, upload) for key, upload, _ in self.store.uploads("")]


@pytest.fixture(scope="module")
def ways(s3_server: S3Server) -> Iterator[Ways]:
    with ways_to(s3_server, read_timeout=READ_SECONDS) as ways:
        yield ways


@pytest.fixture
def bench(ways: Ways, bucket: str) -> Iterator[Bench]:
    ways.direct.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ways.proxy.calm()
    with closing(Bench(ways.proxy, ways.direct, ways.through, bucket)) as bench:
        yield bench


UNSEEN: dict[str, Action] = {
    "500": refuse(500, "InternalError"),
    "503": refuse(503, "SlowDown"),
    "503 without a code": refuse(503, ""),
    "429": refuse(429, "TooManyRequests"),
    "409": refuse(409, "ConditionalRequestConflict"),
    "412 though nothing stands": refuse(412, "PreconditionFailed"),
    "400 RequestTimeout": refuse(400, "RequestTimeout"),
    "418 nobody has heard of": refuse(418, "Teapot"),
    "dropped before": drop_before,
    "truncated": truncate,
}
COMMITTED: dict[str, Action] = {
    "500 after": refuse_after(500, "InternalError"),
    "412 after": refuse_after(412, "PreconditionFailed"),
    "dropped after": drop_after,
    "answer held back": hold(READ_SECONDS + 0.5),
}
CORRUPTED: dict[str, Action] = {"flipped bit": flip_bit}
ON_COMPLETE: dict[str, Action] = {
    "200 with an error": refuse(200, "InternalError"),
    "200 with an error after": refuse_after(200, "InternalError"),
    "200 with nothing": emptied,
    "NoSuchUpload after": refuse_after(404, "NoSuchUpload"),
    "200 unheard": refuse(200, "SlowDown"),
}


def cases(operation: str, *tables: dict[str, Action]) -> list[object]:
    return [
        pytest.param(operation, action, id=f"{operation}-{name}") for table in tables for name, action in table.items()
    ]


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        *cases("PutObject", UNSEEN, COMMITTED, CORRUPTED),
        *cases("HeadObject", {"500": UNSEEN["500"], "dropped": drop_before}),
    ],
)
def test_a_single_put_under_a_passing_fault_ends_right_and_alone(bench: Bench, operation: str, action: Action) -> None:
    if operation == "HeadObject":
        bench.proxy.on("PutObject", drop_after)
    bench.proxy.on(operation, action)
    bench.put(noise(SMALL))
    assert bench.versions() == [noise(SMALL)]
    assert operation in bench.proxy.operations()


@pytest.mark.parametrize(
    ("operation", "action"), cases("PutObject", UNSEEN, COMMITTED, CORRUPTED, {"301": refuse(301, "PermanentRedirect")})
)
def test_a_put_after_others_under_a_passing_fault_ends_right_and_alone(
    bench: Bench, operation: str, action: Action
) -> None:
    bench.warm_up()
    bench.proxy.on(operation, action)
    bench.put(noise(SMALL))
    assert bench.versions() == [noise(SMALL)]
    assert bench.store.put("a/third", MemoryBody(b"3"), metadata={}, journal=bench.journal).size == 1


def test_a_put_after_others_is_one_request_that_says_what_boto3_would_say(bench: Bench, s3_server: S3Server) -> None:
    options = ObjectOptions(storage_class="STANDARD", tags={"app": "stems", "a b": "c/d"})
    data = noise(SMALL)
    content = Content(len(data), hashlib.sha256(data).hexdigest(), memoryview(data))
    labels = Labels("audio/mpeg", {"task-id": "t", "stem": "vocal"})
    client = replace(s3_server, endpoint_url=bench.proxy.url).client()
    with closing(S3Calls.of(client, bench.bucket, options)) as calls:
        for key in ("a/(1) *'!=~.mp3", "a/(2) *'!=~.mp3"):
            assert content.named_by(calls.put(key, content, labels, IfNoneMatch="*"), Capabilities())
        with pytest.raises(Conflict):
            calls.put("a/(2) *'!=~.mp3", content, labels, IfNoneMatch="*")
    first, second, third = (dict(sent.headers) for sent in bench.proxy.requests)
    of_boto3 = {"expect", "amz-sdk-invocation-id", "amz-sdk-request"}
    of_this_call = {"authorization", "x-amz-date"}
    assert "expect" in first
    assert not of_boto3 & set(second)
    assert {name: first[name] for name in set(first) - of_boto3 - of_this_call} == {
        name: second[name] for name in set(second) - of_this_call
    }
    assert set(second) == set(third)
    keys = {entry["Key"] for entry in bench.direct.list_objects_v2(Bucket=bench.bucket)["Contents"]}
    assert keys == {"a/(1) *'!=~.mp3", "a/(2) *'!=~.mp3"}
    tags = bench.direct.get_object_tagging(Bucket=bench.bucket, Key="a/(2) *'!=~.mp3")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == options.tags


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        *cases("CreateMultipartUpload", {name: action for name, action in UNSEEN.items() if name != "truncated"}),
        *cases("UploadPart", UNSEEN, COMMITTED, CORRUPTED),
        *cases("CompleteMultipartUpload", UNSEEN, COMMITTED, CORRUPTED, ON_COMPLETE),
        *cases("HeadObject", {"500": UNSEEN["500"], "dropped": drop_before}),
        *cases("AbortMultipartUpload", {"500": UNSEEN["500"]}),
    ],
)
def test_a_multipart_put_under_a_passing_fault_ends_right_and_alone(
    bench: Bench, operation: str, action: Action
) -> None:
    if operation == "AbortMultipartUpload":
        bench.proxy.on("CompleteMultipartUpload", drop_after)
    bench.proxy.on(operation, action)
    bench.put(noise(LARGE))
    assert bench.versions() == [noise(LARGE)]
    assert bench.open_uploads() == bench.journal.open == []
    assert len(bench.journal.ever) == 1


@pytest.mark.parametrize("looks", [0, 4, 5, 6])
def test_a_completion_whose_answer_was_lost_and_whose_upload_is_gone_is_looked_at_and_not_sent_anew(
    bench: Bench, looks: int
) -> None:
    """However long the store shows nothing: once the abort says that no upload is left."""
    bench.proxy.on("CompleteMultipartUpload", drop_after)
    bench.proxy.on("CompleteMultipartUpload", refuse(500, "InternalError"), nth=2, times=EVER)
    bench.proxy.on("HeadObject", refuse(500, "InternalError"), times=looks)
    bench.proxy.on("AbortMultipartUpload", refuse(404, "NoSuchUpload"), times=EVER)
    if looks > 5:
        with pytest.raises(StoreBusy):
            bench.put(noise(LARGE))
    else:
        bench.put(noise(LARGE))
    assert bench.proxy.operations().count("CreateMultipartUpload") == 1
    assert bench.versions() == [noise(LARGE)]
    assert bench.journal.open == []


def test_a_proven_object_counts_though_its_upload_cannot_be_aborted_now(bench: Bench) -> None:
    bench.proxy.on("CompleteMultipartUpload", drop_after)
    bench.proxy.on("AbortMultipartUpload", refuse(500, "InternalError"), times=EVER)
    bench.put(noise(LARGE))
    assert bench.versions() == [noise(LARGE)]
    assert len(bench.journal.open) == 1, "the next sweep aborts it"


@pytest.mark.parametrize(("operation", "action"), cases("CreateMultipartUpload", COMMITTED))
def test_an_upload_whose_id_was_never_heard_is_still_listed(bench: Bench, operation: str, action: Action) -> None:
    bench.proxy.on(operation, action)
    bench.put(noise(LARGE))
    ((key, upload_id, begun),) = bench.store.uploads("a/")
    assert key == KEY
    assert abs((datetime.now(UTC) - begun).total_seconds()) < 60
    bench.store.abort(key, upload_id)
    assert bench.open_uploads() == []
    assert bench.versions() == [noise(LARGE)]


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize(
    ("action", "error"),
    [
        (refuse(500, "InternalError"), StoreBusy),
        (refuse(503, "SlowDown"), StoreBusy),
        (refuse(412, "PreconditionFailed"), StoreBusy),
        (drop_before, StoreBusy),
        (flip_bit, StoreCorrupt),
        (refuse(403, "AccessDenied"), AccessRefused),
        (refuse(403, "RequestTimeTooSkewed"), ClockSkewed),
        (refuse(404, "NoSuchBucket"), BucketMissing),
        (refuse(501, "NotImplemented"), StoreMisfit),
        (refuse(413, "EntityTooLarge"), ObjectTooLarge),
        (refuse(413, "413"), ObjectTooLarge),
        (refuse(507, "InsufficientStorage"), StoreFull),
        (refuse(403, "QuotaExceeded"), StoreFull),
    ],
)
def test_a_put_under_a_lasting_fault_stores_nothing_and_says_why(
    bench: Bench, size: int, action: Action, error: type[ArchiverError]
) -> None:
    bench.proxy.on("UploadPart" if size == LARGE else "PutObject", action, times=EVER)
    with pytest.raises(error) as caught:
        bench.put(noise(size))
    assert type(caught.value) is error or error is StoreBusy
    assert bench.versions() == []
    assert bench.open_uploads() == bench.journal.open == []
    assert sum(bench.slept) < 20
    assert bench.budget.lent_bytes == 0


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_lost_answer_beside_a_different_object_is_refused(bench: Bench, size: int) -> None:
    bench.direct.put_object(Bucket=bench.bucket, Key=KEY, Body=noise(size, seed=2))
    bench.proxy.on("CompleteMultipartUpload" if size == LARGE else "PutObject", drop_before)
    with pytest.raises(KeyTaken, match=f"{size} bytes"):
        bench.put(noise(size))
    assert bench.versions() == [noise(size, seed=2)]
    assert bench.open_uploads() == bench.journal.open == []


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_an_object_of_somebody_else_that_may_not_be_looked_at_is_said_to_have_taken_the_key(
    bench: Bench, size: int
) -> None:
    bench.direct.put_object(Bucket=bench.bucket, Key=KEY, Body=noise(size, seed=2))
    bench.proxy.on("CompleteMultipartUpload" if size == LARGE else "PutObject", refuse(412, "PreconditionFailed"))
    bench.proxy.on("HeadObject", refuse(403, "AccessDenied"), times=EVER)
    with pytest.raises(KeyHidden, match="stands there") as caught:
        bench.put(noise(size))
    assert (caught.value.code, caught.value.narrow) == ("store.key_taken", True)


def test_a_sidecar_of_somebody_else_that_may_not_be_read_is_said_to_have_taken_the_key(bench: Bench) -> None:
    bench.direct.put_object(Bucket=bench.bucket, Key=KEY, Body=b"theirs")
    bench.proxy.on("GetObject", refuse(403, "AccessDenied"), times=EVER)
    with pytest.raises(KeyHidden, match="stands there"):
        bench.store.put_document(KEY, b"{}", same=lambda _: False)


def test_a_lost_answer_is_settled_without_sending_again(bench: Bench) -> None:
    bench.proxy.on("PutObject", drop_after)
    bench.put(noise(SMALL))
    assert bench.proxy.operations() == ["PutObject", "HeadObject"]
    assert bench.steps == ["put.begun", "head.checking", "head.checked"]
    assert bench.slept == []


def test_retry_after_is_heeded_and_given_up_when_too_long(bench: Bench) -> None:
    bench.proxy.on("PutObject", refuse(503, "SlowDown", headers=[("Retry-After", "7")]))
    bench.proxy.on("PutObject", refuse(503, "SlowDown", headers=[("Retry-After", "60")]), nth=2)
    with pytest.raises(StoreBusy) as caught:
        bench.put(noise(SMALL))
    assert bench.slept == [7]
    assert caught.value.retry_after == 60


def test_a_refused_look_pauses_the_store_and_does_not_write_again(bench: Bench) -> None:
    bench.proxy.on("PutObject", drop_after)
    bench.proxy.on("HeadObject", refuse(403, "AccessDenied"))
    with pytest.raises(AccessRefused):
        bench.put(noise(SMALL))
    assert bench.proxy.operations().count("PutObject") == 1


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_store_that_names_no_checksums_is_proven_otherwise(bench: Bench, size: int) -> None:
    silent = without("x-amz-checksum-sha256", "x-amz-checksum-crc32", "x-amz-checksum-type")
    bench.proxy.on("*", silent, times=EVER)
    bench.put(noise(size))
    bench.put(noise(size))
    assert bench.versions() == [noise(size)]
    assert ("GetObject" in bench.proxy.operations()) == (size == LARGE)
    with pytest.raises(KeyTaken):
        bench.put(noise(size, seed=2))


def test_a_put_whose_answer_proves_nothing_is_looked_at(bench: Bench) -> None:
    bench.proxy.on("PutObject", without("x-amz-checksum-sha256", "etag"))
    bench.put(noise(SMALL))
    assert bench.proxy.operations() == ["PutObject", "HeadObject"]


@pytest.mark.parametrize("odd", [without("etag"), renamed({"x-amz-checksum-crc32": "AAAAAA=="})])
def test_a_part_whose_answer_does_not_name_it_is_sent_again(bench: Bench, odd: Action) -> None:
    bench.proxy.on("UploadPart", odd)
    bench.put(noise(LARGE))
    assert bench.versions() == [noise(LARGE)]
    assert bench.proxy.operations().count("UploadPart") == 3


def test_a_document_that_the_store_took_but_does_not_show_is_busy(bench: Bench) -> None:
    bench.proxy.on("PutObject", answer(200, {"ETag": '"of something else"'}), times=EVER)
    with pytest.raises(StoreBusy, match="shows no such object"):
        bench.store.put_document(KEY, b"{}", same=lambda theirs: False)
    assert bench.versions() == []


def test_a_read_back_that_breaks_off_is_tried_again(bench: Bench) -> None:
    bench.proxy.on("*", without("x-amz-checksum-sha256", "x-amz-checksum-crc32", "x-amz-checksum-type"), nth=2)
    bench.proxy.on("HeadObject", without("x-amz-checksum-crc32"), times=EVER)
    bench.proxy.on("GetObject", drop_before)
    bench.put(noise(LARGE))
    assert bench.proxy.operations().count("GetObject") == 2


@pytest.mark.parametrize("error", [BodyShort("cut"), KeyboardInterrupt()])
def test_an_upload_that_cannot_be_aborted_stays_in_the_journal(bench: Bench, error: BaseException) -> None:
    log = Log()
    bench.store = bench.store_with(log=log)
    bench.proxy.on("AbortMultipartUpload", refuse(500, "InternalError"), times=EVER)
    body = MemoryBody(noise(LARGE), fails_at=LARGE, fails_with=error)
    with pytest.raises(type(error)):
        bench.store.put(KEY, body, metadata={}, journal=bench.journal)
    assert bench.journal.open == bench.open_uploads()
    assert len(bench.journal.open) == 1
    assert log.events == ["upload.abort_deferred"]
    bench.proxy.calm()
    bench.store.abort(*bench.journal.open[0])
    assert bench.open_uploads() == []


@pytest.mark.parametrize(
    "step", ["multipart.created", "multipart.part", "multipart.completing", "multipart.completed", "head.checked"]
)
def test_an_exception_at_any_step_of_a_multipart_leaves_no_upload_open(bench: Bench, step: str) -> None:
    class Stop(BaseException):
        pass

    def stop(at: str) -> None:
        if at == step:
            raise Stop

    bench.store = bench.store_with(checkpoint=stop)
    with pytest.raises(Stop):
        bench.put(noise(LARGE))
    assert bench.open_uploads() == bench.journal.open == []
    assert bench.versions() in ([], [noise(LARGE)])


def test_a_journal_that_cannot_write_stops_the_upload_before_its_first_part(bench: Bench) -> None:
    class Broken(MemoryJournal):
        def opening(self, key: str) -> None:
            pass

        def opened(self, key: str, upload_id: str) -> None:
            super().opened(key, upload_id)
            raise OSError("disk full")

    bench.journal = Broken()
    with pytest.raises(OSError, match="disk full"):
        bench.put(noise(LARGE))
    assert "UploadPart" not in bench.proxy.operations()
    assert bench.open_uploads() == []


def test_an_upload_swept_away_under_us_is_begun_anew_by_the_next_try(bench: Bench) -> None:
    bench.proxy.on("UploadPart", refuse(404, "NoSuchUpload"), nth=2, times=2)
    with pytest.raises(StoreBusy):
        bench.put(noise(LARGE))
    bench.put(noise(LARGE))
    assert bench.versions() == [noise(LARGE)]


def test_an_upload_swept_away_before_its_completion_is_not_completed_again(bench: Bench) -> None:
    bench.proxy.on("CompleteMultipartUpload", refuse(404, "NoSuchUpload"), times=EVER)
    with pytest.raises(StoreBusy):
        bench.put(noise(LARGE))
    assert bench.proxy.operations().count("CompleteMultipartUpload") == 1
    assert bench.slept == []
    assert bench.journal.open == []


@pytest.mark.parametrize(
    "action", [*UNSEEN.values(), *COMMITTED.values(), *CORRUPTED.values()], ids=[*UNSEEN, *COMMITTED, *CORRUPTED]
)
def test_a_document_under_a_passing_fault_is_written_once(bench: Bench, action: Action) -> None:
    document = b'{"stems": []}' * 10
    bench.proxy.on("PutObject", action)
    bench.store.put_document(KEY, document, same=lambda _: False)
    assert bench.versions() == [document]
    assert bench.steps[-1] == "document.put"


@pytest.mark.parametrize(
    "action", [*UNSEEN.values(), *COMMITTED.values(), *CORRUPTED.values()], ids=[*UNSEEN, *COMMITTED, *CORRUPTED]
)
def test_a_document_replaced_under_a_passing_fault_is_replaced_once(bench: Bench, action: Action) -> None:
    document = b'{"stems": []}' * 10
    bench.store.put_document(KEY, b"old", same=lambda _: False)
    bench.proxy.on("PutObject", action, nth=2)
    bench.store.put_document(KEY, document, same=lambda _: False)
    assert sorted(bench.versions()) == sorted([b"old", document])


def test_a_document_changed_by_another_meanwhile_is_looked_at_again(bench: Bench) -> None:
    bench.store.put_document(KEY, b"old", same=lambda _: False)
    seen: list[bytes] = []

    def same(theirs: bytes) -> bool:
        seen.append(theirs)
        if theirs == b"old":
            bench.direct.put_object(Bucket=bench.bucket, Key=KEY, Body=b"theirs")
        return False

    bench.store.put_document(KEY, b"ours", same=same)
    assert seen == [b"old", b"theirs"]
    with bench.direct.get_object(Bucket=bench.bucket, Key=KEY)["Body"] as body:
        assert body.read() == b"ours"


def test_an_object_too_large_for_a_document_is_left(bench: Bench) -> None:
    bench.direct.put_object(Bucket=bench.bucket, Key=KEY, Body=noise(LARGEST + 1))
    with pytest.raises(KeyTaken):
        bench.store.put_document(KEY, b"ours", same=lambda _: False)
    assert bench.versions() == [noise(LARGEST + 1)]


@pytest.mark.parametrize("operation", ["*", "HeadObject"])
def test_a_gateways_page_in_place_of_an_object_is_busy_and_never_a_different_object(
    bench: Bench, operation: str
) -> None:
    if operation == "HeadObject":
        bench.proxy.on("PutObject", drop_before, times=EVER)
    bench.proxy.on(operation, answer(200, {"Content-Type": "text/html"}), times=EVER)
    with pytest.raises(StoreBusy, match="ETag"):
        bench.put(noise(SMALL))


def test_an_error_that_repeats_a_session_token_is_told_without_it(bench: Bench) -> None:
    token = "IQoJb3JpZ2luX2VjEPr//////////wEaCXVzLWVhc3QtMSJHMEUCIQD+planted=="
    body = f"<Error><Code>ExpiredToken</Code><Message>expired: {token}</Message></Error>"
    bench.proxy.on("PutObject", lambda _: Reply(body.encode(), 400, [("Content-Type", "application/xml")]))
    with pytest.raises(AccessRefused, match=r"expired: \*\*\*"):
        bench.put(noise(SMALL))


def test_a_store_that_redirects_every_call_is_asked_once_for_its_region(bench: Bench, s3_server: S3Server) -> None:
    client = s3_client(endpoint_url=bench.proxy.url, region=s3_server.region, session=s3_server.session)
    with closing(client):
        bench.through = client
        bench.__post_init__()
        bench.proxy.on("*", refuse(301, "PermanentRedirect"), times=EVER)
        with pytest.raises(BucketMissing):
            bench.put(noise(SMALL))
    assert bench.proxy.operations().count("HeadBucket") == 1


@pytest.mark.parametrize(("size", "sends"), [(SMALL, "PutObject"), (LARGE, "UploadPart")])
def test_a_client_that_signs_bodies_signs_those_of_the_quick_calls_too(
    bench: Bench, s3_server: S3Server, size: int, sends: str
) -> None:
    client = s3_client(
        endpoint_url=bench.proxy.url, region=s3_server.region, session=s3_server.session, signs_payload=True
    )
    with closing(client):
        bench.through = client
        bench.__post_init__()
        bench.put(noise(size))
        bench.store.put("a/second", MemoryBody(noise(size, 2)), metadata={}, journal=bench.journal)
    sent = [dict(each.headers) for each in bench.proxy.requests if operation_of(each) == sends]
    quick = [each for each in sent if "amz-sdk-request" not in each]
    assert 0 < len(quick) < len(sent)
    assert all(len(each["x-amz-content-sha256"]) == 64 for each in sent)
    assert not any("expect" in each for each in sent)
    assert bench.versions() == [noise(size)]


def test_a_store_that_refuses_to_be_asked_first_is_not_asked(bench: Bench, s3_server: S3Server) -> None:
    def expects(exchange: Exchange) -> Reply:
        return Reply(b"", 417) if "expect" in exchange.request.headers else exchange.forward()

    client = s3_client(endpoint_url=bench.proxy.url, region=s3_server.region, session=s3_server.session)
    with closing(client):
        bench.through = client
        bench.__post_init__()
        bench.proxy.on("*", expects, times=EVER)
        bench.put(noise(LARGE))
    assert bench.versions() == [noise(LARGE)]


@pytest.mark.parametrize(("size", "sends"), [(SMALL, "PutObject"), (LARGE, "UploadPart")])
def test_the_client_of_production_signs_no_body_and_yet_a_flipped_bit_is_caught(
    bench: Bench, s3_server: S3Server, size: int, sends: str
) -> None:
    client = s3_client(endpoint_url=bench.proxy.url, region=s3_server.region, session=s3_server.session)
    with closing(client):
        bench.through = client
        bench.__post_init__()
        bench.proxy.on(sends, flip_bit)
        bench.proxy.on(sends, drop_after, nth=2)
        bench.proxy.on("CompleteMultipartUpload", drop_after)
        bench.put(noise(size))
    assert bench.versions() == [noise(size)]
    assert bench.open_uploads() == bench.journal.open == []
    sent = next(request for request in bench.proxy.requests if operation_of(request) == sends)
    assert sent.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert "stem-archiver-test/1" in sent.headers["user-agent"]


def test_fifty_mebibytes_take_no_more_memory_than_a_buffer(bench: Bench, s3_server: S3Server) -> None:
    class Endless(MemoryBody):
        """50 MiB that are never in memory at once."""

        def readinto(self, buffer: memoryview) -> int:
            count = min(len(buffer), 50 * MIB - self.size)
            buffer[:count] = noise(PART)[:count] if count <= PART else bytes(count)
            self._digest.update(buffer[:count])
            self.size += count
            return count

    noise(PART)
    tracemalloc.start()
    with closing(s3_server.client()) as client:
        bench.through = client
        bench.__post_init__()
        body = Endless(b"x")
        body.length = 50 * MIB
        stored = bench.store.put(KEY, body, metadata={}, journal=bench.journal)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stored.size == 50 * MIB
    assert peak < 2.5 * PART
    assert bench.budget.held_bytes == PART
