"""PutObject and UploadPart without boto3's preparations, once boto3 has shown the way."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from archiver.adapters.object_store.content import opened
from archiver.adapters.object_store.exchange import exchange
from archiver.adapters.object_store.faults import Conflict
from archiver.core.errors import StoreBusy

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from urllib3 import HTTPConnectionPool

OPERATIONS = ("PutObject", "UploadPart")
OF_EVERY_OBJECT = (
    "User-Agent",
    "x-amz-storage-class",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-tagging",
)
_SIGNED_BY = (
    "auth_options",
    "auth_type",
    "client_config",
    "client_region",
    "endpoint_properties",
    "has_streaming_input",
    "signing",
    "unsigned_payload",
)
"""What botocore's signers look at; the rest of a request's context holds its body and its tries."""
_OK = 200
_PRECONDITION_FAILED = 412
_ANSWERS = {
    "ETag": "etag",
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "ChecksumCRC32": "x-amz-checksum-crc32",
    "ChecksumType": "x-amz-checksum-type",
}


@dataclass(frozen=True, slots=True)
class _Way:
    """What boto3 made of the client's settings for this bucket: where to send, with which fields, signed how."""

    base: str
    """The URL, as far as the key."""
    headers: Mapping[str, str]
    context: Mapping[str, Any]
    pool: HTTPConnectionPool


class QuickCalls:
    """Sends objects and parts as boto3 sent the last ones; safe to share among threads.

    For every call boto3 finds endpoint, region, addressing and signature anew, and copies header fields through
    five layers: most of what a small PutObject costs. Here all that is taken over from a call of its own that
    worked, signed by the same signer and sent over the same connections. Only a plain 200 or 412 counts. After any
    other answer, and after none, boto3 is to be asked, with its retries, redirects and errors; it then shows the
    way anew. Behind a proxy every call is boto3's.
    """

    def __init__(self, client: S3Client) -> None:
        self._client: Any = client  # the signer and the connections have no public name
        self._sent = threading.local()
        self._ways: dict[str, _Way] = {}
        for operation in OPERATIONS:
            client.meta.events.register_last(f"before-send.s3.{operation}", self._note)

    def send(
        self, operation: str, key: str, data: memoryview, headers: Mapping[str, str], query: str = ""
    ) -> dict[str, str] | None:
        """PUT `data`; return what the answer says as boto3 would, None when boto3 is to be asked.

        `query` is sent as it is. Raises Conflict, and StoreBusy for a store that keeps silent.
        """
        way = self._ways.get(operation)
        if way is None:
            return None
        try:
            head = self._signed(operation, way, _quoted(key) + query, data, headers)
            answer = exchange(way.pool, head, data)
        except TimeoutError:
            raise StoreBusy(f"{operation}: no answer (TimeoutError)") from None
        except (BotoCoreError, HTTPError, OSError):
            return None
        if answer.status == _PRECONDITION_FAILED:
            raise Conflict(f"{operation}: {_PRECONDITION_FAILED}")
        if answer.status != _OK:
            return None
        return {name: answer.headers[field] for name, field in _ANSWERS.items() if field in answer.headers}

    def _signed(self, operation: str, way: _Way, path: str, data: memoryview, headers: Mapping[str, str]) -> bytes:
        """Return the request's head."""
        url = urlsplit(way.base + path)
        fields = {
            "Host": url.netloc,
            "Accept-Encoding": "identity",
            **way.headers,
            **headers,
            "Content-Length": str(len(data)),
        }
        with opened(data) as body:
            request = AWSRequest("PUT", way.base + path, fields, body)
            request.context = dict(way.context)
            self._client._request_signer.sign(operation, request)  # noqa: SLF001 - see __init__
        target = f"{url.path}?{url.query}" if url.query else url.path
        lines = [f"PUT {target} HTTP/1.1", *(f"{name}: {_text(value)}" for name, value in request.headers.items())]
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1")

    def learn(self, operation: str, key: str) -> None:
        """Take over what boto3 sent in this thread last, for the object `key`: it worked."""
        sent: _Way | None = self._sent.__dict__.pop("way", None)
        if sent is not None and sent.base.endswith(f"/{_quoted(key)}"):
            self._ways[operation] = replace(sent, base=sent.base.removesuffix(_quoted(key)))

    def _note(self, request: Any, **_: object) -> None:  # noqa: ANN401 - the stubs of AWSPreparedRequest know no context
        session = self._client._endpoint.http_session  # noqa: SLF001 - see __init__
        if session._proxy_config.proxy_url_for(request.url):  # noqa: SLF001 - see __init__
            return
        headers = {name: _text(request.headers[name]) for name in OF_EVERY_OBJECT if name in request.headers}
        context = {name: request.context[name] for name in _SIGNED_BY if name in request.context}
        pool = session._manager.connection_from_url(request.url)  # noqa: SLF001 - see __init__
        self._sent.way = _Way(request.url.partition("?")[0], headers, context, pool)


def _quoted(key: str) -> str:
    return quote(key, safe="/~")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
