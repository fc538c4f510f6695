"""Ways of answering of stores that are less than Amazon's, by a proxy in front of one that is right.

A header that was signed cannot be taken away: what the store is not to see is done with a client of one's own.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

import anycrc

from archiver.core.capabilities import Capabilities, Multipart
from tests.fakes.s3_proxy import Exchange, S3Proxy, refuse, with_headers, without
from tests.fakes.scripted import Reply, Request

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

EVER = 100_000
NAMES = ("x-amz-checksum-sha256", "x-amz-checksum-crc32", "x-amz-checksum-crc64nvme", "x-amz-checksum-type")


def key_of(request: Request) -> str:
    return unquote(request.target.partition("?")[0]).strip("/").partition("/")[2]


@dataclass
class CarelessS3:
    """Rules for `proxy`, one a method; each may be put on beside the others but where it says otherwise."""

    proxy: S3Proxy
    direct: S3Client
    bucket: str
    named: dict[str, str] = field(default_factory=dict)
    """The SHA-256 that the last write of a key named."""
    flips: bool = False
    """Damages a byte of each object that is put without a look at its checksum."""

    def overwrites(self) -> None:
        """PutObject ignores If-None-Match."""
        self._on_put(lambda fields: "if-none-match" in fields)

    def ignores_if_match(self) -> None:
        self._on_put(lambda fields: "if-match" in fields)

    def takes_any_checksum(self, *, echoes: bool = False) -> None:
        """PutObject heeds its conditions, but no checksum; HeadObject names none, or the last that was sent."""

        def named(exchange: Exchange) -> Reply:
            answer = without(*NAMES)(exchange)
            sent = self.named.get(key_of(exchange.request), "")
            return with_headers(answer, {NAMES[0]: sent} if echoes and sent else {})

        self._on_put(lambda _: True, heeds=True)
        self.proxy.on("HeadObject", named, times=EVER)

    def overwrites_on_completion(self) -> None:
        """CompleteMultipartUpload ignores If-None-Match, and all checksums."""

        def act(exchange: Exchange) -> Reply:
            if "if-none-match" not in fields_of(exchange):
                return exchange.forward()
            return self._complete(exchange)

        self.proxy.on("CompleteMultipartUpload", act, times=EVER)

    def takes_any_part(self) -> None:
        """UploadPart heeds no checksum."""

        def act(exchange: Exchange) -> Reply:
            query = parse_qs(exchange.request.target.partition("?")[2])
            number, upload = int(query["partNumber"][0]), query["uploadId"][0]
            body = self._sent(exchange)
            key = key_of(exchange.request)
            right: Any = {"ChecksumAlgorithm": "CRC32"}
            if "x-amz-checksum-crc64nvme" in fields_of(exchange):  # boto3 alone computes none
                value: int = anycrc.Model("CRC64-NVME").calc(body)
                right = {"ChecksumCRC64NVME": base64.b64encode(value.to_bytes(8, "big")).decode()}
            done = self.direct.upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=number, Body=body, **right
            )
            return Reply(b"", 200, [("ETag", done["ETag"])])

        self.proxy.on("UploadPart", act, times=EVER)

    def is_like(self, known: Capabilities) -> None:
        """Lack all that these capabilities do."""
        self._on_put(lambda fields: self._is_beyond(known, fields), heeds_both=(known.create_only, known.replaces))
        if not known.names_sha256 or not known.checks_sha256:
            self.proxy.on("HeadObject", without(*NAMES), times=EVER)
        if known.multipart is Multipart.NONE:
            self.refuses("CreateMultipartUpload")
        elif known.multipart is Multipart.PLAIN:
            self.refuses("CreateMultipartUpload", 400, "InvalidRequest", x_amz_checksum_type="FULL_OBJECT")
        else:
            self._lacks_of_checksums(known)
        if not known.create_only_multipart:
            self.overwrites_on_completion()
        elif not known.checks_whole:
            self.takes_any_whole()

    def _lacks_of_checksums(self, known: Capabilities) -> None:
        if known.multipart is Multipart.CRC64NVME:
            self.refuses("CreateMultipartUpload", 400, "InvalidRequest", x_amz_checksum_algorithm="CRC32")
        if not known.checks_whole:
            self.takes_any_part()

    def _is_beyond(self, known: Capabilities, fields: dict[str, str]) -> bool:
        ignored = ("if-none-match" in fields and not known.create_only) or ("if-match" in fields and not known.replaces)
        return ignored or not known.checks_sha256

    def takes_any_whole(self) -> None:
        """CompleteMultipartUpload heeds If-None-Match, but no checksum of the whole."""

        def act(exchange: Exchange) -> Reply:
            answer = exchange.forward()
            return self._complete(exchange) if answer.status == 400 else answer

        self.proxy.on("CompleteMultipartUpload", act, times=EVER)

    def refuses(self, operation: str, status: int = 501, code: str = "NotImplemented", **fields: str) -> None:
        """Refuse each request of the operation whose header `fields` have these values (any value where it is `*`)."""
        refusal = refuse(status, code)

        def act(exchange: Exchange) -> Reply:
            sent = fields_of(exchange)
            wanted = {name.replace("_", "-"): value for name, value in fields.items()}
            met = all(name in sent and value in ("*", sent[name]) for name, value in wanted.items())
            return refusal(exchange) if met else exchange.forward()

        self.proxy.on(operation, act, times=EVER)

    def lists(self, shown: Callable[[str], bool]) -> None:
        """ListMultipartUploads shows uploads only for prefixes of which `shown` is true."""

        def act(exchange: Exchange) -> Reply:
            answer = exchange.forward()
            query = parse_qs(exchange.request.target.partition("?")[2])
            if shown(query.get("prefix", [""])[0]):
                return answer
            head, _, rest = answer.body.partition(b"<Upload>")
            return Reply(head + (b"</ListMultipartUploadsResult>" if rest else b""), answer.status, answer.headers)

        self.proxy.on("ListMultipartUploads", act, times=EVER)

    def names_no_etag(self) -> None:
        """HeadObject and GetObject name no ETag."""
        for operation in ("HeadObject", "GetObject"):
            self.proxy.on(operation, without("etag", *NAMES), times=EVER)

    def _on_put(
        self,
        takes: Callable[[dict[str, str]], bool],
        *,
        heeds: bool = False,
        heeds_both: tuple[bool, bool] | None = None,
    ) -> None:
        """Put without a checksum what `takes` is true of, and heed If-None-Match and If-Match, or not."""

        def act(exchange: Exchange) -> Reply:
            fields = fields_of(exchange)
            return self._put(exchange, heeds_both or (heeds, heeds)) if takes(fields) else exchange.forward()

        self.proxy.on("PutObject", act, times=EVER)

    def _sent(self, exchange: Exchange) -> bytes:
        """The request's body, damaged where it is to be."""
        body = bytearray(exchange.request.body)
        if self.flips:
            body[len(body) // 2] ^= 1
        return bytes(body)

    def _put(self, exchange: Exchange, heeds: tuple[bool, bool]) -> Reply:
        fields, key, body = fields_of(exchange), key_of(exchange.request), self._sent(exchange)
        arguments: dict[str, Any] = {}
        if heeds[0] and "if-none-match" in fields:
            arguments["IfNoneMatch"] = fields["if-none-match"]
        if heeds[1] and "if-match" in fields:
            arguments["IfMatch"] = fields["if-match"]
        try:
            answer = self.direct.put_object(Bucket=self.bucket, Key=key, Body=body, **arguments)
        except self.direct.exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return refuse(status, error.response["Error"]["Code"])(exchange)
        self.named[key] = fields.get(NAMES[0], "")
        return Reply(b"", 200, [("ETag", answer["ETag"])])

    def _complete(self, exchange: Exchange) -> Reply:
        key = key_of(exchange.request)
        upload = parse_qs(exchange.request.target.partition("?")[2])["uploadId"][0]
        listed = self.direct.list_parts(Bucket=self.bucket, Key=key, UploadId=upload).get("Parts", [])
        parts: Any = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in listed]
        done = self.direct.complete_multipart_upload(
            Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
        )
        text = f"<CompleteMultipartUploadResult><ETag>{done['ETag']}</ETag></CompleteMultipartUploadResult>"
        return Reply(text.encode(), 200, [("Content-Type", "application/xml")])


def fields_of(exchange: Exchange) -> dict[str, str]:
    return {name.lower(): value for name, value in exchange.request.fields}
