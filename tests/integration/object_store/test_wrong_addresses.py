"""Settings that miss the store: what is said names the one to mend."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archiver.adapters.object_store import S3Store
from archiver.core.errors import ArchiverError, StoreProxyAway
from archiver.core.misses import AddressingWrong, RegionWrong, StoreHostUnknown, StoreStranger, StoreTlsRefused
from archiver.core.reports import Finding
from archiver.demo.seaweed import S3Server
from tests.fakes.s3_proxy import S3Proxy, refuse
from tests.fakes.scripted import HttpServer, Reply
from tests.fakes.tls import identity
from tests.house import s3_client, s3_store

PROBE = "stems/.stem-archiver-probe"
EVER = 1000


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def store_at(server: S3Server, bucket: str, **options: Any) -> S3Store:  # noqa: ANN401 - those of s3_client
    arguments = {"region": server.region, "session": server.session, "attempts": 1}
    return s3_store(s3_client(endpoint_url=server.endpoint_url, **(arguments | options)), bucket)


def told(store: S3Store) -> tuple[ArchiverError, Finding]:
    """Return what a trial write says, and what `check` says of the bucket."""
    with closing(store):
        with pytest.raises(ArchiverError) as caught:
            store.try_write("trial")
        return caught.value, next(iter(store.probe(PROBE)))


def test_https_asked_of_a_port_for_http_is_told_as_that(s3_server: S3Server, bucket: str) -> None:
    server = replace(s3_server, endpoint_url=s3_server.endpoint_url.replace("http:", "https:"))
    error, finding = told(store_at(server, bucket))
    assert isinstance(error, StoreTlsRefused)
    assert str(error) == "CreateMultipartUpload: no TLS (WRONG_VERSION_NUMBER)"
    assert finding.hint == error.hint
    assert "should begin with http://" in finding.hint


def test_certificate_of_an_authority_of_ones_own_is_told_as_that(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    with HttpServer(answer=lambda _: Reply(b""), tls=identity(tmp_path, ["127.0.0.1"]).server) as secure:
        error, finding = told(store_at(replace(s3_server, endpoint_url=secure.url), bucket))
    assert str(error) == "CreateMultipartUpload: no TLS (CERTIFICATE_VERIFY_FAILED)"
    assert "AWS_CA_BUNDLE" in finding.hint


def test_http_asked_of_a_port_for_https_is_told_as_no_s3(s3_server: S3Server, bucket: str) -> None:
    page = Reply(b"Client sent an HTTP request to an HTTPS server.\n", 400, [("Content-Type", "text/plain")])
    with HttpServer(answer=lambda _: page) as plain:
        error, finding = told(store_at(replace(s3_server, endpoint_url=plain.url), bucket))
    assert isinstance(error, StoreStranger)
    assert finding.hint == error.hint
    assert "http:// asked of a port for https://" in finding.hint


def test_host_that_is_unknown_is_named_and_so_is_the_path_style(s3_server: S3Server) -> None:
    server = replace(s3_server, endpoint_url="http://s3.invalid:9000")
    error, finding = told(store_at(server, "my-stems", addressing_style="virtual"))
    assert isinstance(error, StoreHostUnknown)
    assert str(error) == "CreateMultipartUpload: the host my-stems.s3.invalid is unknown"
    assert 'store.addressing_style = "path"' in finding.hint


def test_store_that_takes_no_bucket_in_the_path_is_told_as_that(s3_server: S3Server, bucket: str) -> None:
    with S3Proxy(upstream=s3_server.endpoint_url) as proxy:
        proxy.on("*", refuse(403, "SecondLevelDomainForbidden"), times=EVER)
        error, finding = told(store_at(replace(s3_server, endpoint_url=proxy.url), bucket))
    assert isinstance(error, AddressingWrong)
    assert "SecondLevelDomainForbidden" in finding.detail
    assert finding.hint == 'set store.addressing_style = "virtual"'


def test_region_that_the_store_names_is_repeated(s3_server: S3Server, bucket: str) -> None:
    where = "<Endpoint>s3.eu-north-1.example</Endpoint>"
    body = f"<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message>{where}</Error>".encode()
    with S3Proxy(upstream=s3_server.endpoint_url) as proxy:
        proxy.on("*", lambda _: Reply(body, 301, [("Content-Type", "application/xml")]), times=EVER)
        error, finding = told(store_at(replace(s3_server, endpoint_url=proxy.url), bucket))
    assert isinstance(error, RegionWrong)
    assert (
        str(error) == "CreateMultipartUpload: 301 PermanentRedirect: elsewhere; its endpoint is s3.eu-north-1.example"
    )
    assert finding.hint == RegionWrong.hint


def test_region_that_boto3_has_to_find_out_is_a_warning(s3_servers: Callable[[str], S3Server]) -> None:
    swift = s3_servers("swift")
    with closing(swift.client()) as client, suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket="of-a-region")
    with closing(store_at(swift, "of-a-region", region="eu-west-9")) as store:
        bucket, *others = store.probe(PROBE)
    assert bucket.level == "warn"
    assert "another region's than store.region" in bucket.detail
    assert bucket.hint == RegionWrong.hint
    assert {each.level for each in others if each.subject in {"write", "multipart"}} == {"ok"}


@pytest.mark.parametrize(("status", "kind"), [(407, StoreProxyAway), (400, StoreStranger)])
def test_proxy_of_the_environment_that_answers_by_itself_is_named(
    s3_server: S3Server, bucket: str, status: int, kind: type[ArchiverError]
) -> None:
    with (
        HttpServer(answer=lambda _: Reply(b"<html>no way</html>", status)) as proxy,
        pytest.MonkeyPatch.context() as environ,
    ):
        environ.setenv("HTTP_PROXY", proxy.url)
        error, finding = told(store_at(s3_server, bucket))
    assert isinstance(error, kind)
    assert "HTTP_PROXY" in finding.hint
    assert "NO_PROXY" in finding.hint


def test_proxy_of_the_environment_that_refuses_a_tunnel_is_named(s3_server: S3Server, bucket: str) -> None:
    with HttpServer(answer=lambda _: Reply(b"", 403)) as proxy, pytest.MonkeyPatch.context() as environ:
        environ.setenv("HTTPS_PROXY", proxy.url)
        error, finding = told(store_at(replace(s3_server, endpoint_url="https://s3.example.com"), bucket))
    assert isinstance(error, StoreProxyAway)
    assert finding.hint == StoreProxyAway.hint
