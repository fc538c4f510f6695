"""Session fixtures that more than one folder of tests needs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest

from archiver.demo.seaweed import S3Server, seaweed


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Run a real S3 server; one for each pytest-xdist worker."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server) -> Iterator[str]:
    """Name a fresh, empty bucket on `s3_server`; it is dropped, full or not, after the test."""
    name = f"test-{uuid.uuid4().hex[:20]}"
    with closing(s3_server.client()) as client:
        client.create_bucket(Bucket=name)
        yield name
        client.delete_bucket(Bucket=name)
