"""PutObject without boto3's preparations, once boto3 has shown the way."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from archiver.edge.object_store.content import Content, opened
from archiver.edge.object_store.faults import Conflict

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

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
    "ETag": "ETag",
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


class QuickPut:
    """Sends an object as boto3 sent the last one; safe to share among threads.

    For every call boto3 finds endpoint, region, addressing and signature anew: two thirds of what a small
    PutObject costs. Here all that is taken over from a call of its own that worked, signed by the same
    signer and sent over the same connections. Only a plain 200 or 412 counts. After any other answer, and
    after none, boto3 is to be asked, with its retries, redirects and errors; it then shows the way anew.
    """

    def __init__(self, client: S3Client) -> None:
        self._client: Any = client  # the signer and the connections have no public name
        self._sent = threading.local()
        self._way: _Way | None = None
        client.meta.events.register_last("before-send.s3.PutObject", self._note)

    def put(self, key: str, content: Content, data: memoryview, headers: Mapping[str, str]) -> dict[str, str] | None:
        """Put `data` under `key`; return what the answer says as PutObject would, None when boto3 is to be asked.

        Raises Conflict.
        """
        way = self._way
        if way is None:
            return None
        with opened(data) as body:
            fields = {**way.headers, **headers, "Content-Length": str(content.size)}
            request = AWSRequest("PUT", way.base + _quoted(key), fields, body)
            request.context = dict(way.context)
            try:
                self._client._request_signer.sign("PutObject", request)  # noqa: SLF001 - see __init__
                answer = self._client._endpoint.http_session.send(request.prepare())  # noqa: SLF001 - see __init__
            except (BotoCoreError, HTTPError, OSError):
                return None
        if answer.status_code == _PRECONDITION_FAILED:
            raise Conflict(f"PutObject: {_PRECONDITION_FAILED}")
        if answer.status_code != _OK:
            return None
        return {name: answer.headers[field] for name, field in _ANSWERS.items() if field in answer.headers}

    def learn(self, key: str) -> None:
        """Take over what boto3 sent in this thread last, for the object `key`: it worked."""
        sent: _Way | None = self._sent.__dict__.pop("way", None)
        if sent is not None and sent.base.endswith(f"/{_quoted(key)}"):
            self._way = replace(sent, base=sent.base.removesuffix(_quoted(key)))

    def _note(self, request: Any, **_: object) -> None:  # noqa: ANN401 - the stubs of AWSPreparedRequest know no context
        headers = {name: _text(request.headers[name]) for name in OF_EVERY_OBJECT if name in request.headers}
        context = {name: request.context[name] for name in _SIGNED_BY if name in request.context}
        self._sent.way = _Way(request.url, headers, context)


def _quoted(key: str) -> str:
    return quote(key, safe="/~")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
