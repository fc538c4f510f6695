"""The S3 calls that the store makes: each with our options, and with our errors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlencode

from archiver.adapters.object_store.checksums import CRC32, Checksum, ChecksumKind
from archiver.adapters.object_store.content import BEGIN_NAME, SHA256_NAME, Content
from archiver.adapters.object_store.faults import Absent, NoETag, translated
from archiver.adapters.object_store.memory_file import file_over
from archiver.adapters.object_store.quick import QuickCalls
from archiver.core.errors import BucketMissing, StoreBusy, StoreCorrupt
from archiver.core.model import StoredObject
from archiver.ports.runtime import UNWATCHED, Watch

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

READ_BLOCK = 256 * 1024
_CONDITIONS = {"IfNoneMatch": "If-None-Match", "IfMatch": "If-Match"}

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ObjectOptions:
    """The options of every object; what is None or empty is left to the bucket's defaults."""

    storage_class: str | None = None
    sse: str | None = None
    kms_key_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def arguments(self) -> Mapping[str, str]:
        """Return them as boto3's calls take them."""
        given = {
            "StorageClass": self.storage_class,
            "ServerSideEncryption": self.sse,
            "SSEKMSKeyId": self.kms_key_id,
            "Tagging": urlencode(self.tags, quote_via=quote),
        }
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True, slots=True)
class Labels:
    """Content type and metadata of one object. Raises ValueError for what no HTTP header may hold."""

    content_type: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for text in (self.content_type, *self.metadata, *self.metadata.values()):
            if not (text.isascii() and text.isprintable()):
                raise ValueError("content type and metadata must be printable ASCII")

    def naming(self, content: Content) -> Labels:
        """Return them with the SHA-256 of `content`: what stands under its key tells by that what it should be."""
        return replace(self, metadata={**self.metadata, SHA256_NAME: content.sha256})

    def beginning(self, begin: str) -> Labels:
        """Return them with how the bytes begin, which is all that is known of an upload in parts when it is made."""
        return replace(self, metadata={**self.metadata, BEGIN_NAME: begin})


@dataclass(frozen=True, slots=True)
class Part:
    """A part that the store has taken."""

    number: int
    etag: str
    checksum: Checksum | None


def stored_object(key: str, content: Content, answer: Answer) -> StoredObject:
    """Return the proof that `content` stands under `key`, from an answer that names its ETag."""
    checksum = content.checksum
    crc32 = f"{checksum.value:08x}" if checksum is not None and checksum.kind is CRC32 else ""
    return StoredObject(key, content.size, str(answer.get("ETag", "")).strip('"'), crc32)


def _of_an_object(call: str, answer: Answer) -> Answer:
    """Return an answer that shows an object; raise NoETag for a gateway's page."""
    if not answer.get("ETag"):
        raise NoETag(f"{call}: the answer names no ETag")
    return answer


def _listed(part: Part) -> CompletedPartTypeDef:
    listed: dict[str, Any] = {"PartNumber": part.number, "ETag": part.etag}
    if part.checksum:
        listed[part.checksum.kind.field] = part.checksum.text
    return cast("CompletedPartTypeDef", listed)


@dataclass(frozen=True, slots=True)
class S3Calls:
    """One bucket, and the options that every object in it is written with."""

    client: S3Client
    bucket: str
    options: Mapping[str, Any]
    quick: QuickCalls
    watch: Watch

    @classmethod
    def of(cls, client: S3Client, bucket: str, options: ObjectOptions, watch: Watch = UNWATCHED) -> S3Calls:
        """Return the calls for `bucket`; `watch` hears of each block that leaves or is read back."""
        return cls(client, bucket, options.arguments(), QuickCalls(client, watch), watch)

    @property
    def endpoint(self) -> str:
        """The address that calls go to; holds no secret."""
        return str(self.client.meta.endpoint_url)

    def put(self, key: str, content: Content, labels: Labels, **condition: Any) -> Answer:  # noqa: ANN401 - a string
        """PutObject with the SHA-256 of `content` as its checksum; `condition` is IfNoneMatch or IfMatch."""
        if content.data is None:
            raise AssertionError("only content in memory can be put")
        headers = {
            "Content-Type": labels.content_type,
            "x-amz-checksum-sha256": content.sha256_header,
            **{f"x-amz-meta-{name}": value for name, value in labels.metadata.items()},
            **{_CONDITIONS[name]: value for name, value in condition.items()},
        }
        quick = self.quick.send("PutObject", key, content.data, headers)
        if quick is not None:  # an answer that names nothing is one all the same
            return quick
        with translated("PutObject"), file_over(content.data, self.watch.progress) as body:
            answer = self.client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=body,
                ContentLength=content.size,
                ContentType=labels.content_type,
                Metadata=labels.metadata,
                ChecksumSHA256=content.sha256_header,
                **self.options,
                **condition,
            )
            self.quick.learn("PutObject", key)
            return answer

    def head(self, key: str, *, bare: bool = False) -> Answer:
        """HeadObject with checksums; raises Absent, and NoETag unless the answer may go `bare` of one."""
        with translated("HeadObject"):
            answer = self.client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
        return answer if bare else _of_an_object("HeadObject", answer)

    def read(self, key: str, *, limit: int, bare: bool = False) -> tuple[bytes | None, str]:
        """Return the bytes of an object (None when it has more than `limit`) and its ETag; raises as `head`."""
        with translated("GetObject"):
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
            with closing(answer["Body"]) as body:
                if not bare:
                    _of_an_object("GetObject", answer)
                small = answer["ContentLength"] <= limit
                return (body.read() if small else None), answer.get("ETag", "")

    def sha256(self, key: str, etag: str) -> str:
        """Read the object that has this ETag, or none, and return its SHA-256 in hex; raises Absent or Conflict."""
        digest = hashlib.sha256()
        condition: dict[str, Any] = {"IfMatch": etag} if etag else {}
        with translated("GetObject"):
            answer = self.client.get_object(Bucket=self.bucket, Key=key, **condition)
            with closing(answer["Body"]) as body:
                for block in body.iter_chunks(READ_BLOCK):
                    digest.update(block)
                    self.watch.progress()
        return digest.hexdigest()

    def create(self, key: str, labels: Labels, kind: ChecksumKind | None) -> str:
        """CreateMultipartUpload, to be checked by one checksum of `kind` over the whole; return the upload's id."""
        checked: dict[str, Any] = {"ChecksumAlgorithm": kind.name, "ChecksumType": "FULL_OBJECT"} if kind else {}
        with translated("CreateMultipartUpload"):
            answer = self.client.create_multipart_upload(
                Bucket=self.bucket,
                Key=key,
                ContentType=labels.content_type,
                Metadata=labels.metadata,
                **checked,
                **self.options,
            )
        if not answer.get("UploadId"):
            raise StoreBusy("CreateMultipartUpload: the answer names no upload")
        return answer["UploadId"]

    def part(self, key: str, upload_id: str, number: int, data: memoryview, checksum: Checksum | None) -> Part:
        """UploadPart; sending the same number again replaces the part."""
        query = "?" + urlencode({"partNumber": number, "uploadId": upload_id}, quote_via=quote)
        named = {checksum.kind.header: checksum.text} if checksum else {}
        answer: Answer | None = self.quick.send("UploadPart", key, data, named, query)
        if answer is None:
            given: dict[str, Any] = {checksum.kind.field: checksum.text} if checksum else {}
            with translated("UploadPart"), file_over(data, self.watch.progress) as body:
                answer = self.client.upload_part(
                    Bucket=self.bucket,
                    Key=key,
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=body,
                    ContentLength=len(data),
                    **given,
                )
                self.quick.learn("UploadPart", key)
        if checksum and answer.get(checksum.kind.field, checksum.text) != checksum.text:
            raise StoreCorrupt("UploadPart: the store names another checksum than ours")
        return Part(number, str(_of_an_object("UploadPart", answer)["ETag"]), checksum)

    def complete(
        self,
        key: str,
        upload_id: str,
        parts: Sequence[Part],
        whole: Checksum | None,
        **condition: Any,  # noqa: ANN401 - a string
    ) -> Answer:
        """CompleteMultipartUpload, under the checksum of the `whole`; `condition` is IfNoneMatch or IfMatch."""
        listed = [_listed(part) for part in parts]
        checked: dict[str, Any] = {whole.kind.field: whole.text, "ChecksumType": "FULL_OBJECT"} if whole else {}
        with translated("CompleteMultipartUpload"):
            return self.client.complete_multipart_upload(
                Bucket=self.bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": listed},
                **checked,
                **condition,
            )

    def abort(self, key: str, upload_id: str) -> None:
        """AbortMultipartUpload; raises Absent when there is no such upload."""
        with translated("AbortMultipartUpload"):
            self.client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)

    def uploads(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
        """ListMultipartUploads: yield key, upload id and begin of each under `prefix`."""
        with suppress(Absent), translated("ListMultipartUploads"):  # rclone: 404 where there is none
            for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix):
                for upload in page.get("Uploads", []):
                    yield upload["Key"], upload["UploadId"], upload["Initiated"]

    def bucket_date(self) -> str:
        """HeadBucket; return the answer's Date header, empty when it has none. Raises BucketMissing."""
        try:
            with translated("HeadBucket"):
                answer = self.client.head_bucket(Bucket=self.bucket)
        except Absent:
            raise BucketMissing(f"HeadBucket: there is no bucket {self.bucket}") from None
        return answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")

    def close(self) -> None:
        """Close the idle connections, the client's too."""
        self.quick.close()
        self.client.close()

    def stale_upload_days(self) -> int | None:
        """Return the days after which the bucket's lifecycle aborts unfinished uploads; None when it never does."""
        try:
            with translated("GetBucketLifecycleConfiguration"):
                answer = self.client.get_bucket_lifecycle_configuration(Bucket=self.bucket)
        except Absent:
            return None
        rules = [rule for rule in answer.get("Rules", []) if rule["Status"] == "Enabled"]
        days = [rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation") for rule in rules]
        return min((day for day in days if day is not None), default=None)
