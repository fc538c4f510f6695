"""A real store behind a proxy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from archiver.demo.seaweed import S3Server
from tests.fakes.s3_ways import Ways, ways_to


@pytest.fixture(scope="session")
def ways(s3_server: S3Server) -> Iterator[Ways]:
    """Make them once, since making a client takes long."""
    with ways_to(s3_server) as ways:
        yield ways
