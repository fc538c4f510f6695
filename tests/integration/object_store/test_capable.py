"""A store that is less than Amazon's is written to as it can: never wrong bytes, never over another's object."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest

from archiver.adapters.object_store import S3Store
from archiver.core.capabilities import Capabilities, CreateOnly, Listing, Multipart
from archiver.core.errors import (
    ArchiverError,
    KeyTaken,
    StoreBusy,
    StoreCorrupt,
    StoreMisfit,
    StoreUnfit,
    StoreUnproven,
    Verdict,
)
from archiver.core.refusals import NoMultipart, ObjectDamaged
from tests.fakes.events import Events
from tests.fakes.object_store import MemoryBody, MemoryJournal
from tests.fakes.s3_proxy import drop_after, refuse
from tests.fakes.s3_ways import CarelessBench, Ways
from tests.house import BufferBudget, s3_store

if TYPE_CHECKING:
    pass

MIB = 1024 * 1024
SMALL, LARGE = 1000, 5 * MIB + 1000
KEY = "stems/a/vocal.mp3"
EVER = 1000
BEST = CreateOnly.BEST_EFFORT


@lru_cache(8)
def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass
class Bench(CarelessBench):
    """A careless store behind a proxy, and our stores on it."""

    journal: MemoryJournal = field(default_factory=MemoryJournal)
    stores: list[S3Store] = field(default_factory=list)

    def store(self, demand: CreateOnly = CreateOnly.REQUIRED, **lacks: Any) -> S3Store:  # noqa: ANN401 - any of them
        sizes: dict[str, Any] = {"single_max": MIB, "part": 5 * MIB}
        sizes["buffers"] = BufferBudget(lacks.pop("buffers", 32 * MIB))
        sizes["sleep"] = lacks.pop("sleep", lambda _: None)
        sizes["log"] = lacks.pop("log", None)
        known = replace(Capabilities(), **lacks)
        self.stores.append(s3_store(self.ways.through, self.bucket, known=known, demand=demand, **sizes))
        return self.stores[-1]

    def close(self) -> None:
        for store in self.stores:
            store.close()

    def put(self, store: S3Store, data: bytes, *, announced: bool = True) -> None:
        body = MemoryBody(data, announced=announced)
        assert store.put(KEY, body, metadata={}, journal=self.journal).size == len(data)

    def standing(self, key: str = KEY) -> bytes | None:
        try:
            with self.direct.get_object(Bucket=self.bucket, Key=key)["Body"] as body:
                return body.read()
        except self.direct.exceptions.NoSuchKey:
            return None

    def theirs(self, data: bytes) -> None:
        self.direct.put_object(Bucket=self.bucket, Key=KEY, Body=data)

    def nothing_left(self) -> bool:
        return not self.left_open() and not self.journal.open


@pytest.fixture
def bench(ways: Ways, bucket: str) -> Iterator[Bench]:
    with closing(Bench(ways, bucket)) as bench:
        yield bench


# ---------------------------------------------------------------- what is written at all


def test_nothing_is_written_before_the_proof(bench: Bench) -> None:
    store = bench.store()
    store._writer = None  # as it is made
    for call in (
        lambda: bench.put(store, noise(SMALL)),
        lambda: store.put_document("m.json", b"{}", same=lambda _: False),
        lambda: store.try_write("t"),
    ):
        with pytest.raises(StoreUnproven):
            call()
    assert store.find(KEY, size=1, sha256="") is None
    assert list(store.uploads("")) == []
    assert set(bench.proxy.operations()) == {"HeadObject", "ListMultipartUploads"}


def test_nothing_is_written_to_a_store_that_overwrites(bench: Bench) -> None:
    store = bench.store(create_only=False)
    with pytest.raises(StoreUnfit):
        bench.put(store, noise(SMALL))
    assert bench.proxy.operations() == []


# ---------------------------------------------------------------- best effort


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_best_effort_leaves_an_object_that_stands_there(bench: Bench, size: int) -> None:
    bench.careless.overwrites()
    bench.careless.overwrites_on_completion()
    store = bench.store(BEST, create_only=False, create_only_multipart=False, replaces=False)
    bench.put(store, noise(size))
    assert bench.standing() == noise(size)
    bench.put(store, noise(size))
    bench.theirs(b"theirs")
    with pytest.raises(KeyTaken):
        bench.put(store, noise(size))
    assert bench.standing() == b"theirs"
    assert bench.nothing_left()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_best_effort_sends_no_condition_that_the_store_refuses(bench: Bench, size: int) -> None:
    bench.careless.refuses("PutObject", if_none_match="*")
    bench.careless.refuses("CompleteMultipartUpload", if_none_match="*")
    store = bench.store(BEST, create_only=False, create_only_multipart=False)
    bench.put(store, noise(size))
    assert bench.standing() == noise(size)


def test_best_effort_keeps_and_replaces_sidecars_after_a_look(bench: Bench) -> None:
    bench.careless.overwrites()
    store = bench.store(BEST, create_only=False, replaces=False)
    assert store.put_document(KEY, b"1", same=lambda _: False).size == 1
    assert store.put_document(KEY, b"22", same=lambda _: True).size == 1
    assert store.put_document(KEY, b"333", same=lambda _: False).size == 3
    assert bench.standing() == b"333"
    store.try_write("t")
    store.try_write(KEY)
    assert (bench.standing("t"), bench.standing()) == (b"{}", b"333")


# ---------------------------------------------------------------- large files


LADDER: dict[str, dict[str, Any]] = {
    "overwrites on completion": {"create_only_multipart": False},
    "no uploads in parts": {"multipart": Multipart.NONE},
}


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("lacks", LADDER.values(), ids=LADDER)
def test_a_large_file_goes_in_one_request_where_parts_are_not_safe(
    bench: Bench, lacks: dict[str, Any], announced: bool
) -> None:
    bench.careless.refuses("CreateMultipartUpload")
    store = bench.store(**lacks)
    bench.put(store, noise(LARGE), announced=announced)
    assert bench.standing() == noise(LARGE)
    assert bench.count("CreateMultipartUpload") == 0
    store.try_write("t")
    with pytest.raises(KeyTaken):
        bench.put(store, noise(LARGE, seed=2), announced=announced)
    assert bench.standing() == noise(LARGE)


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("lacks", LADDER.values(), ids=LADDER)
def test_a_file_too_large_for_one_request_is_refused_for_good(
    bench: Bench, lacks: dict[str, Any], announced: bool
) -> None:
    store = bench.store(buffers=4 * MIB, **lacks)
    body = MemoryBody(noise(LARGE), announced=announced)
    with pytest.raises(NoMultipart) as caught:
        store.put(KEY, body, metadata={}, journal=bench.journal)
    assert (caught.value.verdict, caught.value.code) == (Verdict.REFUSE, "store.no_multipart")
    assert body.size == 0 or not announced, "it was fetched though its length was known"
    assert bench.proxy.operations() == []
    bench.put(store, noise(SMALL))


@pytest.mark.parametrize("flips", [False, True])
def test_parts_are_proven_by_crc64nvme_where_that_is_what_the_store_takes(bench: Bench, *, flips: bool) -> None:
    """A part that was damaged under a right checksum of its own is found by that of the whole."""
    lacks: dict[str, Any] = {"multipart": Multipart.CRC64NVME}
    bench.careless.is_like(replace(Capabilities(), **lacks))
    if flips:
        bench.careless.flips = True
        bench.careless.takes_any_part()
        with pytest.raises(StoreBusy):
            bench.put(bench.store(**lacks), noise(LARGE))
        assert bench.standing() is None
        bench.careless.flips = False
    bench.put(bench.store(**lacks), noise(LARGE))
    assert bench.standing() == noise(LARGE)
    assert "GetObject" not in bench.proxy.operations(), "it was read back though the store proved it"
    assert bench.nothing_left()


def test_parts_are_read_back_where_this_machine_cannot_compute_what_the_store_takes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine of the cluster proved the store; on this one there is no such library."""
    monkeypatch.setitem(sys.modules, "anycrc", None)
    bench.put(bench.store(multipart=Multipart.CRC64NVME), noise(LARGE))
    assert bench.standing() == noise(LARGE)
    assert "GetObject" in bench.proxy.operations()


def test_parts_without_a_checksum_of_the_whole_are_read_back(bench: Bench) -> None:
    bench.careless.refuses("CreateMultipartUpload", 400, "InvalidRequest", x_amz_checksum_type="FULL_OBJECT")
    store = bench.store(multipart=Multipart.PLAIN, checks_whole=False)
    bench.put(store, noise(LARGE))
    assert bench.standing() == noise(LARGE)
    assert bench.count("GetObject") == 1
    assert bench.nothing_left()


def test_a_store_that_begins_to_refuse_uploads_still_takes_a_trial_write(bench: Bench) -> None:
    bench.careless.refuses("CreateMultipartUpload")
    store = bench.store()
    with pytest.raises(StoreMisfit) as caught:
        bench.put(store, noise(LARGE))
    assert caught.value.narrow
    store.try_write("t")


@pytest.mark.parametrize(
    "code", ["NotImplemented", "InvalidRequest", "InvalidArgument", "InvalidPart", "EntityTooLarge"]
)
@pytest.mark.parametrize(("operation", "size"), [("PutObject", SMALL), ("CompleteMultipartUpload", LARGE)])
def test_a_refused_operation_may_be_about_one_file_alone(bench: Bench, code: str, operation: str, size: int) -> None:
    bench.proxy.on(operation, refuse(501 if code == "NotImplemented" else 400, code), times=EVER)
    with pytest.raises(StoreMisfit) as caught:
        bench.put(bench.store(), noise(size))
    assert caught.value.narrow
    assert bench.count(operation) == 1
    assert bench.nothing_left()


# ---------------------------------------------------------------- proof means proof


@pytest.mark.parametrize("echoes", [True, False])
def test_a_checksum_that_the_store_may_have_echoed_proves_nothing(bench: Bench, echoes: bool) -> None:
    bench.careless.takes_any_checksum(echoes=echoes)
    bench.careless.flips = True
    store = bench.store(checks_sha256=False, echoes=echoes)
    with pytest.raises(StoreCorrupt):
        bench.put(store, noise(SMALL))
    assert bench.count("PutObject") == 5, "each try replaced the damaged object"
    bench.careless.flips = False
    bench.put(store, noise(SMALL))
    assert bench.standing() == noise(SMALL)


def test_a_byte_that_was_damaged_once_is_mended_at_once(bench: Bench) -> None:
    bench.careless.takes_any_checksum()
    bench.careless.flips = True
    tries: list[float] = []

    def sleep(seconds: float) -> None:
        tries.append(seconds)
        bench.careless.flips = False

    store = bench.store(checks_sha256=False, sleep=sleep)
    bench.put(store, noise(SMALL))
    assert bench.standing() == noise(SMALL)
    assert len(tries) == 1


def test_a_damaged_object_that_cannot_be_replaced_is_named_and_refused(bench: Bench) -> None:
    bench.careless.takes_any_checksum()
    bench.careless.flips = True
    with pytest.raises(ObjectDamaged, match=KEY) as caught:
        bench.put(bench.store(checks_sha256=False, replaces=False), noise(SMALL))
    assert (caught.value.verdict, caught.value.code) == (Verdict.REFUSE, "store.corrupt")


def test_a_damaged_object_is_known_as_ours_by_a_process_that_did_not_write_it(bench: Bench) -> None:
    """Its metadata has the SHA-256 that it should have: another process replaces it, and calls it nobody else's."""
    right = hashlib.sha256(noise(SMALL)).hexdigest()
    bench.direct.put_object(Bucket=bench.bucket, Key=KEY, Body=b"damaged", Metadata={"sha256": right})
    bench.put(bench.store(), noise(SMALL))
    assert bench.standing() == noise(SMALL)
    assert bench.direct.head_object(Bucket=bench.bucket, Key=KEY)["Metadata"] == {"sha256": right}
    bench.direct.put_object(Bucket=bench.bucket, Key=KEY, Body=b"damaged", Metadata={"sha256": right})
    with pytest.raises(ObjectDamaged, match=KEY):
        bench.put(bench.store(replaces=False), noise(SMALL))


@pytest.mark.parametrize("damage", ["flipped", "cut"])
@pytest.mark.parametrize("answer_lost", [True, False])
def test_a_damaged_object_of_an_upload_in_parts_is_known_as_ours_by_a_process_that_did_not_send_it(
    bench: Bench, answer_lost: bool, damage: str
) -> None:
    """The one that sent it died; with it the upload, of which no ledger knows any more."""
    begun = bench.store()
    if answer_lost:
        bench.proxy.on("CompleteMultipartUpload", drop_after)
    bench.put(begun, noise(LARGE))
    metadata = bench.direct.head_object(Bucket=bench.bucket, Key=KEY)["Metadata"]
    bad = noise(LARGE)[:-1] + (b"" if damage == "cut" else bytes([noise(LARGE)[-1] ^ 1]))
    bench.direct.put_object(Bucket=bench.bucket, Key=KEY, Body=bad, Metadata=metadata)
    each: list[dict[str, Any]] = [{}, {"checks_whole": False}, {"replaces": False}]
    for lacks in each:
        with pytest.raises(ObjectDamaged, match=KEY):
            bench.put(bench.store(**lacks), noise(LARGE))
    assert bench.standing() == bad, "how an object begins is too little to write over it"
    bench.direct.delete_object(Bucket=bench.bucket, Key=KEY)
    bench.put(bench.store(), noise(LARGE))
    assert bench.nothing_left()


def test_an_object_in_parts_that_begins_otherwise_is_somebody_elses(bench: Bench) -> None:
    bench.put(bench.store(), noise(LARGE, seed=2))
    with pytest.raises(KeyTaken):
        bench.put(bench.store(), noise(LARGE))
    assert bench.standing() == noise(LARGE, seed=2)


def test_a_damaged_object_of_a_store_that_echoes_our_checksum_is_ours(bench: Bench) -> None:
    """What it names at HEAD is what was sent along with the bytes: it proves nothing of them, but whose they are."""
    bench.careless.takes_any_checksum(echoes=True)
    bench.careless.flips = True
    bench.proxy.on("PutObject", drop_after)
    with pytest.raises(ObjectDamaged):
        bench.put(bench.store(checks_sha256=False, echoes=True, replaces=False), noise(SMALL))
    with pytest.raises(ObjectDamaged):
        bench.put(bench.store(checks_sha256=False, echoes=True, replaces=False), noise(SMALL))


@pytest.mark.parametrize("named", ["0" * 64, "", "as we do"])
def test_an_object_that_names_another_hash_is_somebody_elses(bench: Bench, named: str) -> None:
    bench.direct.put_object(Bucket=bench.bucket, Key=KEY, Body=b"theirs", Metadata={"sha256": named} if named else {})
    with pytest.raises(KeyTaken):
        bench.put(bench.store(), noise(SMALL))
    assert bench.standing() == b"theirs"


def test_an_object_that_another_put_in_the_place_of_a_damaged_one_is_left(bench: Bench) -> None:
    bench.careless.takes_any_checksum()
    bench.careless.flips = True
    store = bench.store(checks_sha256=False)
    with pytest.raises(StoreCorrupt):
        bench.put(store, noise(SMALL))
    bench.theirs(b"theirs")
    bench.careless.flips = False
    with pytest.raises(KeyTaken):
        bench.put(store, noise(SMALL))
    assert bench.standing() == b"theirs"


def test_a_damaged_part_is_found_by_reading_back_and_the_next_upload_replaces_it(bench: Bench) -> None:
    bench.careless.takes_any_part()
    bench.careless.takes_any_whole()
    bench.careless.flips = True
    store = bench.store(checks_parts=False, checks_whole=False)
    with pytest.raises(StoreCorrupt):
        bench.put(store, noise(LARGE))
    assert bench.standing() not in (None, noise(LARGE))
    bench.careless.flips = False
    bench.put(store, noise(LARGE))
    assert bench.standing() == noise(LARGE)
    assert bench.nothing_left()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_store_without_etags_is_read_back(bench: Bench, size: int) -> None:
    bench.careless.names_no_etag()
    lacks: dict[str, Any] = {"names_etag": False, "etag_is_md5": False, "names_sha256": False, "replaces": False}
    store = bench.store(checks_sha256=False, checks_whole=False, **lacks)
    bench.proxy.on("PutObject", drop_after)
    bench.put(store, noise(size))
    bench.put(store, noise(size))
    assert bench.standing() == noise(size)
    with pytest.raises(KeyTaken):
        bench.put(store, noise(size, seed=2))
    assert store.find(KEY, size=size + 1, sha256="") is None


# ---------------------------------------------------------------- sidecars, uploads


def test_a_sidecar_is_replaced_without_a_condition_where_there_is_none(bench: Bench) -> None:
    bench.careless.refuses("PutObject", if_match="*")
    store = bench.store(replaces=False)
    store.put_document(KEY, b"old", same=lambda _: False)
    store.put_document(KEY, b"newer", same=lambda _: False)
    assert bench.standing() == b"newer"
    store.put_document(KEY, b"newest", same=lambda _: True)
    assert bench.standing() == b"newer"


def test_a_sidecar_that_was_damaged_on_the_way_is_written_again(bench: Bench) -> None:
    bench.careless.takes_any_checksum()
    bench.careless.flips = True

    def sleep(_: float) -> None:
        bench.careless.flips = False

    store = bench.store(checks_sha256=False, sleep=sleep)
    store.put_document(KEY, b"the sidecar", same=lambda _: False)
    assert bench.standing() == b"the sidecar"


@pytest.mark.parametrize("way", Listing)
def test_open_uploads_are_listed_as_the_store_shows_them(bench: Bench, way: Listing) -> None:
    if way is not Listing.PREFIX:
        bench.careless.lists(lambda prefix: way is Listing.WHOLE and not prefix)
    for key in (KEY, "elsewhere/b"):
        bench.direct.create_multipart_upload(Bucket=bench.bucket, Key=key)
    seen = [key for key, _, _ in bench.store(listing=way).uploads("stems/")]
    assert seen == ([KEY] if way in (Listing.PREFIX, Listing.WHOLE) else [])


def test_an_abort_that_says_404_after_a_lost_completion_is_success(bench: Bench) -> None:
    bench.proxy.on("CompleteMultipartUpload", drop_after)
    bench.proxy.on("AbortMultipartUpload", refuse(404, "NoSuchUpload"), times=EVER)
    log = Events()
    bench.put(bench.store(log=log), noise(LARGE))
    assert log.of("upload.abort_deferred") == [], "nobody need look for it"
    assert bench.count("CreateMultipartUpload") == 1
    assert bench.nothing_left()


@pytest.mark.parametrize("demand", CreateOnly)
@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_store_lacks_no_wrong_bytes_are_called_right(bench: Bench, seed: int, demand: CreateOnly) -> None:
    """Of every mixture of lacks: bytes that are called stored are ours, and another's object stays as it was."""
    chance = random.Random(seed)
    names = ("create_only", "checks_sha256", "names_sha256", "replaces", "create_only_multipart", "checks_whole")
    lacks: dict[str, Any] = {name: chance.random() < 0.6 for name in names}
    lacks["multipart"] = chance.choice(list(Multipart))
    bench.careless.is_like(replace(Capabilities(), **lacks))
    store, size = bench.store(demand, **lacks), chance.choice([SMALL, LARGE])
    for flips in (True, False):
        bench.careless.flips = flips
        allowed = (StoreUnfit, ObjectDamaged, StoreBusy) if flips else (StoreUnfit, ObjectDamaged)
        with suppress(*allowed):
            bench.put(store, noise(size))
            assert bench.standing() == noise(size)
    bench.theirs(b"theirs")
    with pytest.raises(ArchiverError):
        bench.put(store, noise(size))
    assert bench.standing() == b"theirs"
    assert bench.nothing_left()
