"""The permits that the processes on one machine share: exact, whoever dies, whatever stands in the file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.adapters.provider.file_permits import FARTHEST_COOL_DOWN, GRACE, FilePermits
from archiver.adapters.provider.limiter import RateLimiter
from archiver.ports.provider import NoPermit
from tests.fakes.time import Seconds
from tests.fixtures.permits import hammer, most_in, taken, times_of_three, wait_of

pytestmark = pytest.mark.long

WINDOW = 10.0
LONGEST = 30.0
Make = Callable[..., FilePermits]


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def make(tmp_path: Path, seconds: Seconds) -> Make:
    """Each as a process of its own would have it."""

    def make(limit: int = 2, name: str = "default") -> FilePermits:
        return FilePermits(tmp_path / name, limit, window=WINDOW, longest=LONGEST, clock=seconds)

    return make


def test_times_of_before_the_machine_was_started_anew_count_for_a_window_at_most(make: Make, seconds: Seconds) -> None:
    seconds.now = 1e9
    one = make(2)
    taken(one)
    one.give_back(taken(one))
    one.cool_down(FARTHEST_COOL_DOWN - 1)
    seconds.now = 5
    assert wait_of(one) == NoPermit(WINDOW)
    seconds.now += WINDOW
    assert one.left() == 2


@pytest.mark.parametrize("junk", [b"", b"\x00", b"junk" * 100, b"\xff" * 88, b"\x00" * 88])
def test_file_with_anything_in_it_is_used(make: Make, seconds: Seconds, tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "default").write_bytes(junk)
    one = make(2)
    seconds.now += WINDOW
    if not one.left():  # what stood there may have meant that all are out
        seconds.now += GRACE + LONGEST + WINDOW
    assert one.left() == 2


@given(
    limit=st.integers(1, 4),
    steps=st.lists(st.tuples(st.sampled_from("tgr"), st.integers(0, 2), st.floats(0, 6)), max_size=60),
)
def test_no_more_than_the_limit_are_out_or_at_rest(
    tmp_path_factory: pytest.TempPathFactory, limit: int, steps: list[tuple[str, int, float]]
) -> None:
    seconds, folder = Seconds(), tmp_path_factory.mktemp("pace")
    three = [FilePermits(folder / "f", limit, window=WINDOW, longest=LONGEST, clock=seconds) for _ in range(3)]
    out: list[tuple[int, str]] = []
    resting: list[float] = []
    for what, who, wait in steps:
        seconds.now += wait
        resting = [each for each in resting if each > seconds.now]
        if what == "g" and out:
            owner, permit = out.pop(0)
            three[owner].give_back(permit)
            resting.append(seconds.now + WINDOW)
        elif what == "t":
            found = three[who].take()
            assert isinstance(found, str) == (len(out) + len(resting) < limit)
            out += [(who, found)] if isinstance(found, str) else []
        assert three[who].left() == limit - len(out) - len(resting)
        if seconds.now > 1000 + LONGEST:
            break  # before the first lease is over


def _hammer(file: str, seed: int, requests: int, came: Queue[float]) -> None:
    permits = FilePermits(Path(file), 4, window=0.6, longest=1.0)
    hammer(RateLimiter(permits, clock=time.monotonic, wait=threading.Condition.wait).permit, seed, requests, came)


def test_three_processes_together_keep_one_rate_exactly(tmp_path: Path) -> None:
    times = times_of_three(_hammer, str(tmp_path / "f"), 6)
    assert most_in(times, 0.6) <= 4
