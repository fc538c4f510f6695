"""Evidence of probes: what one found out counts for others, for a while where it may."""

from __future__ import annotations

from datetime import timedelta

import pytest

from archiver.pipeline.evidence import JUST_NOW, Evidence
from tests.fakes.time import Clock


@pytest.mark.parametrize(
    ("works", "holds", "later", "probes"),
    [
        (True, JUST_NOW, timedelta(seconds=9), 1),
        (True, JUST_NOW, timedelta(seconds=11), 2),
        (True, timedelta(), timedelta(seconds=1), 2),
        (False, JUST_NOW, timedelta(seconds=1), 2),
        (True, JUST_NOW, -timedelta(days=1), 2),
    ],
    ids=["a moment ago", "too long ago", "holds for nothing", "it did not work", "the clock was set back"],
)
def test_that_it_works_holds_for_a_while(works: bool, holds: timedelta, later: timedelta, probes: int) -> None:
    clock, probed = Clock(), list[int]()
    evidence = Evidence(clock)

    def probe() -> bool:
        probed.append(1)
        return works

    assert evidence.find_out("it", probe, holds=holds) is works
    clock.now += later
    assert evidence.find_out("it", probe, holds=holds) is works
    assert len(probed) == probes
