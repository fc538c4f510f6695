from __future__ import annotations

import base64
import hashlib
import traceback
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore import exceptions as boto
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from archiver.adapters.object_store.checksums import CRC32 as CRC_32
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.faults import Absent, Conflict, NoAnswer, translated
from archiver.adapters.object_store.memory_file import file_over
from archiver.adapters.object_store.pieces import Pieces
from archiver.adapters.object_store.retries import Retries
from archiver.core.capabilities import Capabilities
from archiver.core.errors import (
    AccessRefused,
    ArchiverError,
    BodyEmpty,
    BodyLong,
    BucketMissing,
    ClockSkewed,
    CredentialsMissing,
    CredentialsRefused,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    StoreMisfit,
)
from archiver.core.misses import RegionWrong, StoreStranger, StoreTlsRefused
from tests.fakes.object_store import MemoryBody

DATA = b"the bytes of a stem"
SHA256 = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
CRC32 = base64.b64encode(zlib.crc32(DATA).to_bytes(4, "big")).decode()
MD5 = f'"{hashlib.md5(DATA).hexdigest()}"'
WRONG_SHA256 = base64.b64encode(bytes(32)).decode()
WRONG_CRC32 = base64.b64encode(bytes(4)).decode()


def answered(code: str, status: int, message: str = "m", **headers: str) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {
                "RequestId": "R1",
                "HTTPStatusCode": status,
                "HTTPHeaders": headers,
                "RetryAttempts": 0,
                "HostId": "",
            },
        },
        "PutObject",
    )


def translation(error: Exception) -> ArchiverError:
    with pytest.raises(ArchiverError) as caught, translated("PutObject"):
        raise error
    return caught.value


def test_status_of_an_answer_without_a_code_of_s3_is_told_once() -> None:
    assert str(translation(answered("502", 502, "Bad Gateway"))) == "PutObject: 502 Bad Gateway (request R1)"
    assert str(translation(answered("411", 411, ""))) == "PutObject: 411 (request R1)"


def test_absent_message_of_the_store_is_left_out() -> None:
    missing: Any = None
    for message in (missing, ""):
        assert str(translation(answered("SlowDown", 503, message))) == "PutObject: 503 SlowDown (request R1)"


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NoSuchBucket", 404, BucketMissing),
        ("PermanentRedirect", 301, RegionWrong),
        ("301", 301, RegionWrong),
        ("302", 302, StoreStranger),
        ("308", 308, StoreStranger),
        ("307", 307, StoreStranger),
        ("TemporaryRedirect", 307, StoreBusy),
        ("AccessDenied", 403, AccessRefused),
        ("403", 403, AccessRefused),
        ("401", 401, AccessRefused),
        ("InvalidAccessKeyId", 403, CredentialsRefused),
        ("SignatureDoesNotMatch", 403, CredentialsRefused),
        ("ExpiredToken", 400, CredentialsRefused),
        ("InvalidToken", 400, CredentialsRefused),
        ("TokenRefreshRequired", 400, CredentialsRefused),
        ("AllAccessDisabled", 403, AccessRefused),
        ("AccountProblem", 403, AccessRefused),
        ("KMS.DisabledException", 400, AccessRefused),
        ("KMS.NotFoundException", 400, AccessRefused),
        ("RequestTimeTooSkewed", 403, ClockSkewed),
        ("RequestExpired", 403, ClockSkewed),
        ("NotImplemented", 501, StoreMisfit),
        ("501", 501, StoreMisfit),
        ("InvalidStorageClass", 400, StoreMisfit),
        ("InsufficientStorage", 507, StoreFull),
        ("QuotaExceeded", 403, StoreFull),
        ("507", 507, StoreFull),
        ("BadDigest", 400, StoreCorrupt),
        ("InvalidDigest", 400, StoreCorrupt),
        ("XAmzContentSHA256Mismatch", 400, StoreCorrupt),
        ("XAmzContentChecksumMismatch", 400, StoreCorrupt),
        ("IncompleteBody", 400, StoreCorrupt),
        ("PreconditionFailed", 412, Conflict),
        ("412", 412, Conflict),
        ("ConditionalRequestConflict", 409, Conflict),
        ("NoSuchKey", 404, Absent),
        ("NoSuchUpload", 404, Absent),
        ("404", 404, Absent),
        ("SlowDown", 503, StoreBusy),
        ("InternalError", 500, StoreBusy),
        ("InternalError", 200, StoreBusy),
        ("RequestTimeout", 400, StoreBusy),
        ("", 502, StoreBusy),
        ("NeverHeardOf", 418, StoreBusy),
    ],
)
def test_each_answer_becomes_its_error(code: str, status: int, kind: type[ArchiverError]) -> None:
    error = translation(answered(code, status))
    assert type(error) is kind
    assert code in str(error)
    assert "R1" in str(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (boto.NoCredentialsError(), CredentialsMissing),
        (boto.PartialCredentialsError(provider="p", cred_var="v"), CredentialsMissing),
        (boto.CredentialRetrievalError(provider="p", error_msg="e"), CredentialsMissing),
        (boto.SSOTokenLoadError(error_msg="e"), CredentialsMissing),
        (boto.ParamValidationError(report="r"), StoreMisfit),
        (boto.EndpointConnectionError(endpoint_url="u"), NoAnswer),
        (boto.ConnectTimeoutError(endpoint_url="u"), NoAnswer),
        (boto.ReadTimeoutError(endpoint_url="u"), NoAnswer),
        (boto.ConnectionClosedError(endpoint_url="u"), NoAnswer),
        (boto.SSLError(endpoint_url="u", error=OSError()), StoreTlsRefused),
        (boto.HTTPClientError(error="e"), NoAnswer),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), NoAnswer),
        (boto.ResponseStreamingError(error="e"), NoAnswer),
        (OSError("reset"), NoAnswer),
    ],
)
def test_each_botocore_error_becomes_ours(error: Exception, kind: type[ArchiverError]) -> None:
    ours = translation(error)
    assert type(ours) is kind
    assert type(error).__name__ in str(ours)


def test_no_url_with_a_password_is_told_nor_traced() -> None:
    cause = boto.ProxyConnectionError(proxy_url="http://user:hunter2@proxy", error="hunter2")
    assert "hunter2" not in "".join(traceback.format_exception(translation(cause)))


def test_a_message_is_one_printable_line_of_bounded_length() -> None:
    text = str(translation(answered("X\x1b[2J", 500, "a\nb" + "c" * 1000)))
    assert text.isprintable()
    assert len(text) < 500


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)]
)
def test_retry_after_is_passed_on_when_it_is_seconds(header: str, seconds: float | None) -> None:
    assert translation(answered("SlowDown", 503, **{"retry-after": header})).retry_after == seconds


def test_bugs_are_not_translated() -> None:
    with pytest.raises(ZeroDivisionError), translated("PutObject"):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("answer", "same"),
    [
        ({"ContentLength": len(DATA) + 1, "ChecksumSHA256": SHA256, "ETag": MD5}, False),
        ({"ContentLength": 0, "ETag": MD5}, False),
        ({"ChecksumSHA256": SHA256}, True),
        ({"ChecksumSHA256": SHA256, "ETag": '"other"'}, True),
        ({"ChecksumSHA256": WRONG_SHA256, "ETag": MD5}, False),
        ({"ChecksumSHA256": WRONG_SHA256, "ChecksumType": "COMPOSITE"}, None),
        ({"ChecksumSHA256": WRONG_SHA256 + "-2"}, None),
        ({"ChecksumCRC32": CRC32, "ChecksumType": "FULL_OBJECT"}, True),
        ({"ChecksumCRC32": WRONG_CRC32}, False),
        ({"ChecksumCRC32": WRONG_CRC32, "ChecksumType": "COMPOSITE"}, None),
        ({"ETag": MD5}, True),
        ({"ETag": '"other"'}, None),
        ({"ContentLength": len(DATA)}, None),
        ({}, None),
    ],
)
def test_an_answer_proves_disproves_or_proves_nothing(answer: dict[str, object], same: bool | None) -> None:
    assert Content.of(DATA).named_by(answer, Capabilities()) is same


def test_content_no_longer_in_memory_is_proven_by_its_crc_but_not_by_an_etag() -> None:
    content = Content(len(DATA), hashlib.sha256(DATA).hexdigest(), None, CRC_32.over(DATA))
    assert content.named_by({"ChecksumCRC32": CRC32}, Capabilities()) is True
    assert content.named_by({"ChecksumCRC32": WRONG_CRC32}, Capabilities()) is False
    assert content.named_by({"ETag": MD5}, Capabilities()) is None


def test_a_file_over_memory_gives_blocks_and_goes_back_like_a_file() -> None:
    data = bytes(range(256)) * 512 + b"end"
    with file_over(memoryview(data)) as view:
        blocks = [bytes(view.read(16_384)) for _ in range(4)]
        assert [len(block) for block in blocks] == [65_536, 65_536, 3, 0]
        assert b"".join(blocks) == data
        assert view.tell() == view.seek(0, 2) == len(data)
        assert view.seek(5) == 5
        assert view.seek(2, 1) == 7
        assert view.seek(-1000) == 0
        assert bytes(view.read()) == data
        assert bytes(view.read()) == b""
        assert view.seekable()
        assert view.readable()


@given(data=st.binary(min_size=1, max_size=50), size=st.integers(1, 60), announced=st.booleans())
def test_a_source_gives_every_byte_once_and_knows_the_last_piece(data: bytes, size: int, announced: bool) -> None:
    cut = Pieces(MemoryBody(data, announced=announced), memoryview(bytearray(size)), CRC_32)
    pieces = [bytes(cut.next())]
    crcs = [cut.checksum_of(memoryview(pieces[0]))]
    while not cut.ended:
        pieces.append(bytes(cut.next()))
        crcs.append(cut.checksum_of(memoryview(pieces[-1])))
    assert b"".join(pieces) == data
    assert [len(piece) for piece in pieces[:-1]] == [size] * (len(pieces) - 1)
    assert crcs == [CRC_32.over(piece) for piece in pieces]
    content = cut.content()
    assert (content.size, content.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert content.checksum == CRC_32.over(data)


def test_a_source_of_a_body_without_bytes_raises() -> None:
    class Silent(MemoryBody):
        def readinto(self, buffer: memoryview) -> int:
            return 0

    with pytest.raises(BodyEmpty):
        Pieces(Silent(b""), memoryview(bytearray(1)), None).next()


@pytest.mark.parametrize("size", [4, 5, 6, 7, 20])
def test_a_source_of_a_body_longer_than_announced_raises(size: int) -> None:
    body = MemoryBody(b"0123456789")
    body.length = 6
    cut = Pieces(body, memoryview(bytearray(size)), None)
    if size + 1 <= 6:
        cut.next()
    with pytest.raises(BodyLong):
        cut.next()


def test_a_source_whose_body_counted_otherwise_is_corrupt() -> None:
    body = MemoryBody(b"0123456789")
    cut = Pieces(body, memoryview(bytearray(20)), None)
    cut.next()
    body.size += 1
    with pytest.raises(StoreCorrupt):
        cut.content()


@pytest.mark.parametrize(
    ("faults", "waits"),
    [
        ([None] * 5, [0.5, 1.0, 2.0, 4.0]),  # five tries
        ([None, 7.0, None, None], [0.5, 7.0, 2.0, 4.0]),  # the store's wish counts where it is the longer
        ([0.1, 30.0], [0.5]),  # but not beyond 20 s altogether
        ([15.0, None, None], [15.0, 1.0, 2.0]),
        ([15.0, None, None, None], [15.0, 1.0, 2.0]),
    ],
)
def test_tries_of_a_call_grow_apart_and_end_within_twenty_seconds(
    faults: list[float | None], waits: list[float]
) -> None:
    slept: list[float] = []
    began = datetime(2026, 11, 1, tzinfo=UTC)
    retries = Retries(slept.append, lambda: 0.5, lambda: began + timedelta(seconds=sum(slept)))
    coming = iter(faults)

    def call() -> bool:
        for wait in coming:
            raise StoreBusy("503", retry_after=wait)
        return True

    ends_well = len(waits) == len(faults)
    if ends_well:
        assert retries.call(call)
    else:
        with pytest.raises(StoreBusy):
            retries.call(call)
    assert slept == waits


def test_what_is_absent_is_not_asked_for_again() -> None:
    slept: list[float] = []
    retries = Retries(slept.append, lambda: 0.5, lambda: datetime(2026, 11, 1, tzinfo=UTC))

    def call() -> bool:
        raise Absent("404")

    with pytest.raises(Absent):
        retries.call(call)
    assert slept == []


@pytest.mark.parametrize(
    ("fault", "times"),
    [(StoreBusy("503"), 5), (StoreCorrupt("BadDigest"), 0), (Conflict("409"), 0), (Absent("404"), 0)],
)
def test_each_answer_of_a_busy_store_is_noted_also_of_tries_that_are_repeated(fault: StoreBusy, times: int) -> None:
    noted: list[None] = []
    now = datetime(2026, 11, 1, tzinfo=UTC)
    retries = Retries(lambda _: None, lambda: 0.0, lambda: now, lambda: noted.append(None))

    def call() -> bool:
        raise fault

    with pytest.raises(type(fault)):
        retries.call(call)
    assert len(noted) == times
