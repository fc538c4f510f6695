"""The hostile neighbourhood: every kind of bad neighbour beside honest tasks, which must not feel it.

The path is the real one, with ledger, breakers, workers and transfer threads; what is outside is played, and time is
simulated. The same arrivals without the neighbour are the measure.
"""

from __future__ import annotations

import fcntl
import random
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from archiver.core.model import DEFAULT_ACCOUNT
from tests.fakes.downloader import Audio
from tests.faults.neighbours import BAD, KINDS, SECOND_ACCOUNT, Neighbour, seen
from tests.faults.table import parts, with_row
from tests.fixtures.ledgers import overview, pauses
from tests.fixtures.profiles import examples
from tests.worlds.simulated import SimulatedPath, simulated

PATIENCE = 4 * 3600
"""Seconds in which every honest task must be archived after the last came."""
HEAD_START = 60
"""Seconds that the neighbour is there already."""
PROBE_INTERVAL, REST = 30, 6
"""Seconds: the longest wait for a probe; and that of the one whose turn it is, with its transfer."""
README = Path(__file__).with_name("README.md")
MOST = 2
"""Times the lag that honest tasks have by themselves."""


@dataclass(frozen=True)
class Arrivals:
    """Honest ids, as they come: now and then some at once, about one each 1.25 s."""

    count: int
    seed: int
    burst: int

    def seconds(self, start: float) -> list[float]:
        dice, now, moments = random.Random(self.seed), start + 5, list[float]()
        while len(moments) < self.count:
            moments += [now] * min(dice.randint(1, self.burst), self.count - len(moments))
            now += dice.expovariate(0.8) * (1 + self.burst) / 2
        return moments


@dataclass(frozen=True)
class Row:
    """What came of one kind."""

    name: str
    archived: int
    alone: float
    beside: float
    shown: str

    @property
    def ratio(self) -> float:
        return self.beside / self.alone

    @property
    def cells(self) -> tuple[str, ...]:
        return (
            self.name,
            f"{self.archived:,}",
            f"{self.alone:.1f}",
            f"{self.beside:.1f}",
            f"{self.ratio:.2f}",
            self.shown,
        )


def honest(path: SimulatedPath, arrivals: Arrivals) -> dict[str, float]:
    """Let the honest ids come; return when each does."""
    due = {f"good-{number:05}": second for number, second in enumerate(arrivals.seconds(path.time.monotonic()))}
    for name in due:
        path.lists(path.serves(name, Audio(name.encode() * 50, comes=path.flows()), stem="vocal"), task=name)
    path.arrivals = sorted(((second, name) for name, second in due.items()), reverse=True)
    return due


@lru_cache
def alone(arrivals: Arrivals) -> float:
    """Return the lag of honest tasks without any neighbour."""
    with simulated() as path:
        path.works(HEAD_START)
        return lag(path, honest(path, arrivals))


def lag(path: SimulatedPath, due: dict[str, float]) -> float:
    """Let all be archived; return the lag that 99 in 100 have at most, 9 in 10 where they are few."""
    came = path.ends.archived
    path.works(max(due.values()) - path.time.monotonic() + PATIENCE, until=lambda: due.keys() <= came.keys())
    assert due.keys() <= came.keys(), f"{len(due.keys() & came.keys())} of {len(due)} are archived"
    lags = sorted(came[name] - second for name, second in due.items())
    return lags[ceil(len(lags) * (0.99 if len(lags) >= 100 else 0.9)) - 1]


def beside(kind: Neighbour, arrivals: Arrivals) -> Row:
    """Let the neighbour move in, the honest ids come, and all be archived; hold the oracles but for the lag."""
    with simulated(accounts=[DEFAULT_ACCOUNT, SECOND_ACCOUNT]) as path:
        bad = [f"bad-{number:05}" for number in range(max(10, arrivals.count // 20) * kind.many)]
        kind.moves_in(path, bad)
        path.works(HEAD_START)
        took = lag(path, honest(path, arrivals))
        assert visible(path), "nothing of it is seen beside honest tasks"
        path.leaps(kind.leaps)
        shown = visible(path)
        assert kind.shown in shown, f"not where it should be seen: {shown}"
        assert {str(pause.subject) for pause in pauses(path.ledger)} <= set(kind.paused)
        ends_well(path)
    return Row(kind.name, arrivals.count, alone(arrivals), took, shown[kind.shown])


def visible(path: SimulatedPath) -> dict[str, str]:
    """Return what is seen of others than honest tasks, by its place."""
    return dict(seen(overview(path.ledger, now=path.clock()), path.oldest, path.clock_off))


def ends_well(path: SimulatedPath) -> None:
    """Let the trouble end, and see its pauses end by the next probe, if there is a task for it."""
    path.on.clear()
    path.api.unknown.clear()
    for url in path.origin:
        path.origin[url] = [Audio(url.encode(), comes=path.flows())]
    path.lives("fresh-0001", BAD, Audio(b"fresh", comes=path.flows()))
    path.works(PROBE_INTERVAL + REST, until=lambda: not pauses(path.ledger))
    assert not pauses(path.ledger), "a pause outlives its cause"


def noted(row: Row) -> None:
    """Write the row into the README, where others may write theirs meanwhile."""
    with README.open("r+") as readme:
        fcntl.flock(readme, fcntl.LOCK_EX)
        text = with_row(readme.read(), [kind.name for kind in KINDS], row.cells)
        readme.seek(0)
        readme.write(text)
        readme.truncate()


ROWS = pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in KINDS])


@ROWS
@settings(max_examples=examples(1), phases=[Phase.generate])
@given(arrivals=st.builds(Arrivals, st.just(20), st.integers(0, 1 << 16), st.integers(1, 10)))
def test_honest_tasks_do_not_feel_a_bad_neighbour(kind: Neighbour, arrivals: Arrivals) -> None:
    row = beside(kind, arrivals)
    assert row.beside <= MOST * row.alone


@pytest.mark.slow
@pytest.mark.timeout(1800)
@ROWS
def test_a_thousand_honest_tasks_do_not_feel_a_bad_neighbour(kind: Neighbour, request: pytest.FixtureRequest) -> None:
    row = beside(kind, Arrivals(1000, 0, 2))
    if request.config.getoption("--update"):
        noted(row)
    assert row.ratio <= MOST


def test_readme_lists_every_neighbour() -> None:
    _, table = parts(README.read_text())
    named = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")]
    assert named[1:] == [kind.name for kind in KINDS]
    assert len(KINDS) >= 20


def test_row_that_is_written_anew_leaves_the_others_and_what_is_above_as_they_are() -> None:
    readme, names = README.read_text(), [kind.name for kind in KINDS]
    fresh = with_row(readme, names, (names[3], "1", "2", "3", "4", "a | b"))
    before, after = readme.splitlines(), fresh.splitlines()
    changed = [line for line in after if line not in before]
    assert changed == [f"| {names[3]} | 1 | 2 | 3 | 4 | a \\| b |"]
    assert len(after) == len(before)
    assert with_row(fresh, names, (names[3], "1", "2", "3", "4", "a | b")) == fresh
