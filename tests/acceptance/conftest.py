"""The site that processes run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.demo.emulator import Emulator
from archiver.demo.seaweed import S3Server
from tests.worlds.forks import ForkServer
from tests.worlds.site import Site

SECOND_KEY = "emulated-key-of-a-second-account"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(further_keys=[SECOND_KEY]) as emulator:
        yield emulator


@pytest.fixture
def site(tmp_path: Path, s3_server: S3Server, bucket: str, emulator: Emulator, fork_server: ForkServer) -> Site:
    return Site(tmp_path, s3_server, bucket, emulator, server=fork_server)
