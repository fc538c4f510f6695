"""Transfers that are broken off and go on: the path with the real downloader and store, and a pool that breaks off."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archiver.adapters.downloader import Throttle
from archiver.core.errors import Preempted
from archiver.core.model import Archived, Outcome, Phase, RecordInfo, StemName, StemSource, TaskId, Yielded
from archiver.core.transfer import Transfer
from archiver.demo.seaweed import S3Server
from archiver.settings import parse_bandwidth
from tests.fakes.audio import mp3
from tests.fakes.origin import Origin, RangedFile
from tests.fakes.scripted import Headers, Reply, Request
from tests.fakes.time import NOW, Seconds
from tests.fakes.transfers import Inline
from tests.fixtures.profiles import examples
from tests.house import BufferBudget, downloader, s3_store
from tests.worlds.path import PREFIX, path_in
from tests.worlds.path import Path as Service

SINGLE, PART = 200_000, 5 << 20
SIZE, HALF = 3 * PART + 70_000, 2 * PART + 300_000
MEMORY = 8 << 20
TAG: Headers = (("ETag", '"v1"'),)


@dataclass
class Breaking(Inline):
    """Moves in the calling thread, and breaks off after so many bytes in all; then it does `between`, and goes on."""

    breaks: list[int] = field(default_factory=list)
    between: Callable[[], None] = lambda: None
    drops: bool = False
    """Give up the whole task then, once."""
    came: int = 0
    announced_lengths: list[int | None] = field(default_factory=list)

    def announced(self, transfer: Transfer, length: int | None) -> None:
        self.announced_lengths.append(length)

    def received(self, transfer: Transfer, size: int) -> timedelta:
        self.came += size
        if self.breaks and self.came >= self.breaks[0]:
            raise Preempted
        return timedelta()

    def submit(self, transfer: Transfer, work: Callable[[], None]) -> Future[None]:
        while True:
            try:
                return super().submit(transfer, work)
            except Preempted:
                while self.breaks and self.came >= self.breaks[0]:
                    del self.breaks[0]
                self.between()
                if self.drops:
                    future: Future[None] = Future()
                    future.set_exception(Preempted())
                    return future

    def put_off(self, hosts: Collection[str], *, dropped: bool = False) -> timedelta | None:
        return timedelta(seconds=30) if dropped else None


@dataclass
class World:
    cdn: Origin
    task: str
    read: Callable[[], bytes]
    uploads: Callable[[], int]
    pool: Breaking
    budget: BufferBudget
    service: Service

    def archives(self, *answers: Callable[[Request], Reply] | Reply) -> bytes:
        """Let the CDN answer so, and the path archive it; return the object."""
        outcome = self.attempt(*answers)
        assert isinstance(outcome, Archived), outcome
        assert not self.uploads(), "parts are left behind"
        return self.read()

    def attempt(self, *answers: Callable[[Request], Reply] | Reply) -> Outcome:
        url = self.cdn.script(*answers)
        source = StemSource(StemName("vocal"), url, "vocalUrl")
        self.service.api.knows(
            TaskId(self.task), RecordInfo(Phase.DONE, (source,), flag="F", created_at=NOW, document='{"stems": 1}')
        )
        self.service.accept(self.task)
        return self.service.go()

    @property
    def asked(self) -> list[int | None]:
        """The byte from which each request asked; None for all."""
        given = [request.headers.get("range") for request in self.cdn.requests]
        return [None if each is None else int(each.removeprefix("bytes=").removesuffix("-")) for each in given]

    @property
    def events(self) -> list[str]:
        return [event for _, event, _ in self.service.events.seen if event.startswith("stem.")]

    def takes_memory(self) -> None:
        """Let another transfer have all the memory for a moment."""
        with self.budget.buffer(MEMORY):
            pass


def blocks() -> Throttle:
    """Let no block be larger than 64 KiB; time is not real."""
    time = Seconds()
    return Throttle(parse_bandwidth("12800KiB"), clock=time.clock, wait=time.wait)


@contextmanager
def world(server: S3Server, bucket: str, folder: Path, task: str = "task-0001") -> Iterator[World]:
    budget, pool = BufferBudget(MEMORY), Breaking()
    with (
        Origin() as cdn,
        closing(server.client()) as s3,
        closing(s3_store(s3, bucket, buffers=budget, single_max=SINGLE, part=PART)) as store,
        downloader(max_bytes=1 << 30, throttle=blocks()) as client,
        path_in(folder, pool=pool) as service,
    ):
        service.archiver = service.start(downloader=client, store=store).archiver

        def read() -> bytes:
            return s3.get_object(Bucket=bucket, Key=f"{PREFIX}{task}/vocal.mp3")["Body"].read()

        yield World(cdn, task, read, lambda: len(list(store.uploads(PREFIX))), pool, budget, service)


def song(size: int, seed: int = 0) -> bytes:
    return mp3(1000) + random.Random(seed).randbytes(size - 1000)


@pytest.mark.parametrize("size", [600_000, SIZE])
def test_transfer_that_is_broken_off_goes_on_at_its_byte(
    size: int, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    with world(s3_server, bucket, tmp_path) as it:
        it.pool.breaks = [size // 2]
        assert it.archives(RangedFile(song(size))) == song(size)
        [first, second] = it.asked
        assert first is None
        assert second is not None
        assert second >= size // 2, "no byte comes twice"
        assert it.pool.announced_lengths == [size, size - second], "the pool goes by what is still to come"
        assert it.events == ["stem.started", "stem.preempted", "stem.started", "stem.resumed", "stem.stored"]
        [kept] = [fields["kept"] for fields in it.service.events.of("stem.preempted")]
        assert kept == second


def test_parts_stay_where_the_memory_of_what_came_since_is_needed(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    with world(s3_server, bucket, tmp_path) as it:
        it.pool.breaks, it.pool.between = [HALF], it.takes_memory
        assert it.archives(RangedFile(song(SIZE))) == song(SIZE)
        assert it.asked == [None, 2 * PART + 1], "two parts stay, and the byte that tells that there is more"


@pytest.mark.parametrize("headers", [(), (("ETag", 'W/"v1"'),), (*TAG, ("Accept-Ranges", "none"))])
def test_transfer_without_a_version_begins_anew(
    headers: Headers, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    with world(s3_server, bucket, tmp_path) as it:
        it.pool.breaks = [HALF]
        assert it.archives(RangedFile(song(SIZE), headers)) == song(SIZE)
        assert it.asked == [None, None]


def changed() -> RangedFile:
    return RangedFile(song(SIZE, 7), (("ETag", '"v2"'),))


def unnamed(request: Request) -> Reply:
    """Answer with the range of another version, as the first one's."""
    return RangedFile(song(SIZE, 7)[:-5])(request)


@pytest.mark.parametrize("later", [changed(), unnamed, Reply(status=404)], ids=["version", "length", "404"])
@pytest.mark.parametrize("lost", [False, True])
def test_no_byte_of_another_version_is_taken_up(
    later: Callable[[Request], Reply] | Reply, lost: bool, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    with world(s3_server, bucket, tmp_path) as it:
        it.pool.breaks = [HALF]
        it.pool.between = it.takes_memory if lost else lambda: None
        assert it.archives(RangedFile(song(SIZE)), later, changed()) == song(SIZE, 7)
        assert it.asked[2:] == [None], "at once, and not counted as a try"
        assert "stem.begun_anew" in it.events
        assert "stem.retry" not in it.events


def test_task_that_was_given_up_goes_on_in_its_next_attempt(s3_server: S3Server, bucket: str, tmp_path: Path) -> None:
    with world(s3_server, bucket, tmp_path) as it:
        it.pool.breaks, it.pool.drops = [HALF], True
        assert isinstance(it.attempt(RangedFile(song(SIZE))), Yielded)
        assert it.uploads() == 1, "its parts"
        it.service.forward(timedelta(minutes=5))
        assert isinstance(it.service.go(), Archived)
        assert it.read() == song(SIZE)
        assert it.asked[1] is not None
        assert it.asked[1] >= HALF
        assert not it.uploads()


def test_service_that_stops_leaves_no_part_of_what_was_broken_off(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    with world(s3_server, bucket, tmp_path) as it:
        it.pool.breaks, it.pool.between = [HALF], it.service.cancelled.set
        assert isinstance(it.attempt(RangedFile(song(SIZE))), Yielded)
        assert not it.uploads()


@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_broken_off_again_and_again_is_archived_to_the_byte(
    data: st.DataObject, s3_server: S3Server, bucket: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    size = data.draw(st.one_of(st.integers(1100, SINGLE + 2), st.integers(1, 3).map(lambda n: n * PART + 1)))
    breaks = sorted(data.draw(st.lists(st.integers(1, 2 * size), max_size=6)))
    framing = data.draw(st.sampled_from(["length", "chunked"]))
    lost = data.draw(st.booleans())
    cuts = data.draw(st.lists(st.one_of(st.none(), st.integers(1, size)), max_size=2))
    folder = tmp_path_factory.mktemp("w")
    with world(s3_server, bucket, folder, f"task-{folder.name}") as it:
        it.pool.breaks = breaks
        it.pool.between = it.takes_memory if lost else lambda: None
        file = RangedFile(song(size, data.draw(st.integers(0, 9))), cuts=cuts, framing=framing)  # type: ignore[arg-type]
        assert it.archives(file) == file.body
