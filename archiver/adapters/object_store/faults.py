"""Every error of S3 and of botocore, translated in one place.

Error codes: Amazon S3's API reference ("Error responses"), and what S3-compatible stores send instead.
Messages hold the code and the request id, and never a URL: a proxy's URL carries its password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    LoginError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSOError,
    TokenRetrievalError,
)
from urllib3.exceptions import HTTPError

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
from archiver.core.text import printable

EXCERPT = 200
_OPAQUE = re.compile(r"[\w+/=-]{40,}")
"""Secret keys have 40 characters, session tokens more; what may be one is not repeated."""


class Conflict(StoreBusy):
    """412 or 409: something stands under the key, or is just being written there. Look."""


class Absent(StoreBusy):
    """404 for a key or an upload id."""


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
    "NoSuchBucket": BucketMissing,
    "PermanentRedirect": BucketMissing,
    "AuthorizationHeaderMalformed": BucketMissing,
    "IllegalLocationConstraintException": BucketMissing,
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
    301: BucketMissing,
    401: AccessRefused,
    403: AccessRefused,
    404: Absent,
    409: Conflict,
    412: Conflict,
    413: ObjectTooLarge,
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
    except ProxyConnectionError as error:
        raise StoreProxyAway(f"{call}: no answer from a proxy ({type(error).__name__})") from None
    except (BotoCoreError, HTTPError, OSError) as error:
        raise StoreBusy(f"{call}: no answer ({type(error).__name__})") from None


def _answered(call: str, error: ClientError) -> ArchiverError:
    answer = error.response.get("ResponseMetadata", {})
    named = error.response.get("Error", {})
    code, status = str(named.get("Code", "")), int(answer.get("HTTPStatusCode", 0))
    kind = _kind(code, status)
    text = f"{call}: {status} {shown(code)}"
    if message := shown(str(named.get("Message", ""))):
        text += f": {message}"
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
