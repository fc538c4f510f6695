"""The bandwidth on real sockets: exact over any ten seconds, never taken for the origin's slowness, ended at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from archiver.adapters.downloader import HttpDownloader, Throttle
from archiver.core.errors import BodySlow, Interrupted
from archiver.settings import parse_bandwidth
from tests.fakes.audio import mp3
from tests.fakes.origin import Origin
from tests.fakes.scripted import Reply
from tests.fixtures.fetching import fetch
from tests.house import downloader

MIB = 1 << 20


@pytest.fixture
def cdn() -> Iterator[Origin]:
    with Origin() as server:
        yield server


class Meter(Throttle):
    """A throttle that notes when bytes really came."""

    def __init__(self, bandwidth: str) -> None:
        super().__init__(parse_bandwidth(bandwidth))
        self.came: list[tuple[float, int]] = []
        self._given = threading.local()

    def take(self, most: int) -> int:
        self._given.share = super().take(most)
        return int(self._given.share)

    def give_back(self, size: int) -> None:
        self.came.append((time.monotonic(), self._given.share - size))
        super().give_back(size)

    def windows(self, seconds: float) -> list[int]:
        """Return how much came in each window of so many seconds, a twentieth of a second apart."""
        first, last = self.came[0][0], self.came[-1][0]
        starts = [first + n / 20 for n in range(int((last - first - seconds) * 20) + 1)]
        return [sum(size for when, size in self.came if start <= when < start + seconds) for start in starts]


def read_until(stop: threading.Event, client: HttpDownloader, url: str) -> None:
    buffer = memoryview(bytearray(256 << 10))
    while not stop.is_set():
        with client.open(url) as body:
            while not stop.is_set() and body.readinto(buffer):
                pass


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("threads", "seconds"),
    [(16, 4), pytest.param(1, 10, marks=pytest.mark.slow), pytest.param(16, 10, marks=pytest.mark.slow)],
)
def test_seconds_bring_the_bandwidth_to_five_percent_with_one_thread_or_many(
    cdn: Origin, threads: int, seconds: int
) -> None:
    url, meter, stop = cdn.script(Reply(mp3(3 * MIB))), Meter("2MiB"), threading.Event()
    with downloader(throttle=meter, most_idle=threads) as client, ThreadPoolExecutor(threads) as pool:
        reading = [pool.submit(read_until, stop, client, url) for _ in range(threads)]
        stop.wait(seconds + 0.6)
        stop.set()
        for each in reading:
            each.result(30)
    windows = meter.windows(seconds)
    assert len(windows) >= 5
    assert min(windows) == pytest.approx(2 * seconds * MIB, rel=0.05)
    assert max(windows) == pytest.approx(2 * seconds * MIB, rel=0.05)


def test_body_that_is_throttled_below_the_minimum_rate_is_not_too_slow(cdn: Origin) -> None:
    song = mp3(24 << 10)
    url = cdn.script(Reply(song))
    with downloader(throttle=Throttle(parse_bandwidth("16KiB")), min_rate=MIB, rate_window=0.1) as client:
        assert fetch(client, url) == song


def test_origin_that_is_slow_is_found_too_slow_though_there_is_a_throttle(cdn: Origin) -> None:
    url = cdn.script(Reply(mp3(24 << 10), drip=0.001))
    throttle = Throttle(parse_bandwidth("1GiB"))
    with downloader(throttle=throttle, min_rate=MIB, rate_window=0.1) as client, pytest.raises(BodySlow):
        fetch(client, url)


@pytest.mark.parametrize(
    ("meanwhile", "error"),
    [(Throttle.stop, Interrupted), (lambda each: each.change(parse_bandwidth("off")), None)],
    ids=["stopped", "set free"],
)
def test_transfer_that_waits_for_bandwidth_ends_or_goes_on_at_once(
    cdn: Origin, meanwhile: Callable[[Throttle], None], error: type[Exception] | None
) -> None:
    throttle, song = Throttle(parse_bandwidth("1KiB")), mp3(100_000)
    url = cdn.script(Reply(song))
    with downloader(throttle=throttle) as client, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(fetch, client, url)
        with pytest.raises(TimeoutError):
            reading.result(0.5)
        began = time.monotonic()
        meanwhile(throttle)
        if error is None:
            assert reading.result(30) == song
        else:
            assert isinstance(reading.exception(30), error)
        assert time.monotonic() - began < 5, "at 1KiB it would be 90 s"
