"""The calls that are made most without boto3's preparations, once boto3 has shown the way."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

import httpx
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import BotoCoreError
from botocore.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from archiver.adapters.http1 import Origin
from archiver.adapters.object_store.exchange import Incoming, StoreConnections
from archiver.adapters.object_store.faults import Conflict
from archiver.adapters.object_store.signature import Signature
from archiver.core.errors import StoreBusy
from archiver.core.http import PORTS
from archiver.ports.runtime import UNWATCHED, Watch

if TYPE_CHECKING:
    from botocore.signers import RequestSigner
    from mypy_boto3_s3 import S3Client

OPERATIONS = {
    "PutObject": "PUT",
    "UploadPart": "PUT",
    "GetObject": "GET",
    "HeadObject": "HEAD",
    "ListObjectsV2": "GET",
}
OF_EVERY_OBJECT = (
    "User-Agent",
    "x-amz-storage-class",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-tagging",
)
_SIGNED_FOR = re.compile(r"AWS4-HMAC-SHA256 Credential=[^,]+/[0-9]{8}/([^/,]+)/([^/,]+)/aws4_request,")
_OK = 200
_PRECONDITION_FAILED = 412
_ANSWERS = {
    b"etag": "ETag",
    b"x-amz-checksum-sha256": "ChecksumSHA256",
    b"x-amz-checksum-crc32": "ChecksumCRC32",
    b"x-amz-checksum-crc64nvme": "ChecksumCRC64NVME",
    b"x-amz-checksum-type": "ChecksumType",
}


@dataclass(frozen=True)
class Route:
    """The client's settings for this bucket as boto3 read them: where to send, with which fields, signed for whom."""

    base: str
    """The URL, as far as the key; of a listing the whole, without its query."""
    headers: Mapping[str, str]
    credentials: Callable[[], Any]
    """Returns those of the moment; None where there are none."""
    signature: Signature

    @cached_property
    def host(self) -> str:
        """The value of the field Host."""
        return urlsplit(self.base).netloc

    @cached_property
    def path(self) -> str:
        """The URL's path."""
        return urlsplit(self.base).path

    @cached_property
    def origin(self) -> Origin:
        """Scheme, host and port to connect to."""
        url = urlsplit(self.base)
        return url.scheme, url.hostname or "", url.port or PORTS[url.scheme]


class QuickCalls:
    """Sends objects and parts, and asks for objects and listings, as boto3 did last; safe to share among threads.

    For every call boto3 finds endpoint, region, addressing and signature anew, and copies header fields through
    five layers: most of what a small PutObject costs. Here all that is taken over from a call of its own that
    worked, and signed in the same way with the credentials of the moment. Only a plain 200 or 412 counts.
    After any other answer, and after none, boto3 is to be asked, with its retries, redirects and errors; it then
    shows the way anew. Behind a proxy, and where another kind of signature is asked for, every call is boto3's.
    What the answer to a read means, `reading.py` tells.
    """

    def __init__(self, client: S3Client, watch: Watch = UNWATCHED) -> None:
        self._watch = watch
        meta, config = client.meta, cast("Any", client.meta.config)  # the stubs know none of its options
        self._config = config
        self._proxies = get_environ_proxies(meta.endpoint_url)
        self._connections = StoreConnections(
            most=config.max_pool_connections,
            connect_timeout=config.connect_timeout,
            read_timeout=config.read_timeout,
            watch=watch,
        )
        self._sent = threading.local()
        self._routes: dict[str, Route] = {}
        for operation in OPERATIONS:
            meta.events.register_last(f"before-sign.s3.{operation}", self._note_signer)
            meta.events.register_last(f"before-send.s3.{operation}", self._note_request)

    def send(
        self, operation: str, key: str, data: memoryview, headers: Mapping[str, str], query: str = ""
    ) -> dict[str, str] | None:
        """PUT `data`; return what the answer says as boto3 would, None when boto3 is to be asked.

        `query` is sent as it is. Raises Conflict, and StoreBusy for a store that keeps silent.
        """
        route = self._routes.get(operation)
        if route is None:
            return None
        try:
            sized = {**headers, "Content-Length": str(len(data))}
            head = _signed_head("PUT", route, _quoted(key) + query, sized, data)
            answer = self._connections.put(route.origin, head, data)
        except httpx.TimeoutException:
            raise StoreBusy(f"{operation}: no answer (TimeoutError)") from None
        except (BotoCoreError, HTTPError, OSError, httpx.TransportError):
            self._watch.progress()  # raises where the connection was ended because this was given up
            return None
        if answer.status == _PRECONDITION_FAILED:
            raise Conflict(f"{operation}: {_PRECONDITION_FAILED}")
        if answer.status != _OK:
            return None
        fields = ((_ANSWERS.get(name.lower()), value) for name, value in answer.headers)
        return {name: value.decode("latin-1") for name, value in fields if name}

    def ask(self, operation: str, key: str, headers: Mapping[str, str], query: str = "") -> Incoming | None:
        """Send a request without a body; return its answer whatever it is, None when boto3 is to be asked.

        `query` is sent as it is. Raises StoreBusy for a store that keeps silent. The answer is to be closed.
        """
        route = self._routes.get(operation)
        if route is None:
            return None
        method = OPERATIONS[operation]
        try:
            head = _signed_head(method, route, _quoted(key) + query, headers)
            return self._connections.ask(route.origin, head, bodiless=method == "HEAD")
        except httpx.TimeoutException:
            raise StoreBusy(f"{operation}: no answer (TimeoutError)") from None
        except (BotoCoreError, HTTPError, OSError, httpx.TransportError):
            self._watch.progress()
            return None

    def learn(self, operation: str, key: str) -> None:
        """Take over what boto3 sent in this thread last, for the object `key`: it worked."""
        sent: Route | None = self._sent.__dict__.pop("route", None)
        if sent is not None and operation == "ListObjectsV2":
            self._routes[operation] = sent
        elif sent is not None and sent.base.endswith(f"/{_quoted(key)}"):
            self._routes[operation] = replace(sent, base=sent.base.removesuffix(_quoted(key)))

    def _note_signer(self, request_signer: RequestSigner, **_: object) -> None:
        self._sent.signer = request_signer

    def _note_request(self, request: AWSPreparedRequest, **_: object) -> None:
        base = request.url.partition("?")[0]
        found = _SIGNED_FOR.match(_text(request.headers.get("Authorization", "")))
        if found is None or "x-amz-s3session-token" in request.headers or self._proxies.get(urlsplit(base).scheme):
            return
        headers = {name: _text(request.headers[name]) for name in OF_EVERY_OBJECT if name in request.headers}
        signs_payload = (self._config.s3 or {}).get("payload_signing_enabled", True) is not False
        signature = Signature(found[1], found[2], signs_payload=signs_payload)
        self._sent.route = Route(base, headers, partial(_credentials, self._sent.signer), signature)

    def close(self) -> None:
        """Close the idle connections."""
        self._connections.close()


def _signed_head(
    method: str, route: Route, path: str, headers: Mapping[str, str], data: memoryview | None = None
) -> bytes:
    target = route.path + path
    target = target if target.startswith("/") else f"/{target}"
    named = {"Host": route.host, **route.headers, **headers}
    signed = route.signature.signed(route.credentials(), method, target, named, data)
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in signed.items()]]
    return "\r\n".join([*lines, "Accept-Encoding: identity\r\n\r\n"]).encode("latin-1")


def _credentials(signer: RequestSigner) -> Any:  # noqa: ANN401 - botocore's, which has no type
    return signer.get_auth_instance("s3", signer.region_name, "s3v4").credentials


def _quoted(key: str) -> str:
    return quote(key, safe="/~")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
