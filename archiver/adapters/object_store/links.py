"""Links to objects, for whoever holds no credentials: signed by version 4, whatever botocore would take by itself."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from archiver.adapters.object_store.calls import S3Calls
from archiver.adapters.object_store.faults import translated

LONGEST_SECONDS = 7 * 24 * 3600
"""The limit of signature version 4."""
_SIGNER = "s3v4"


def presigned(calls: S3Calls, key: str, name: str, seconds: int) -> str:
    """Return the URL; see `archiver.ports.archive.Links`."""
    # botocore would sign links of some regions, and of every other store, by version 2, which many take no more.
    choose: Any = _version_4  # the stubs know no handler that answers
    calls.client.meta.events.register_first("choose-signer.s3.GetObject", choose, unique_id="links")
    with translated("link"):
        return calls.client.generate_presigned_url(
            "get_object",
            Params={"Bucket": calls.bucket, "Key": key, "ResponseContentDisposition": saved_as(name)},
            ExpiresIn=min(seconds, LONGEST_SECONDS),
        )


def _version_4(signature_version: object, **_: object) -> str | None:
    return None if str(signature_version).startswith(("v4a", "s3v4a")) else _SIGNER


def saved_as(name: str) -> str:
    """Return the value of Content-Disposition by which a browser saves the object as `name` (RFC 6266)."""
    plain = "".join(
        letter if letter.isascii() and letter.isprintable() and letter not in '"\\%' else "_" for letter in name
    )
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
