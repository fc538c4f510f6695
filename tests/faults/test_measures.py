"""Measures of what honest tasks feel of a bad neighbour: each prints its figures, and holds them to their bound.

The fourth, the flood of connections, is in `test_floods.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from archiver.core.intake import Intake
from archiver.core.model import TaskId
from tests.fakes.downloader import Audio
from tests.fakes.time import NOW
from tests.faults.neighbours import AT_BAD, Neighbour, flowing
from tests.faults.test_neighbourhood import MOST, Arrivals, beside
from tests.fixtures.ledgers import accept
from tests.unit.pipeline.test_quarantine import neighbourhood
from tests.worlds.simulated import SimulatedPath, simulated

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

RESTART = timedelta(seconds=5)
"""The time that a supervisor takes to start a process anew."""
BATCH = 10_000
FRESH = 5
"""Ids that come one after the other beside the unknown ones."""

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Print where it is seen."""

    def said(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}")

    return said


def took(poisons: list[int]) -> tuple[timedelta, int, int]:
    """Return how long 1,000 tasks without those that kill took, how many processes died, and with how many in hand."""
    with neighbourhood(honest=1000 - len(poisons), poisons=poisons) as street:
        deaths = 0
        while street.left:
            deaths += not street.start()
        return street.clock() - NOW + deaths * RESTART, deaths, sum(street.touched.values())


def test_999_tasks_beside_one_that_kills(say: Say) -> None:
    alone, _, _ = took([])
    beside_it, deaths, touched = took([500])
    ratio = beside_it / alone
    say(f"999 of 1,000 beside one poison task: time ratio {ratio:.3f}; {deaths} workers died, {touched} tasks in hand")
    assert ratio <= MOST
    assert deaths <= 3


def test_tenth_of_the_tasks_beside_a_crawling_host(say: Say) -> None:
    crawl = Neighbour("90 % of the tasks are on a host that crawls", flowing(300), "at risk", paused=(AT_BAD,), many=90)
    row = beside(crawl, Arrivals(100, 0, 2))
    say(f"90 % on a crawling host: p99 {row.alone:.1f} s alone, {row.beside:.1f} s beside it; ratio {row.ratio:.2f}")
    assert row.ratio <= MOST


def test_fresh_id_beside_100_000_unknown_ones(say: Say) -> None:
    with simulated() as path:
        for first in range(0, 100_000, BATCH):
            ids = tuple(TaskId(f"bad-{number:06}") for number in range(first, first + BATCH))
            accept(path.ledger, Intake(ids=ids), now=path.clock())
        path.works(60)
        asked, archived = zip(*[_comes(path, f"fresh-{number:04}") for number in range(FRESH)], strict=True)
        seconds = ", ".join(f"{each:.1f}" for each in asked)
        say(f"100,000 unknown ids: fresh ones asked about after {seconds} s, archived within {max(archived):.1f} s")
        assert max(asked) <= 30


def _comes(path: SimulatedPath, name: str) -> tuple[float, float]:
    """Let the id come; return after how many seconds it was asked about, and archived."""
    path.lists(path.serves(name, Audio(name.encode() * 50, comes=path.flows()), stem="vocal"), task=name)
    path.accept(name)
    came = path.time.monotonic()
    path.works(600, until=lambda: TaskId(name) in path.api.fetched)
    asked = path.time.monotonic() - came
    path.works(600, until=lambda: name in path.ends.archived)
    path.works(20)
    return asked, path.ends.archived[name] - came
