"""What a store is proven to do: a right one all of it, each kind of wrong one all but what it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from archiver.core.capabilities import Capabilities, Listing, Multipart
from archiver.core.errors import AccessRefused, BucketMissing, CredentialsRefused, StoreBusy, StoreCorrupt, StorePaused
from archiver.core.keys import multipart_probe_key, probe_key
from tests.fakes.careless_s3 import CarelessS3
from tests.fakes.s3_proxy import (
    Action,
    Exchange,
    drop_after,
    drop_before,
    flip_bit,
    operation_of,
    refuse,
    refuse_after,
)
from tests.fakes.s3_ways import CarelessBench, Ways
from tests.fakes.scripted import Reply
from tests.house import s3_store

if TYPE_CHECKING:
    pass

PREFIX = "stems/"
KEY = probe_key(PREFIX)
LARGE = multipart_probe_key(PREFIX)
EVER = 1000


@dataclass
class Bench(CarelessBench):
    """A store behind a proxy, to be proven."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.store = s3_store(self.ways.through, self.bucket)

    def prove(self) -> Capabilities:
        return self.store.prove(KEY)


@pytest.fixture
def bench(ways: Ways, bucket: str) -> Iterator[Bench]:
    bench = Bench(ways, bucket)
    with closing(bench.store):
        yield bench


def test_a_right_store_is_proven_to_do_all_of_it_again_and_again(bench: Bench) -> None:
    for _ in range(2):
        assert bench.prove() == Capabilities()
    assert bench.left_open() == 0
    keys = {entry["Key"] for entry in bench.direct.list_objects_v2(Bucket=bench.bucket)["Contents"]}
    assert keys == {KEY, LARGE}
    assert {operation_of(sent) for sent in bench.proxy.requests if sent.method == "DELETE"} == {"AbortMultipartUpload"}


def test_a_right_store_is_sent_the_large_part_once(bench: Bench) -> None:
    bench.prove()
    large = [sent for sent in bench.proxy.requests if int(sent.headers.get("content-length", 0)) > 5_000_000]
    assert len(large) == 1


Change = Callable[[CarelessS3], None]
WRONG: dict[str, tuple[Change, dict[str, object]]] = {
    "overwrites": (CarelessS3.overwrites, {"create_only": False}),
    "refuses If-None-Match": (
        lambda it: it.refuses("PutObject", if_none_match="*"),
        {"create_only": False},
    ),
    "overwrites on completion": (CarelessS3.overwrites_on_completion, {"create_only_multipart": False}),
    "refuses If-None-Match on completion": (
        lambda it: it.refuses("CompleteMultipartUpload", if_none_match="*"),
        {"create_only_multipart": False},
    ),
    "takes any checksum": (
        CarelessS3.takes_any_checksum,
        {"checks_sha256": False, "names_sha256": False},
    ),
    "echoes": (lambda it: it.takes_any_checksum(echoes=True), {"checks_sha256": False, "echoes": True}),
    "takes any whole": (CarelessS3.takes_any_whole, {"checks_whole": False}),
    "ignores If-Match": (CarelessS3.ignores_if_match, {"replaces": False}),
    "refuses If-Match": (lambda it: it.refuses("PutObject", if_match="*"), {"replaces": False}),
    "refuses CRC-32": (
        lambda it: it.refuses("CreateMultipartUpload", 400, "InvalidRequest", x_amz_checksum_algorithm="CRC32"),
        {"multipart": Multipart.CRC64NVME},
    ),
    "refuses to complete with CRC-32": (
        lambda it: it.refuses("CompleteMultipartUpload", 400, "InvalidPart", x_amz_checksum_crc32="*"),
        {"multipart": Multipart.CRC64NVME},
    ),
    "refuses any checksum of the whole": (
        lambda it: it.refuses("CreateMultipartUpload", 400, "InvalidRequest", x_amz_checksum_type="FULL_OBJECT"),
        {"multipart": Multipart.PLAIN, "checks_whole": False},
    ),
    "refuses to complete with any checksum of the whole": (
        lambda it: it.refuses("CompleteMultipartUpload", 400, "InvalidPart", x_amz_checksum_type="FULL_OBJECT"),
        {"multipart": Multipart.PLAIN, "checks_whole": False},
    ),
    "has no uploads": (
        lambda it: it.refuses("CreateMultipartUpload"),
        {"multipart": Multipart.NONE, "listing": Listing.NONE},
    ),
    "aborts nothing": (
        lambda it: it.refuses("AbortMultipartUpload", 405, "MethodNotAllowed"),
        {"multipart": Multipart.NONE, "listing": Listing.NONE},
    ),
    "lists by exact key": (lambda it: it.lists(lambda prefix: prefix == LARGE), {"listing": Listing.KEY}),
    "lists only all": (lambda it: it.lists(lambda prefix: not prefix), {"listing": Listing.WHOLE}),
    "lists no uploads": (lambda it: it.refuses("ListMultipartUploads"), {"listing": Listing.NONE}),
    "names no ETag": (
        CarelessS3.names_no_etag,
        {"names_etag": False, "etag_is_md5": False, "names_sha256": False, "replaces": False},
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_store_is_proven_to_lack_just_what_it_lacks(bench: Bench, name: str) -> None:
    change, lacks = WRONG[name]
    change(bench.careless)
    known = bench.prove()
    if known.multipart in (Multipart.NONE, Multipart.PLAIN):
        known = replace(known, checks_parts=True, checks_whole=bool(lacks.get("checks_whole", True)))
    assert known == replace(Capabilities(), **lacks)  # type: ignore[arg-type]  # a row of a table
    assert bench.prove() is not None
    expected = 2 if name == "aborts nothing" else 0  # one a proof, and none with parts: aborting is tried first
    assert bench.left_open() == expected


DISTURBANCES = (refuse(500, "InternalError"), refuse(503, "SlowDown"), refuse(418, "Teapot"), drop_before)
OPERATIONS = (
    "PutObject",
    "GetObject",
    "HeadObject",
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "ListMultipartUploads",
)


@pytest.mark.parametrize(("operation", "action"), [*zip(OPERATIONS, DISTURBANCES * 2, strict=True)], ids=OPERATIONS)
def test_a_lasting_disturbance_is_no_verdict(bench: Bench, operation: str, action: Action) -> None:
    bench.proxy.on(operation, action, times=EVER)
    with pytest.raises(StoreBusy):
        bench.prove()


@pytest.mark.parametrize(
    "action",
    [refuse(503, "SlowDown"), drop_before, drop_after, refuse_after(500, "InternalError")],
    ids=["503", "dropped before", "dropped after", "500 after"],
)
@pytest.mark.parametrize("operation", ["PutObject", "CompleteMultipartUpload", "AbortMultipartUpload"])
def test_a_passing_disturbance_changes_nothing_that_is_found(bench: Bench, operation: str, action: Action) -> None:
    for nth in (1, 3):
        bench.proxy.on(operation, action, nth=nth)
    assert bench.prove() == Capabilities()
    assert bench.left_open() == 0


@pytest.mark.parametrize(("operation", "nth"), [("PutObject", 1), ("UploadPart", 2)])
def test_bytes_that_were_damaged_on_the_way_are_no_verdict(bench: Bench, operation: str, nth: int) -> None:
    bench.careless.takes_any_whole()
    bench.proxy.on(operation, flip_bit, nth=nth)
    assert bench.prove().multipart is Multipart.CRC32


def test_a_store_that_always_damages_is_proven_nothing(bench: Bench) -> None:
    bench.careless.flips = True
    bench.careless.takes_any_checksum()
    with pytest.raises(StoreCorrupt):
        bench.prove()


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (refuse(403, "SignatureDoesNotMatch"), CredentialsRefused),
        (refuse(404, "NoSuchBucket"), BucketMissing),
        (refuse(403, "AccessDenied"), AccessRefused),
    ],
)
def test_a_refused_identity_or_bucket_is_raised(bench: Bench, refusal: Action, error: type[StorePaused]) -> None:
    bench.proxy.on("*", refusal, times=EVER)
    with pytest.raises(error):
        bench.prove()


def test_a_policy_that_denies_writes_without_a_condition_stops_no_proof(bench: Bench) -> None:
    denied = refuse(403, "AccessDenied")

    def guarded(exchange: Exchange) -> Reply:
        fields = {name.lower() for name, _ in exchange.request.fields}
        return exchange.forward() if "if-none-match" in fields else denied(exchange)

    bench.proxy.on("PutObject", guarded, times=EVER)
    bench.proxy.on("CompleteMultipartUpload", guarded, times=EVER)
    for _ in range(2):
        assert bench.prove() == replace(Capabilities(), replaces=False)
    assert bench.left_open() == 0
