"""The ways to a store that stands behind a proxy, and one that is made careless by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from archiver.demo.seaweed import S3Server
from tests.fakes.careless_s3 import CarelessS3
from tests.fakes.s3_proxy import S3Proxy

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Ways:
    """The proxy, and the clients past it and through it."""

    proxy: S3Proxy
    direct: S3Client
    through: S3Client


@contextmanager
def ways_to(server: S3Server, *, read_timeout: float = 5) -> Iterator[Ways]:
    with (
        S3Proxy(upstream=server.endpoint_url) as proxy,
        closing(server.client()) as direct,
        closing(replace(server, endpoint_url=proxy.url).client(read_timeout=read_timeout)) as through,
    ):
        yield Ways(proxy, direct, through)


@dataclass
class CarelessBench:
    """A bucket whose store is right, as long as `careless` says nothing else."""

    ways: Ways
    bucket: str

    def __post_init__(self) -> None:
        self.proxy, self.direct = self.ways.proxy, self.ways.direct
        self.proxy.calm()
        self.careless = CarelessS3(self.proxy, self.direct, self.bucket)

    def count(self, operation: str) -> int:
        return self.proxy.operations().count(operation)

    def left_open(self) -> int:
        return len(self.direct.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))
