"""What a store is proven to do: a right one all of it, each kind of wrong one all but what it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from archiver.adapters.object_store import S3Store
from archiver.core.capabilities import Capabilities
from archiver.core.keys import multipart_probe_key, probe_key
from archiver.demo.seaweed import S3Server
from tests.fakes.s3_proxy import (
    Action,
    Exchange,
    S3Proxy,
    operation_of,
)
from tests.fakes.scripted import Reply
from tests.house import s3_store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "stems/"
KEY = probe_key(PREFIX)
LARGE = multipart_probe_key(PREFIX)
EVER = 1000


@dataclass
class Bench:
    """A store behind a proxy, to be proven."""

    proxy: S3Proxy
    direct: S3Client
    store: S3Store
    bucket: str
    slept: list[float] = field(default_factory=list)

    def prove(self) -> Capabilities:
        return self.store.prove(KEY)

    def left_open(self) -> int:
        return len(self.direct.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))

    def count(self, operation: str) -> int:
        return self.proxy.operations().count(operation)


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    with S3Proxy(upstream=s3_server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def bench(s3_server: S3Server, proxy: S3Proxy, bucket: str) -> Iterator[Bench]:
    proxy.calm()
    with closing(s3_server.client()) as direct:
        through = replace(s3_server, endpoint_url=proxy.url).client(read_timeout=2)
        with closing(s3_store(through, bucket)) as store:
            yield Bench(proxy, direct, store, bucket)


def bare(*conditions: str) -> Action:
    """Do what the request asks for without a condition that it names: only where its signature is not looked at."""

    def act(exchange: Exchange) -> Reply:
        request = exchange.request
        kept = [item for item in request.fields if item[0].lower() not in conditions]
        return replace(exchange, request=replace(request, fields=kept)).forward()

    return act


def test_a_right_store_is_proven_to_do_all_of_it_again_and_again(bench: Bench) -> None:
    for _ in range(2):
        assert bench.prove() == Capabilities()
    assert bench.left_open() == 0
    keys = {entry["Key"] for entry in bench.direct.list_objects_v2(Bucket=bench.bucket)["Contents"]}
    assert keys == {KEY, LARGE}
    assert {operation_of(sent) for sent in bench.proxy.requests if sent.method == "DELETE"} == {"AbortMultipartUpload"}


def test_a_right_store_is_sent_the_large_part_once(bench: Bench) -> None:
    bench.prove()
    large = [sent for sent in bench.proxy.requests if int(sent.headers.get("content-length", 0)) > 5_000_000]
    assert len(large) == 1
