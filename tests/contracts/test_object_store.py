"""What every ObjectStore promises, asked of the fake and of the real one on each real S3 server.

Where a server cannot give what a promise rests on, the test says what holds instead.
"""

from __future__ import annotations

import hashlib
import random
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache

import pytest

from archiver.core.capabilities import Capabilities, CreateOnly, Listing, Multipart
from archiver.core.errors import BodyEmpty, BodyLong, BodyShort, KeyTaken
from archiver.core.keys import object_key
from archiver.core.model import StemName, StoredObject, TaskId
from archiver.core.refusals import ObjectDamaged
from archiver.demo.seaweed import S3Server
from archiver.ports.store import ObjectStore
from tests.fakes import s3_servers as servers
from tests.fakes.object_store import FakeStore, MemoryBody, MemoryJournal
from tests.house import BufferBudget, s3_store

MIB = 1024 * 1024
SINGLE = MIB
PART = 5 * MIB
META = {"task-id": "0123456789abcdef", "stem": "vocal"}


@lru_cache(32)
def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass
class Rig:
    """A store, and a look behind it."""

    store: ObjectStore
    read: Callable[[str], bytes | None]
    open_uploads: Callable[[], int]
    labels: Callable[[str], tuple[str, dict[str, str]]]
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    budget: BufferBudget | None = None
    known: Capabilities = field(default_factory=Capabilities)
    demand: CreateOnly = CreateOnly.REQUIRED
    is_atomic: bool = True
    """True where of several writers at one time the store itself lets one through."""

    keeps_metadata: bool = True
    shows_halves: bool = False
    """True where an object is shown while it is being written, as far as that has come."""

    @property
    def keeps_parts(self) -> bool:
        """True where a large object goes in parts."""
        return not self.known.large_as_one(self.demand)

    def put(self, key: str, data: bytes, *, announced: bool = True) -> str:
        stored = self.store.put(key, MemoryBody(data, announced=announced), metadata=META, journal=self.journal)
        assert (stored.key, stored.size) == (key, len(data))
        return stored.etag

    def nothing_left(self) -> bool:
        return not self.journal.open and not self.open_uploads()


def fake_rig() -> Iterator[Rig]:
    store = FakeStore(single_put_max=SINGLE)
    yield Rig(
        store,
        store.objects.get,
        lambda: len(store.uploads),
        lambda key: (store.content_types[key], dict(store.metadata.get(key, {}))),
    )


NOT_ATOMIC = {"swift", "rclone", "s3rver", "nanio"}
"""Servers that were seen to take two writes under If-None-Match at one time (tests/integration/STORES.md)."""


def real_rig(name: str, server: S3Server, bucket: str, known: Capabilities) -> Iterator[Rig]:
    demand = CreateOnly.REQUIRED if known.create_only else CreateOnly.BEST_EFFORT
    with closing(server.client(max_pool_connections=20)) as client:

        def read(key: str) -> bytes | None:
            try:
                with client.get_object(Bucket=bucket, Key=key)["Body"] as body:
                    return body.read()
            except client.exceptions.NoSuchKey:
                return None

        def labels(key: str) -> tuple[str, dict[str, str]]:
            head = client.head_object(Bucket=bucket, Key=key)
            return head["ContentType"], {name.lower(): text for name, text in head["Metadata"].items()}

        def open_uploads() -> int:
            if known.listing is Listing.NONE:
                return 0
            return len(list(store.uploads("")))

        budget, sizes = BufferBudget(64 * MIB), {"single_max": SINGLE, "part": PART}
        with closing(s3_store(client, bucket, buffers=budget, known=known, demand=demand, **sizes)) as store:
            rig = Rig(store, read, open_uploads, labels, budget=budget, known=known, demand=demand)
            rig = replace(rig, is_atomic=name not in NOT_ATOMIC, keeps_metadata=name != "localbucket")
            yield replace(rig, shows_halves=name == "s3rver")


EACH = [
    *("fake", "seaweedfs"),
    *(pytest.param(name, marks=pytest.mark.long) for name in ("rclone", "moto")),
    *(pytest.param(name, marks=[pytest.mark.slow, pytest.mark.timeout(300)]) for name in ("swift", *servers.SLOW)),
]


@pytest.fixture(scope="module")
def proven(s3_servers: Callable[[str], S3Server]) -> Callable[[str], Capabilities]:
    """Prove what a server can do, once."""

    @cache
    def prove(name: str) -> Capabilities:
        with closing(s3_servers(name).client()) as client:
            client.create_bucket(Bucket="proven-for-all")
        with closing(s3_store(s3_servers(name).client(), "proven-for-all")) as store:
            return store.prove("p/probe")

    return prove


@pytest.fixture(params=EACH)
def rig(
    request: pytest.FixtureRequest,
    s3_servers: Callable[[str], S3Server],
    proven: Callable[[str], Capabilities],
) -> Iterator[Rig]:
    if request.param == "fake":
        yield from fake_rig()
    elif request.param == "seaweedfs":
        bucket = request.getfixturevalue("bucket")
        yield from real_rig(request.param, s3_servers(request.param), bucket, proven(request.param))
    else:
        server, bucket = s3_servers(request.param), f"test-{uuid.uuid4().hex[:20]}"
        with closing(server.client()) as client:
            client.create_bucket(Bucket=bucket)
        yield from real_rig(request.param, server, bucket, proven(request.param))


SIZES = [1, SINGLE - 1, SINGLE, SINGLE + 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 1]


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_put_of_any_size_stores_exactly_the_bytes(rig: Rig, size: int, announced: bool) -> None:
    rig.put("a/b.mp3", noise(size), announced=announced)
    assert rig.read("a/b.mp3") == noise(size)
    assert rig.nothing_left()


@pytest.mark.parametrize("size", [SINGLE, PART + 1])
def test_put_labels_the_object(rig: Rig, size: int) -> None:
    rig.put("a.mp3", noise(size))
    in_one = size == SINGLE or not rig.keeps_parts
    content_type, labels = rig.labels("a.mp3")
    assert content_type == "audio/mpeg"
    if not rig.keeps_metadata:
        assert labels == {}
    elif in_one:
        assert labels == META | {"sha256": hashlib.sha256(noise(size)).hexdigest()}
    else:  # made before the bytes are known, but for the first of them
        begin, _, hashed = labels.pop("sha256-begin").partition(":")
        assert hashed == hashlib.sha256(noise(size)[: int(begin)]).hexdigest()
        assert labels == META


@pytest.mark.parametrize("size", [1, PART + 1], ids=["one put", "parts"])
def test_key_with_a_title_of_any_script_in_it_is_a_key_like_others(rig: Rig, size: int) -> None:
    for title in ("Don't stop (live)!", "Hafen über 港の光"):
        key, data = object_key("p/", TaskId("3e63b4cc88d5"), StemName("vocal"), "mp3", title), noise(size)
        rig.put(key, data)
        rig.put(key, data)
        assert rig.read(key) == data


def test_put_of_an_empty_body_stores_nothing(rig: Rig) -> None:
    for announced in (True, False):
        with pytest.raises(BodyEmpty):
            rig.put("a.mp3", b"", announced=announced)
    assert rig.read("a.mp3") is None
    assert rig.nothing_left()


@pytest.mark.parametrize("error", [BodyShort("cut"), KeyboardInterrupt(), SystemExit(1), RuntimeError("bug")])
@pytest.mark.parametrize(
    ("size", "fails_at"),
    [(SINGLE, 1), (SINGLE, SINGLE), (2 * PART, PART - 1), (2 * PART, PART + 1), (2 * PART, 2 * PART)],
)
def test_put_whose_body_fails_leaves_nothing(rig: Rig, size: int, fails_at: int, error: BaseException) -> None:
    for announced in (True, False):
        body = MemoryBody(noise(size), announced=announced, fails_at=fails_at, fails_with=error)
        with pytest.raises(type(error)):
            rig.store.put("a.mp3", body, metadata=META, journal=rig.journal)
    assert rig.read("a.mp3") is None
    assert rig.nothing_left()


@pytest.mark.parametrize("size", [SINGLE, PART, 2 * PART])
def test_put_whose_body_fails_only_past_its_full_length_leaves_nothing(rig: Rig, size: int) -> None:
    class FailsAtItsEnd(MemoryBody):
        def readinto(self, buffer: memoryview) -> int:
            if self.size == size:
                raise BodyLong
            return super().readinto(buffer)

    with pytest.raises(BodyLong):
        rig.store.put("a.mp3", FailsAtItsEnd(noise(size)), metadata=META, journal=rig.journal)
    assert rig.read("a.mp3") is None
    assert rig.nothing_left()


@pytest.mark.parametrize("size", [1, SINGLE, PART + 1])
def test_put_of_an_equal_object_is_success_and_changes_nothing(rig: Rig, size: int) -> None:
    first = rig.put("a.mp3", noise(size))
    assert rig.put("a.mp3", noise(size)) == first
    assert rig.put("a.mp3", noise(size), announced=False) == first
    assert rig.read("a.mp3") == noise(size)
    assert rig.nothing_left()


@pytest.mark.parametrize("size", [1, SINGLE, PART + 1])
@pytest.mark.parametrize("announced", [True, False])
def test_put_over_a_different_object_is_refused_and_leaves_it(rig: Rig, size: int, announced: bool) -> None:
    rig.put("a.mp3", noise(size))
    for other in (noise(size, seed=2), noise(size)[:-1] + b"another end"):
        with pytest.raises(KeyTaken):
            rig.put("a.mp3", other, announced=announced)
    assert rig.read("a.mp3") == noise(size)
    assert rig.nothing_left()


@pytest.mark.parametrize("size", [SINGLE, PART + 1])
def test_concurrent_puts_of_equal_bytes_all_succeed(rig: Rig, size: int) -> None:
    def put(_: int) -> str:
        try:
            return rig.put("a.mp3", noise(size))
        except KeyTaken:
            if rig.shows_halves:  # another writer's half is taken for somebody else's object
                return ""
            raise

    with ThreadPoolExecutor(6) as pool:
        etags = list(pool.map(put, range(6)))
    assert len(set(etags) - {""}) == 1
    assert rig.read("a.mp3") == noise(size)
    assert rig.nothing_left()


@pytest.mark.parametrize("size", [SINGLE, PART + 1])
def test_of_concurrent_puts_of_different_bytes_one_wins_and_the_others_know(rig: Rig, size: int) -> None:
    start = threading.Barrier(4)

    def put(seed: int) -> bool:
        start.wait(10)
        try:
            rig.put("a.mp3", noise(size, seed))
        except (KeyTaken, ObjectDamaged):  # two completions at one time may both be told yes
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(put, range(4)))
    stands = rig.read("a.mp3")
    assert rig.shows_halves or stands in {noise(size, seed) for seed in range(4)}  # or writes two over each other
    assert rig.nothing_left()
    if rig.is_atomic:
        assert won.count(True) == 1
        assert stands == noise(size, won.index(True))


def test_put_refuses_metadata_that_no_header_can_hold(rig: Rig) -> None:
    for bad in ("käse", "a\r\nb: c", "\x1b[2J"):
        with pytest.raises(ValueError, match="ASCII"):
            rig.store.put("a.mp3", MemoryBody(b"x"), metadata={"stem": bad}, journal=rig.journal)
    assert rig.read("a.mp3") is None


def test_a_document_is_created(rig: Rig) -> None:
    rig.store.put_document("m.json", b"{}", same=lambda _: False)
    assert rig.read("m.json") == b"{}"
    assert rig.labels("m.json")[0] == "application/json"


def test_a_document_that_says_the_same_is_left(rig: Rig) -> None:
    rig.store.put_document("m.json", b'{"a": 1}', same=lambda _: False)
    seen: list[bytes] = []
    stored = rig.store.put_document("m.json", b'{"a":1}', same=lambda theirs: not seen.append(theirs))  # type: ignore[func-returns-value]  # notes what it saw
    assert seen == [b'{"a": 1}']
    assert stored.size == 8
    assert rig.read("m.json") == b'{"a": 1}'


def test_a_document_that_says_otherwise_is_replaced(rig: Rig) -> None:
    rig.store.put_document("m.json", b"old", same=lambda _: False)
    stored = rig.store.put_document("m.json", b"newer", same=lambda _: False)
    assert stored.size == 5
    assert rig.read("m.json") == b"newer"


def test_concurrent_documents_end_with_one_of_them_whole(rig: Rig) -> None:
    documents = [noise(1000, seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda data: rig.store.put_document("m.json", data, same=lambda _: False), documents))
    assert rig.read("m.json") in documents


def test_abort_of_an_upload_that_is_gone_is_success(rig: Rig) -> None:
    if rig.known.multipart is Multipart.NONE:
        pytest.skip("a store that aborts nothing is never begun an upload at")
    rig.store.abort("a.mp3", "0123456789abcdef0123456789abcdef01234567_0123456789abcdef0123456789abcdef")


def test_trial_write_works_again_and_again_and_leaves_one_small_object(rig: Rig) -> None:
    for _ in range(3):
        rig.store.try_write("p/trial")
    assert rig.read("p/trial") == b"{}"
    assert rig.nothing_left()


def test_buffers_are_given_back_after_success_and_failure(rig: Rig) -> None:
    rig.put("a.mp3", noise(PART + 1))
    with pytest.raises(KeyTaken):
        rig.put("a.mp3", noise(PART))
    if rig.budget:
        assert rig.budget.lent_bytes == 0
        assert rig.budget.held_bytes <= 2 * PART or not rig.keeps_parts


@pytest.mark.parametrize("size", [1, SINGLE, PART + 1])
def test_find_returns_the_object_that_has_just_these_bytes(rig: Rig, size: int) -> None:
    data, other = noise(size), noise(size, seed=2)
    sha256, another = (hashlib.sha256(each).hexdigest() for each in (data, other))
    assert rig.store.find("a/b.mp3", size=size, sha256=sha256) is None
    etag = rig.put("a/b.mp3", data)
    found = rig.store.find("a/b.mp3", size=size, sha256=sha256)
    assert found == StoredObject("a/b.mp3", size, etag)
    assert rig.store.find("a/b.mp3", size=size, sha256=another) is None
    assert rig.store.find("a/b.mp3", size=size + 1, sha256=sha256) is None
