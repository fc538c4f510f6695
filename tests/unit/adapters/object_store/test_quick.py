"""The quick calls beside boto3's own: the same fields, and the same signature over them at the same second."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config

from archiver.adapters.object_store.calls import Labels, ObjectOptions, S3Calls
from archiver.adapters.object_store.checksums import CRC32
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.quick import OPERATIONS, _signed_head
from archiver.adapters.object_store.reading import ReadCalls
from archiver.core.errors import ArchiverError
from tests.house import s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY = "stems/(1) *'!=~ä.mp3"
CONTENT = Content.of(b"the bytes of a stem")
LABELS = Labels("audio/mpeg", {"task-id": "t", "stem": "vocal"})
OF_A_TRY = {"amz-sdk-invocation-id", "amz-sdk-request", "expect"}
OF_A_CONNECTION = {"host", "accept-encoding"}
NOTHING = ObjectOptions()
ALL = ObjectOptions("STANDARD_IA", "aws:kms", "alias/stems", {"a b": "c/d"})

Fields = Mapping[str, str]


class Raw(io.BytesIO):
    def stream(self) -> Iterator[bytes]:
        yield from self


class Nowhere:
    """Answers every request of a client with 200 before it is sent; keeps its fields."""

    def __init__(self, client: S3Client) -> None:
        self.fields: Fields = {}
        client.meta.events.register("before-send.s3", self._answer)

    def _answer(self, request: Any, **_: object) -> Any:  # noqa: ANN401 - the stubs know no handler that answers
        self.fields = {name.lower(): str(value, "latin-1") if isinstance(value, bytes) else value
                       for name, value in request.headers.items()}  # fmt: skip
        return AWSResponse(request.url, 200, HTTPHeaders.from_pairs([("ETag", '"e"')]), Raw())


@cache
def session(token: str | None = None) -> boto3.session.Session:
    return boto3.session.Session("AKIDEXAMPLE", "the/secret+key", token)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def put(calls: S3Calls, **more: Any) -> None:  # noqa: ANN401 - a condition
    calls.put(KEY, CONTENT, LABELS, **more)


def part(calls: S3Calls) -> None:
    assert CONTENT.data is not None
    calls.part(KEY, "upload/1==", 7, CONTENT.data, CRC32.over(CONTENT.data))


def get(calls: S3Calls) -> None:
    ReadCalls(calls).open(KEY, offset=7, etag="e").close()


def ask_head(calls: S3Calls) -> None:
    ReadCalls(calls).head(KEY)


def list_page(calls: S3Calls) -> None:
    ReadCalls(calls).page("a/ b+", delimiter="/", after="ä=&")


READS: dict[str, tuple[str, Mapping[str, str], str]] = {
    "GetObject": (quote(KEY, safe="/~"), {"Range": "bytes=7-", "If-Match": '"e"'}, ""),
    "HeadObject": (quote(KEY, safe="/~"), {"x-amz-checksum-mode": "ENABLED"}, ""),
    "ListObjectsV2": (
        "",
        {},
        "?delimiter=%2F&encoding-type=url&list-type=2&max-keys=1000&prefix=a%2F%20b%2B&start-after=%C3%A4%3D%26",
    ),
}
"""What each asks for: path, fields, query."""


@pytest.mark.parametrize("token", [None, "session/token=="])
@pytest.mark.parametrize(
    ("operation", "send"), [("GetObject", get), ("HeadObject", ask_head), ("ListObjectsV2", list_page)]
)
@pytest.mark.parametrize(
    ("endpoint", "style"),
    [(None, "virtual"), ("http://127.0.0.1:9", "path"), ("https://s3.example:8443/below", "virtual")],
)
def test_quick_read_has_the_fields_and_the_signature_of_boto3(
    endpoint: str | None, style: str, operation: str, send: Callable[[S3Calls], None], token: str | None
) -> None:
    client = s3_client(endpoint_url=endpoint, region="eu-west-1", addressing_style=style, session=session(token))
    nowhere = Nowhere(client)
    path, headers, query = READS[operation]
    with closing(S3Calls.of(client, "stems", NOTHING)) as calls:
        for _ in range(20):
            calls.quick._routes.clear()
            with suppress(ArchiverError):  # what the answer means is none of this
                send(calls)
            calls.quick.learn(operation, KEY)  # the answer was none that may be learned from
            ours = fields_of(_signed_head(OPERATIONS[operation], calls.quick._routes[operation], path + query, headers))
            boto3s = {name: value for name, value in nowhere.fields.items() if name not in OF_A_TRY}
            if ours["x-amz-date"] == boto3s["x-amz-date"]:
                break
    assert {name: ours[name] for name in set(ours) - OF_A_CONNECTION} == boto3s


def fields_of(head: bytes) -> Fields:
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@pytest.mark.parametrize("token", [None, "session/token=="])
@pytest.mark.parametrize("options", [NOTHING, ALL])
@pytest.mark.parametrize(("operation", "send"), [("PutObject", put), ("UploadPart", part)])
@pytest.mark.parametrize(
    ("endpoint", "region", "style", "bucket"),
    [
        (None, "us-east-1", "auto", "stems"),
        (None, "eu-central-1", "virtual", "stems"),
        (None, "eu-central-1", "auto", "with.dots"),
        (None, "cn-north-1", "auto", "stems"),
        ("http://127.0.0.1:9", "us-east-1", "path", "stems"),
        ("https://s3.example:8443/below", "us-west-2", "virtual", "stems"),
    ],
)
def test_quick_call_has_the_fields_and_the_signature_of_boto3(
    endpoint: str | None, region: str, style: str, bucket: str, operation: str,
    send: Callable[[S3Calls], None], options: ObjectOptions, token: str | None,
) -> None:  # fmt: skip
    client = s3_client(endpoint_url=endpoint, region=region, addressing_style=style, session=session(token))
    nowhere = Nowhere(client)
    with closing(S3Calls.of(client, bucket, options)) as calls:
        for _ in range(20):
            calls.quick._routes.clear()
            send(calls)
            boto3s = {name: value for name, value in nowhere.fields.items() if name not in OF_A_TRY}
            ours = _signed_as(calls, operation, boto3s)
            if ours["x-amz-date"] == boto3s["x-amz-date"]:
                break
    assert {name: ours[name] for name in set(ours) - OF_A_CONNECTION} == boto3s


def _signed_as(calls: S3Calls, operation: str, boto3s: Fields) -> Fields:
    """Return the fields that the quick call would have, of this call's own ones."""
    route = calls.quick._routes[operation]
    of_this_call = {"content-type", "x-amz-checksum-sha256", "x-amz-checksum-crc32"}
    headers = {name: boto3s[name] for name in boto3s if name in of_this_call or name.startswith("x-amz-meta-")}
    query = f"?partNumber=7&uploadId={quote('upload/1==', safe='')}" if operation == "UploadPart" else ""
    assert CONTENT.data is not None
    headers["Content-Length"] = str(CONTENT.size)
    return fields_of(_signed_head("PUT", route, quote(KEY, safe="/~") + query, headers, CONTENT.data))


def routes_after_a_put(client: S3Client) -> Mapping[str, object]:
    Nowhere(client)
    with closing(S3Calls.of(client, "stems", NOTHING)) as calls:
        put(calls)
        return dict(calls.quick._routes)


def test_behind_a_proxy_every_call_is_boto3s_unless_the_host_is_excepted(monkeypatch: pytest.MonkeyPatch) -> None:
    def client() -> S3Client:
        return s3_client(endpoint_url="http://s3.test", region="us-east-1", session=session())

    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert "PutObject" in routes_after_a_put(client())
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert routes_after_a_put(client()) == {}
    monkeypatch.setenv("no_proxy", "s3.test")
    assert "PutObject" in routes_after_a_put(client())


@pytest.mark.parametrize("version", ["s3", "UNSIGNED"])
def test_where_another_kind_of_signature_is_asked_for_every_call_is_boto3s(version: str) -> None:
    from botocore import UNSIGNED

    config = Config(signature_version=UNSIGNED if version == "UNSIGNED" else version)
    client = session().client("s3", region_name="us-east-1", endpoint_url="http://127.0.0.1:9", config=config)
    assert routes_after_a_put(client) == {}


def test_session_of_a_directory_bucket_is_boto3s() -> None:
    client = s3_client(endpoint_url="http://127.0.0.1:9", region="us-east-1", session=session())
    client.meta.events.register("before-sign.s3", lambda request, **_: request.headers.add_header(
        "x-amz-s3session-token", "t"))  # fmt: skip
    assert routes_after_a_put(client) == {}
