"""An origin, and the downloader that asks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from archiver.adapters.downloader import HttpDownloader
from tests.fakes.origin import Origin
from tests.house import downloader


@pytest.fixture
def cdn() -> Iterator[Origin]:
    with Origin() as server:
        yield server


@pytest.fixture
def client() -> Iterator[HttpDownloader]:
    with downloader() as it:
        yield it
