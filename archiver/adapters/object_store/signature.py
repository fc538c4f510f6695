"""AWS Signature Version 4 over the requests that are made most.

It is the one that botocore's S3SigV4Auth makes, which copies the fields into a mail's message and derives the key
anew for each: a tenth of a small PUT.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import NoCredentialsError

_UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
_NOT_SIGNED = frozenset(("user-agent", "expect", "transfer-encoding"))
"""Fields that somebody on the way may change."""


class Signature:
    """Signs for one region and service; safe to share among threads."""

    def __init__(self, region: str, service: str, *, signs_payload: bool) -> None:
        self._region = region
        self._service = service
        self._signs_payload = signs_payload
        self._derived: tuple[tuple[str, str], bytes] = (("", ""), b"")
        """The key of a secret and a day."""

    def signed(
        self,
        credentials: Any,  # noqa: ANN401 - botocore's, which has no type
        method: str,
        target: str,
        headers: Mapping[str, str],
        data: memoryview | None,
    ) -> dict[str, str]:
        """Return `headers`, Host among them, with those of the signature; `target` is path and query, both quoted.

        Raises botocore's NoCredentialsError without `credentials`.
        """
        if credentials is None:
            raise NoCredentialsError
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        payload = hashlib.sha256(data or b"").hexdigest() if self._signs_payload else _UNSIGNED_PAYLOAD
        fields = {**headers, "X-Amz-Date": moment, "X-Amz-Content-SHA256": payload}
        if credentials.token:
            fields["X-Amz-Security-Token"] = credentials.token
        named = sorted((name.lower(), " ".join(value.split())) for name, value in fields.items())
        signed = [(name, value) for name, value in named if name not in _NOT_SIGNED]
        names = ";".join([name for name, _ in signed])
        path, _, query = target.partition("?")
        lines = [method, path, _canonical(query), *[f"{name}:{value}" for name, value in signed], "", names, payload]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        scope = f"{moment[:8]}/{self._region}/{self._service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
        signature = _hmac(self._key(credentials.secret_key, moment[:8]), text).hex()
        fields["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return fields

    def _key(self, secret: str, day: str) -> bytes:
        """Return the key that a secret has on that day: the same for all its requests."""
        known, key = self._derived
        if known != (secret, day):
            key = f"AWS4{secret}".encode()
            for word in (day, self._region, self._service, "aws4_request"):
                key = _hmac(key, word)
            self._derived = ((secret, day), key)
        return key


def _canonical(query: str) -> str:
    """Return the query with its parameters in the order in which they are signed."""
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&")) if query else ()
    return "&".join(f"{name}={value}" for name, value in pairs)


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
