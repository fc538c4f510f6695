"""What the kill tests share: a fork server, a provider, and a stage with a versioned bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from archiver.demo.emulator import Emulator
from archiver.demo.seaweed import S3Server
from tests.faults.scenes import Stage, versioning
from tests.worlds.forks import ForkServer
from tests.worlds.site import Site


@pytest.fixture(scope="module")
def kill_emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def stage(tmp_path: Path, s3_server: S3Server, bucket: str, kill_emulator: Emulator, fork_server: ForkServer) -> Stage:
    with closing(s3_server.client()) as client:
        versioning(client, bucket)
    stage = Stage(Site(tmp_path, s3_server, bucket, kill_emulator), fork_server)
    stage.site.prove()  # and so has a ledger: making one and proving the store took half of a first run
    return stage
