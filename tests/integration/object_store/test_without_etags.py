"""A store that names no ETag in any answer: objects are proven by checksum or read back, none is overwritten."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import pytest

from archiver.adapters.object_store import S3Store
from archiver.core.capabilities import Capabilities, CreateOnly, Multipart
from archiver.core.errors import KeyTaken, StoreCorrupt
from archiver.core.keys import probe_key
from archiver.core.refusals import NoMultipart, ObjectDamaged
from archiver.demo.seaweed import S3Server
from tests.fakes import s3_servers as servers
from tests.fakes.object_store import MemoryBody, MemoryJournal
from tests.fakes.s3_damage import MODES, without_etags
from tests.fakes.s3_proxy import Action, Rule, S3Proxy, drop_after, flip_bit, without
from tests.house import BufferBudget, s3_client, s3_store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1024 * 1024
SMALL, LARGE = 1000, 5 * MIB + 1000
PROBE = probe_key("p/")
KEY = "p/t/vocal.mp3"
EVER = 1000
EVERY_RUN = {"moto"}
"""One that checks no checksum, and names none: all rests on reading back."""
NAMES = [
    pytest.param(name, marks=[] if name in EVERY_RUN else [pytest.mark.slow, pytest.mark.timeout(300)])
    for name in servers.ALL
]


@lru_cache(8)
def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass
class Bench:
    """The store of production, and before it a proxy that takes every ETag away."""

    proxy: S3Proxy
    direct: S3Client
    bucket: str
    store: S3Store
    known: Capabilities

    def suffer(self, action: Action, *, times: int = 1) -> Rule:
        """Let what is put suffer that, still without ETags."""
        self.proxy.calm()
        rule = self.proxy.on("PutObject", without_etags(action), times=times)
        MODES["no-etags"].inflict(self.proxy)
        return rule

    @property
    def demand(self) -> CreateOnly:
        return CreateOnly.REQUIRED if self.known.create_only else CreateOnly.BEST_EFFORT

    def put(self, data: bytes) -> None:
        stored = self.store.put(KEY, MemoryBody(data), metadata={"stem": "vocal"}, journal=MemoryJournal())
        assert (stored.size, stored.etag) == (len(data), "")

    def standing(self) -> bytes:
        with self.direct.get_object(Bucket=self.bucket, Key=KEY)["Body"] as body:
            return body.read()

    def document(self, data: bytes, *, same: bool = False) -> int:
        return self.store.put_document(KEY, data, same=lambda _: same).size


@pytest.fixture
def bench_on(s3_servers: Callable[[str], S3Server]) -> Iterator[Callable[[str], Bench]]:
    closers = []

    def make(name: str) -> Bench:
        server, bucket = s3_servers(name), f"bare-{uuid.uuid4().hex[:16]}"
        direct = server.client()
        direct.create_bucket(Bucket=bucket)
        proxy = S3Proxy(upstream=server.endpoint_url)
        through = replace(server, endpoint_url=proxy.url)
        client = s3_client(
            endpoint_url=through.endpoint_url, region=server.region, session=server.session, attempts=1, read_timeout=20
        )
        store = s3_store(client, bucket, buffers=BufferBudget(32 * MIB), single_max=MIB, part=5 * MIB)
        closers.extend([store.close, direct.close, proxy.close])
        MODES["no-etags"].inflict(proxy)
        bench = Bench(proxy, direct, bucket, store, store.prove(PROBE))
        store.rely_on(bench.known, bench.demand)
        return bench

    yield make
    for close in closers:
        close()


@pytest.mark.parametrize("name", NAMES)
def test_store_without_etags_is_proven_to_be_one_and_check_says_what_follows(
    bench_on: Callable[[str], Bench], name: str
) -> None:
    bench = bench_on(name)
    known = bench.known
    assert (known.names_etag, known.etag_is_md5, known.replaces) == (False, False, False)
    assert known.multipart is Multipart.NONE, "no part can be named when an upload is completed"
    said = {finding.subject: finding for finding in bench.store.probe(PROBE, bench.demand)}
    assert said["ETag"].level == "warn"
    assert "the store names none" in said["ETag"].detail
    assert "read, compared and written" in said["replacement"].hint
    if name != "s3rver":  # which aborts none, and so is begun none at
        assert "UploadPart: the answer names no ETag" in said["multipart"].detail
    assert "one request" in said["multipart"].hint
    proven_by = "read back" if not known.believes_sha256 else ""
    assert ("each file is read back" in said["checksum"].hint) == bool(proven_by)


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("name", NAMES)
def test_files_on_a_store_without_etags_are_proven_kept_and_never_written_over(
    bench_on: Callable[[str], Bench], name: str, size: int
) -> None:
    bench = bench_on(name)
    bench.proxy.requests.clear()
    bench.put(noise(size))
    assert bench.standing() == noise(size)
    read_back = "GetObject" in bench.proxy.operations()
    by_checksum = bench.known.believes_sha256 and bench.known.names_sha256
    assert read_back != by_checksum, "by its checksum, or else by its bytes"
    bench.put(noise(size))
    with pytest.raises(KeyTaken):
        bench.put(noise(size, seed=2))
    assert bench.standing() == noise(size)


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("name", NAMES)
def test_lost_answer_of_a_store_without_etags_is_reconciled_by_looking(
    bench_on: Callable[[str], Bench], name: str, size: int
) -> None:
    bench = bench_on(name)
    bench.suffer(drop_after)
    bench.put(noise(size))
    assert bench.standing() == noise(size)


def test_answer_that_names_nothing_at_all_is_a_yes_and_nothing_is_sent_again(
    bench_on: Callable[[str], Bench],
) -> None:
    bench = bench_on("moto")
    bench.suffer(without("x-amz-checksum-sha256", "x-amz-checksum-type"), times=EVER)
    bench.put(noise(SMALL))
    assert bench.proxy.operations().count("PutObject") == 1


@pytest.mark.parametrize("name", NAMES)
def test_damage_on_a_store_without_etags_is_never_called_right_nor_anothers(
    bench_on: Callable[[str], Bench], name: str
) -> None:
    """It cannot be replaced safely: nothing tells whether it is still the one that was looked at."""
    bench = bench_on(name)
    damage = bench.suffer(flip_bit, times=EVER)
    with pytest.raises((ObjectDamaged, StoreCorrupt)):
        bench.put(noise(SMALL))
    assert damage.hits > 0
    damage.times = 0
    if name in {"seaweedfs", "swift"}:  # which refuse what is damaged
        bench.put(noise(SMALL))
        assert bench.standing() == noise(SMALL)
        return
    bad = bench.standing()
    with pytest.raises((ObjectDamaged, KeyTaken)) as caught:
        bench.put(noise(SMALL))
    assert name == "localbucket" or caught.type is ObjectDamaged, "its metadata says whose it is"
    assert bench.standing() == bad


@pytest.mark.parametrize("name", NAMES)
def test_sidecars_on_a_store_without_etags_are_compared_and_written_over(
    bench_on: Callable[[str], Bench], name: str
) -> None:
    bench = bench_on(name)
    assert bench.document(b"1") == 1
    assert bench.document(b"22", same=True) == 1, "the one that stands there does"
    assert bench.document(b"333") == 3
    assert bench.standing() == b"333"
    bench.suffer(drop_after)
    assert bench.document(b"4444") == 4
    assert bench.standing() == b"4444"
    bench.store.try_write(KEY)
    assert bench.standing() == b"4444"


def test_file_too_large_for_one_request_is_refused_before_it_is_fetched_where_parts_have_no_etags(
    bench_on: Callable[[str], Bench],
) -> None:
    bench = bench_on("moto")
    body = MemoryBody(bytes(33 * MIB))
    with pytest.raises(NoMultipart):
        bench.store.put(KEY, body, metadata={}, journal=MemoryJournal())
    assert body.size == 0
