"""AWS credentials, found by boto3's own chain: what that raises, at the start or at a renewal, becomes our error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

from archiver.adapters.object_store.faults import shown
from archiver.core.errors import ArchiverError, CredentialsMissing, StoreBusy

_SERVER_ERROR = 500
_BUSY = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"}


Learned = Callable[[AbstractSet[str]], None]
"""Called with the secrets of credentials before the first request that they sign."""


class GuardedChain:
    """Wraps botocore's chain of providers, and the credentials that it finds."""

    def __init__(self, chain: Any, learned: Learned = lambda _: None) -> None:  # noqa: ANN401 - botocore has no types
        self._chain = chain
        self._learned = learned

    def load_credentials(self) -> GuardedCredentials | None:
        """Return the first that are found, None where there are none; raise CredentialsMissing or StoreBusy."""
        with _had():
            found = self._chain.load_credentials()
        return None if found is None else GuardedCredentials(found, self._learned)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as botocore's own
        """Return the chain's own."""
        return getattr(self._chain, name)


class GuardedCredentials:
    """Wraps credentials, which may be renewed whenever a request is signed."""

    def __init__(self, credentials: Any, learned: Learned = lambda _: None) -> None:  # noqa: ANN401 - botocore has no types
        self._credentials = credentials
        self._learned = learned
        self._known: Any = None

    def get_frozen_credentials(self) -> Any:  # noqa: ANN401 - botocore's
        """Return those of the moment, renewed where they have run out; raise CredentialsMissing or StoreBusy."""
        with _had():
            frozen = self._credentials.get_frozen_credentials()
        if frozen != self._known:
            self._learned({secret for secret in (frozen.secret_key, frozen.token) if secret})
            self._known = frozen
        return frozen

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as botocore's own
        """Return the credentials' own."""
        return getattr(self._credentials, name)


@contextmanager
def _had() -> Iterator[None]:
    try:
        yield
    except ArchiverError:
        raise
    except (HTTPClientError, NoConnection) as error:  # on the way to whoever gives them out
        raise StoreBusy(f"the AWS credentials cannot be had now ({type(error).__name__})") from None
    except ClientError as error:
        raise _answered(error) from None
    except Exception as error:  # noqa: BLE001 - a program's or a file's, in any form
        raise CredentialsMissing(f"no usable AWS credentials: {cause_of(error)}") from None


def _answered(error: ClientError) -> ArchiverError:
    code = shown(str(error.response.get("Error", {}).get("Code", "")))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"{error.operation_name}: {status} {code}"
    if status >= _SERVER_ERROR or code in _BUSY:
        return StoreBusy(f"the AWS credentials cannot be had now: {said}")
    return CredentialsMissing(f"no usable AWS credentials: {said}")


def cause_of(error: Exception) -> str:
    """Return what went wrong with a configuration, without what a program may have printed."""
    if isinstance(error, BotoCoreError):
        return shown(str(error))
    if isinstance(error, OSError) and error.filename is not None:
        return shown(f"{error.filename}: {error.strerror}")
    if isinstance(error, ValueError):
        return "the program of credential_process printed no JSON, or the configuration is no text"
    return type(error).__name__
