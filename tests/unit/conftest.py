"""Fixtures of several units: a ledger in a file, and a clock in the test's hands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes.time import Clock
from tests.fixtures.ledgers import ready_ledger
from tests.house import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(ready_ledger(tmp_path)) as ledger:
        yield ledger


@pytest.fixture
def clock() -> Clock:
    return Clock()
