"""Fixtures of what is kept: an archive to be verified, and a bucket to bring back from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import Ledger
from tests.unit.preservation.held import Held
from tests.unit.preservation.rig import Bench, bench_at


@pytest.fixture
def held(ledger: Ledger) -> Held:
    return Held(ledger)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return bench_at(tmp_path / "out")
