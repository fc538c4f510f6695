"""Damage before real servers: nothing wrong is called right, nothing foreign overwritten, no upload left unsaid."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import pytest

from archiver.adapters.object_store import S3Store
from archiver.core.capabilities import Capabilities, CreateOnly, Listing
from archiver.core.errors import ArchiverError, Verdict
from archiver.core.keys import PROBE_NAME, probe_key
from archiver.demo.seaweed import S3Server
from tests.fakes import s3_servers as servers
from tests.fakes.object_store import MemoryBody, MemoryJournal
from tests.fakes.s3_damage import MODES, Mode
from tests.fakes.s3_proxy import S3Proxy
from tests.house import BufferBudget, s3_client, s3_store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1024 * 1024
SIZES = {"single_max": MIB, "part": 5 * MIB}
SMALL, LARGE = 1000, 5 * MIB + 1000
FOREIGN = b"an object of another program"
OF_EVERY_RUN: Mapping[str, Collection[str]] = {
    "swift": ("flip-put-once", "flip-part-once", "drop-complete-after"),
    "seaweedfs": ("exact-list", "no-conditions"),
}
TRIES = 3


@lru_cache(8)
def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@dataclass
class Bench:
    """The store of production behind a proxy, and the way past it."""

    proxy: S3Proxy
    direct: S3Client
    bucket: str
    store: S3Store
    known: Capabilities = field(default_factory=Capabilities)
    journal: MemoryJournal = field(default_factory=MemoryJournal)

    def prove(self) -> None:
        """Prove what the store can do, as it seems through the proxy, and rely on it."""
        self.known = self.store.prove(probe_key("p/"))
        self.store.rely_on(self.known, self.demand)

    @property
    def demand(self) -> CreateOnly:
        return CreateOnly.REQUIRED if self.known.create_only else CreateOnly.BEST_EFFORT

    def put(self, key: str, data: bytes) -> ArchiverError | None:
        """Put a stem as the ledger would have it done: again some times while it is no final answer."""
        for _ in range(TRIES):
            try:
                self.store.put(key, MemoryBody(data), metadata={"stem": "vocal"}, journal=self.journal)
            except ArchiverError as error:
                trouble = error
                if error.verdict is not Verdict.RETRY:
                    break
            else:
                return None
        return trouble

    def read(self, key: str) -> bytes | None:
        try:
            with self.direct.get_object(Bucket=self.bucket, Key=key)["Body"] as body:
                return body.read()
        except self.direct.exceptions.NoSuchKey:
            return None

    def unsaid(self) -> set[str]:
        """Return the uploads that stay open, but for those that the journal names."""
        if self.known.listing is Listing.NONE:
            return set()
        self.proxy.calm()
        found = {key for key, _, _ in self.store.uploads("") if PROBE_NAME not in key}
        return found - {key for key, _ in self.journal.open}


@pytest.fixture
def bench_on(s3_servers: Callable[[str], S3Server]) -> Iterator[Callable[[str], Bench]]:
    closers = []

    def make(name: str) -> Bench:
        server, bucket = s3_servers(name), f"harm-{uuid.uuid4().hex[:16]}"
        direct = server.client()
        direct.create_bucket(Bucket=bucket)
        proxy = S3Proxy(upstream=server.endpoint_url)
        through = replace(server, endpoint_url=proxy.url)
        client = s3_client(
            endpoint_url=through.endpoint_url, region=server.region, session=server.session, attempts=1, read_timeout=20
        )
        store = s3_store(client, bucket, buffers=BufferBudget(64 * MIB), **SIZES)
        closers.extend([store.close, direct.close, proxy.close])
        return Bench(proxy, direct, bucket, store)

    yield make
    for close in closers:
        close()


def inflicted(bench: Bench, mode: Mode) -> Callable[[], int]:
    """Prove before damage of the way, and through that of the store; return the count of what is hit from then on."""
    if not mode.of_the_store:
        bench.prove()
    harm = mode.inflict(bench.proxy)
    if mode.of_the_store:
        bench.prove()
    return lambda: harm.hits


def cases() -> Iterator[object]:
    """Yield every mode before every server; in each run all before two, and what tells most before the others."""
    for name in servers.ALL:
        for mode in MODES:
            quick = mode in OF_EVERY_RUN.get(name, MODES if name in {"moto", "rclone"} else ())
            marks = [pytest.mark.long] if quick else [pytest.mark.slow, pytest.mark.timeout(300)]
            yield pytest.param(name, mode, marks=marks)


@pytest.mark.parametrize(("name", "mode"), list(cases()))
def test_nothing_wrong_is_called_right_and_nothing_foreign_overwritten(
    bench_on: Callable[[str], Bench], name: str, mode: str
) -> None:
    bench = bench_on(name)
    bench.direct.put_object(Bucket=bench.bucket, Key="t/foreign.mp3", Body=FOREIGN)
    bench.direct.put_object(Bucket=bench.bucket, Key="t/foreign-large.mp3", Body=FOREIGN)
    hits = inflicted(bench, MODES[mode])
    said = {
        key: bench.put(key, noise(size))
        for key, size in (("t/small.mp3", SMALL), ("t/large.mp3", LARGE), ("t/last.mp3", SMALL + 1))
    }
    for key in ("t/foreign.mp3", "t/foreign-large.mp3"):
        assert bench.put(key, noise(LARGE if "large" in key else SMALL)) is not None
        assert bench.read(key) == FOREIGN
    for key, size in (("t/small.mp3", SMALL), ("t/large.mp3", LARGE), ("t/last.mp3", SMALL + 1)):
        assert said[key] is not None or bench.read(key) == noise(size)
    assert not bench.unsaid()
    in_parts = mode.startswith(("flip-part", "drop-complete"))
    moot = in_parts and bench.known.large_as_one(bench.demand)  # all goes in one request
    moot = moot or (name == "s3rver" and mode in {"invalid-part", "exact-list"})  # it aborts none, so none is begun
    assert (hits() > 0) != moot
    if mode.startswith("drop-"):
        assert not any(said.values())
    if mode.endswith("once"):  # what the store cannot replace safely is named, and left to people
        assert bench.known.replaces or all(error is None or error.code == "store.corrupt" for error in said.values())
        assert not bench.known.replaces or not any(said.values())


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in {"moto", "rclone"} else [pytest.mark.slow, pytest.mark.timeout(300)])
        for name in servers.ALL
    ],
)
def test_object_that_was_damaged_later_is_ours_to_a_process_that_has_only_its_metadata(
    bench_on: Callable[[str], Bench], name: str, size: int
) -> None:
    bench = bench_on(name)
    bench.prove()
    assert bench.put("t/a.mp3", noise(size)) is None
    said = bench.direct.head_object(Bucket=bench.bucket, Key="t/a.mp3")["Metadata"]
    kept = {each.lower(): text for each, text in said.items()}
    bench.direct.put_object(Bucket=bench.bucket, Key="t/a.mp3", Body=noise(size)[:-1] + b"?", Metadata=kept)
    found = bench.put("t/a.mp3", noise(size))
    if found is None:
        assert bench.known.replaces
        assert bench.read("t/a.mp3") == noise(size)
    else:
        assert found.code == ("store.corrupt" if kept else "store.key_taken"), found


@pytest.mark.parametrize("name", ["moto", "seaweedfs"])
@pytest.mark.parametrize("mode", ["no-multipart", "invalid-part", "no-whole-checksum"])
def test_store_that_takes_no_large_object_in_parts_takes_it_as_one_and_the_small_ones(
    bench_on: Callable[[str], Bench], name: str, mode: str
) -> None:
    bench = bench_on(name)
    hits = inflicted(bench, MODES[mode])
    assert bench.put("t/large.mp3", noise(LARGE)) is None
    assert bench.put("t/small.mp3", noise(SMALL)) is None
    assert bench.read("t/large.mp3") == noise(LARGE)
    assert hits() > 0


def test_store_that_overwrites_is_written_to_by_nobody_who_requires_create_only(
    bench_on: Callable[[str], Bench],
) -> None:
    bench = bench_on("rclone")
    bench.prove()
    assert not bench.known.create_only
    bench.store.rely_on(bench.known, CreateOnly.REQUIRED)
    bench.proxy.calm()
    assert bench.put("t/small.mp3", noise(SMALL)) is not None
    with pytest.raises(ArchiverError):
        bench.store.put_document("t/manifest.json", b"{}", same=lambda _: False)
    assert bench.proxy.operations() == []


def test_echo_of_a_checksum_is_no_proof(bench_on: Callable[[str], Bench]) -> None:
    bench = bench_on("moto")
    hits = inflicted(bench, MODES["echo"])
    assert bench.known.echoes
    flipped = MODES["flip-put-once"].inflict(bench.proxy)
    bench.put("t/small.mp3", noise(SMALL))
    assert bench.read("t/small.mp3") in {noise(SMALL), None} or bench.put("t/small.mp3", noise(SMALL)) is not None
    assert hits() > 0
    assert flipped.hits == 1
