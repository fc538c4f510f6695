"""Every error of S3 and of botocore, translated in one place.

Error codes: Amazon S3's API reference ("Error responses"), and what S3-compatible stores send instead.
Messages hold the code and the request id, and never a URL: a proxy's URL carries its password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    LoginError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
    SSOError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError, NameResolutionError

from archiver.core.errors import (
    AccessRefused,
    ArchiverError,
    BucketMissing,
    ClockSkewed,
    CredentialsMissing,
    CredentialsRefused,
    ObjectTooLarge,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    StoreMisfit,
    StoreProxyAway,
)
from archiver.core.http import retry_after
from archiver.core.misses import AddressingWrong, RegionWrong, StoreHostUnknown, StoreStranger, StoreTlsRefused
from archiver.core.reading import ObjectCold
from archiver.core.text import printable

EXCERPT = 200
_OPAQUE = re.compile(r"[\w+/=-]{40,}")
"""Secret keys have 40 characters, session tokens more; what may be one is not repeated."""


class Conflict(StoreBusy):
    """412 or 409: something stands under the key, or is just being written there. Look."""


class NoAnswer(StoreBusy):
    """The call ended without an answer."""


class Absent(StoreBusy):
    """404 for a key or an upload id."""


class Damaged(StoreCorrupt):
    """The store said yes to our object, and shows other bytes, which the next try replaces."""


class NoETag(StoreBusy):
    """An answer without an ETag: a store that names none, or a gateway's page in the place of an object."""


_BY_CODE: dict[str, type[ArchiverError]] = {
    "PreconditionFailed": Conflict,
    "ConditionalRequestConflict": Conflict,
    "OperationAborted": Conflict,
    "NoSuchKey": Absent,
    "NoSuchUpload": Absent,
    "NotFound": Absent,
    "NoSuchLifecycleConfiguration": Absent,
    "InvalidObjectState": ObjectCold,
    "InvalidRange": Conflict,
    "NoSuchBucket": BucketMissing,
    "PermanentRedirect": RegionWrong,
    "TemporaryRedirect": StoreBusy,
    "AuthorizationHeaderMalformed": RegionWrong,
    "IllegalLocationConstraintException": RegionWrong,
    "SecondLevelDomainForbidden": AddressingWrong,
    "InvalidBucketName": BucketMissing,
    "AccessDenied": AccessRefused,
    "AllAccessDisabled": AccessRefused,
    "AccountProblem": AccessRefused,
    "AccountSuspended": AccessRefused,
    "ExpiredToken": CredentialsRefused,
    "ExpiredTokenException": CredentialsRefused,
    "InvalidAccessKeyId": CredentialsRefused,
    "InvalidClientTokenId": CredentialsRefused,
    "InvalidSecurity": CredentialsRefused,
    "InvalidToken": CredentialsRefused,
    "NotSignedUp": AccessRefused,
    "SignatureDoesNotMatch": CredentialsRefused,
    "TokenRefreshRequired": CredentialsRefused,
    "RequestTimeTooSkewed": ClockSkewed,
    "RequestExpired": ClockSkewed,
    "BadDigest": StoreCorrupt,
    "InvalidDigest": StoreCorrupt,
    "IncompleteBody": StoreCorrupt,
    "XAmzContentSHA256Mismatch": StoreCorrupt,
    "XAmzContentChecksumMismatch": StoreCorrupt,
    "InvalidChecksum": StoreCorrupt,
    "QuotaExceeded": StoreFull,
    "InsufficientStorage": StoreFull,
    "InsufficientCapacity": StoreFull,
    "XMinioStorageFull": StoreFull,
    "XMinioAdminBucketQuotaExceeded": StoreFull,
    "EntityTooLarge": ObjectTooLarge,
    "EntityTooSmall": StoreMisfit,
    "InvalidArgument": StoreMisfit,
    "InvalidPart": StoreMisfit,
    "InvalidPartOrder": StoreMisfit,
    "InvalidRequest": StoreMisfit,
    "InvalidStorageClass": StoreMisfit,
    "InvalidTag": StoreMisfit,
    "InvalidEncryptionAlgorithmError": StoreMisfit,
    "MethodNotAllowed": StoreMisfit,
    "NotImplemented": StoreMisfit,
}

"""All others are StoreBusy: a code nobody has heard of must neither stop the other uploads nor end this one."""

_BY_STATUS: dict[int, type[ArchiverError]] = {
    301: RegionWrong,
    302: StoreStranger,
    303: StoreStranger,
    307: StoreStranger,
    308: StoreStranger,
    401: AccessRefused,
    403: AccessRefused,
    404: Absent,
    407: StoreProxyAway,
    409: Conflict,
    412: Conflict,
    413: ObjectTooLarge,
    416: Conflict,
    501: StoreMisfit,
    507: StoreFull,
}

_NO_CREDENTIALS = (
    CredentialRetrievalError,
    LoginError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)


_NO_S3 = frozenset({400, 405})
"""Answers whose body S3 gives a code; a HEAD's has no body. Gateways before it say 404, 429 and 5xx without one."""
_WHERE = ("Region", "Endpoint")
_TLS_REASON = re.compile(r"\[SSL: ([A-Z_]+)\]")


@contextmanager
def translated(call: str) -> Iterator[None]:
    """Turn what boto3 raises into our errors, named after `call`.

    The cause is dropped from the traceback, for botocore writes URLs into its messages.
    """
    try:
        yield
    except ClientError as error:
        raise _answered(call, error) from None
    except ParamValidationError as error:
        raise StoreMisfit(f"{call}: {type(error).__name__}") from None
    except _NO_CREDENTIALS as error:
        raise CredentialsMissing(f"{call}: no usable AWS credentials ({type(error).__name__})") from None
    except SSLError as error:
        raise StoreTlsRefused(f"{call}: no TLS ({_reason(error)})") from None
    except EndpointConnectionError as error:
        raise _not_reached(call, error) from None
    except ResponseParserError as error:
        raise StoreStranger(f"{call}: no answer of S3 ({type(error).__name__})") from None
    except ProxyConnectionError as error:
        raise StoreProxyAway(f"{call}: no answer from a proxy ({type(error).__name__})") from None
    except (BotoCoreError, HTTPError, OSError) as error:
        raise NoAnswer(f"{call}: no answer ({type(error).__name__})") from None


def _reason(error: SSLError) -> str:
    found = _TLS_REASON.search(str(error))
    return found[1] if found else type(error).__name__


def _not_reached(call: str, error: EndpointConnectionError) -> ArchiverError:
    if isinstance(error.kwargs.get("error"), NameResolutionError):
        host = urlsplit(str(error.kwargs.get("endpoint_url"))).hostname
        return StoreHostUnknown(f"{call}: the host {host} is unknown")
    return NoAnswer(f"{call}: no answer ({type(error).__name__})")


def _answered(call: str, error: ClientError) -> ArchiverError:
    answer = error.response.get("ResponseMetadata", {})
    named: Mapping[str, object] = error.response.get("Error", {})
    code, status = str(named.get("Code") or ""), int(answer.get("HTTPStatusCode", 0))
    kind = _kind(code, status)
    if kind is StoreBusy and code in {"", str(status)} and status in _NO_S3 and not call.startswith("Head"):
        kind = StoreStranger
    own, message = "" if code == str(status) else shown(code), shown(str(named.get("Message") or ""))
    text = f"{call}: {' '.join([str(status), ': '.join(filter(None, (own, message)))])}".rstrip()
    if kind is RegionWrong:
        text += "".join(f"; its {name.lower()} is {shown(str(named[name]))}" for name in _WHERE if named.get(name))
    if request_id := answer.get("RequestId"):
        text += f" (request {shown(str(request_id))})"
    return kind(text, retry_after=retry_after(answer.get("HTTPHeaders", {})))


def _kind(code: str, status: int) -> type[ArchiverError]:
    if known := _BY_CODE.get(code):
        return known
    if code.startswith("KMS."):
        return AccessRefused
    return _BY_STATUS.get(status, StoreBusy)


def shown(text: str) -> str:
    """Return the start of `text`, fit for a log: one line, printable, without what may be a secret."""
    return _OPAQUE.sub("***", printable(text[:EXCERPT])).strip()
