"""The hostile neighbourhood: every kind of bad neighbour beside honest tasks, which must not feel it.

The path is the real one, with ledger, breakers, workers and transfer threads; what is outside is played, and time is
simulated. The same arrivals without the neighbour are the measure.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.downloader import Audio
from tests.fakes.time import NOW
from tests.faults.neighbours import KINDS, SECOND_ACCOUNT, Neighbour, seen
from tests.fixtures.ledgers import overview, pauses
from tests.fixtures.profiles import examples
from archiver.core.model import DEFAULT_ACCOUNT
from tests.worlds.simulated import SimulatedPath, simulated

PATIENCE = 4 * 3600
"""Seconds in which every honest task must be archived after the last came."""
HEAD_START = 60
"""Seconds that the neighbour is there already."""
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
class Run:
    """What came of one run."""

    archived: int
    p99: float
    shown: str


def p99(lags: Sequence[float]) -> float:
    return sorted(lags)[ceil(len(lags) * 0.99) - 1]


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
        return p99(lags(path, honest(path, arrivals)))


def lags(path: SimulatedPath, due: dict[str, float]) -> list[float]:
    path.works(max(due.values()) - path.time.monotonic() + PATIENCE, until=lambda: due.keys() <= path.ends.archived.keys())
    return [path.ends.archived[name] - second for name, second in due.items() if name in path.ends.archived]


def beside(kind: Neighbour, arrivals: Arrivals) -> Run:
    """Let the neighbour move in, the honest ids come, and all be archived; hold every oracle."""
    with simulated(accounts=[DEFAULT_ACCOUNT, SECOND_ACCOUNT]) as path:
        bad = [f"bad-{number:05}" for number in range(max(10, arrivals.count // 20) * kind.many)]
        kind.moves_in(path, bad)
        path.works(HEAD_START)
        due = honest(path, arrivals)
        took = lags(path, due)
        assert len(took) == arrivals.count, f"{len(took)} of {arrivals.count} are archived"
        path.leaps(kind.leaps)
        report = overview(path.ledger, now=path.clock())
        shown = dict(seen(report))
        assert kind.shown in shown, f"not where it should be in status: {shown}"
        assert {str(pause.subject) for pause in pauses(path.ledger)} <= set(kind.paused)
    return Run(len(took), p99(took), shown[kind.shown])


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
@settings(max_examples=examples(1))
@given(arrivals=st.builds(Arrivals, st.just(20), st.integers(0, 1 << 16), st.integers(1, 10)))
def test_honest_tasks_do_not_feel_a_bad_neighbour(kind: Neighbour, arrivals: Arrivals) -> None:
    run = beside(kind, arrivals)
    base = alone(arrivals)
    print(f"\n{kind.name:45} {run.p99:6.1f} / {base:4.1f} = {run.p99/base:5.2f}  {run.shown}")
    assert run.p99 <= MOST * base
