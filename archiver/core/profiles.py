"""Profiles: how each provider of S3 wants to be spoken to, and what is written about it. Pure.

A profile is a default for addressing, signing and region. Over guarantees, and over the kind of uploads in parts, the
proof alone decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

Addressing = Literal["auto", "path", "virtual"]

MOST_PARTS = 10_000
"""Amazon S3's limit of parts in one upload (its user guide, "multipart upload limits")."""


class Evidence(StrEnum):
    """The ground on which a profile stands."""

    SEEN = "seen"
    """By the tests of this project, on a real server."""
    DOCUMENTED = "documented"
    """Written by the provider, or in issues; not tried."""
    NONE = "nothing found"


@dataclass(frozen=True, slots=True)
class Profile:
    """A provider: its hosts, the defaults that it wants, and what to expect of it."""

    hosts: str = ""
    """A pattern of its endpoints' hosts, without a bucket before them; empty for servers that run anywhere."""
    addressing: Addressing = "auto"
    """The place of the bucket's name: in the path, before the host, or as boto3 chooses."""
    signs_payload: bool = False
    """True where each body is to be signed, though its checksum is."""
    region: str | None = None
    """The region where neither settings, environment nor the host name one; None leaves it to boto3."""
    equal_parts: bool = False
    """True where all parts but the last must be of one size; ours always are."""
    most_parts: int = MOST_PARTS
    works: str = ""
    degraded: str = ""
    """Things known not to work, and what this service does instead."""
    evidence: Evidence = Evidence.DOCUMENTED
    sources: Sequence[str] = ()

    def is_host_of(self, endpoint: str) -> bool:
        """Return whether the endpoint is this provider's, with a bucket before its host or without."""
        return self._found(endpoint) is not None

    def region_at(self, endpoint: str | None) -> str | None:
        """Return the region that the endpoint's host names, else the provider's own, else None."""
        found = self._found(endpoint)
        return (found.groupdict().get("region") if found else None) or self.region

    def bucket_before(self, endpoint: str | None) -> str:
        """Return what stands before the host of an endpoint that should hold no bucket; empty where nothing does."""
        found = self._found(endpoint)
        return (found["bucket"] or "") if found else ""

    def _found(self, endpoint: str | None) -> re.Match[str] | None:
        host = urlsplit(endpoint or "").hostname or ""
        return re.fullmatch(rf"(?:(?P<bucket>[a-z0-9.-]+?)\.)??(?:{self.hosts})", host) if self.hosts else None


_REFUSED = 'if it is so, nothing is written unless store.create_only = "best-effort"'
_ONLY_A_PROOF = f"nothing is written about If-None-Match; {_REFUSED}"
_READ_BACK = "large files are read back"
_SIGNING = "https://litestream.io/guides/s3-compatible/"

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "aws": Profile(
            hosts=r"s3(?:\.dualstack|-fips|-fips\.dualstack)?(?:[.-](?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9]))?\.amazonaws\.com(?:\.cn)?",
            works="everything",
            sources=("https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html",),
        ),
        "r2": Profile(
            hosts=r"[0-9a-f]{32}(?:\.(?:eu|fedramp))?\.r2\.cloudflarestorage\.com",
            signs_payload=True,
            region="auto",
            equal_parts=True,
            works="create-only and If-Match on objects and on uploads in parts",
            degraded="no CRC-32 of a whole upload: CRC-64/NVME takes its place",
            sources=(
                "https://developers.cloudflare.com/r2/api/s3/api/",
                "https://developers.cloudflare.com/r2/api/s3/conditional-operations/",
                _SIGNING,
            ),
        ),
        "b2": Profile(
            hosts=r"s3\.(?P<region>[a-z]{2}-[a-z]+-[0-9]{3})\.backblazeb2\.com",
            addressing="path",
            signs_payload=True,
            degraded=f"If-None-Match and If-Match were answered by NotImplemented in 2026; {_REFUSED}; {_READ_BACK}, "
            "unless a checksum of the whole is taken",
            sources=("https://github.com/sathinduga/obsidian-s3-sync-and-backup/pull/84", _SIGNING),
        ),
        "minio": Profile(
            addressing="path",
            region="us-east-1",
            works="create-only on objects",
            degraded="a CRC-32 of a whole upload ends in InvalidPart: another kind takes its place; "
            "open uploads are listed by exact key only, and no lifecycle rule clears them",
            sources=("https://github.com/minio/minio/issues/20346", "https://github.com/minio/minio/issues/20944"),
        ),
        "ceph": Profile(
            addressing="path",
            region="us-east-1",
            works="create-only on objects; on uploads in parts from the version with pull request 64830 on",
            degraded="16.2: uploads in parts overwrite, so large files go in one request as far as memory allows, else "
            "they are refused; If-Match refuses the right ETag; no checksum is looked at: files are proven by "
            "ETag or read back",
            evidence=Evidence.SEEN,
            sources=("tests/integration/STORES.md (16.2.15)", "https://github.com/ceph/ceph/pull/64830"),
        ),
        "gcs": Profile(
            hosts=r"storage\.googleapis\.com",
            region="auto",
            degraded=f"a write's conditions are x-goog-if-generation-match, not If-None-Match or If-Match; {_REFUSED}; "
            "no checksums of S3: small files are proven by ETag, large ones read back",
            sources=(
                "https://cloud.google.com/storage/docs/request-preconditions",
                "https://github.com/earth-mover/icechunk/issues/533",
            ),
        ),
        "wasabi": Profile(
            hosts=r"s3(?:\.(?P<region>[a-z]{2}-[a-z]+-[0-9]))?\.wasabisys\.com",
            region="us-east-1",
            degraded=_ONLY_A_PROOF,
            evidence=Evidence.NONE,
            sources=("https://docs.wasabi.com/docs/what-are-the-service-urls-for-wasabis-different-storage-regions",),
        ),
        "digitalocean": Profile(
            hosts=r"[a-z]{3}[0-9]\.digitaloceanspaces\.com",
            signs_payload=True,
            region="us-east-1",
            degraded=_ONLY_A_PROOF,
            evidence=Evidence.NONE,
            sources=("https://docs.digitalocean.com/products/spaces/reference/s3-compatibility/", _SIGNING),
        ),
        "hetzner": Profile(
            hosts=r"(?P<region>[a-z]{3}[0-9])\.your-objectstorage\.com",
            degraded=_ONLY_A_PROOF,
            evidence=Evidence.NONE,
            sources=("https://docs.hetzner.com/storage/object-storage/supported-actions/",),
        ),
        "scaleway": Profile(
            hosts=r"s3\.(?P<region>[a-z]{2}-[a-z]{3})\.scw\.cloud",
            signs_payload=True,
            most_parts=1000,
            works="create-only and If-Match on objects and on uploads in parts (since July 2026)",
            degraded="1000 parts at most; checksums are not written about",
            sources=(
                "https://www.scaleway.com/en/docs/object-storage/api-cli/using-conditional-writes/",
                "https://www.scaleway.com/en/docs/storage/object/api-cli/multipart-uploads/",
                _SIGNING,
            ),
        ),
        "ovh": Profile(
            hosts=r"s3\.(?P<region>[a-z]+(?:-[a-z]+)*)\.(?:io\.|perf\.)?cloud\.ovh\.(?:net|us)",
            works="create-only and If-Match on objects and on uploads in parts (since June 2026)",
            degraded="checksums are not written about",
            sources=("https://docs.ovhcloud.com/en/guides/storage-and-backup/object-storage/s3-conditional-writes",),
        ),
        "storj": Profile(
            hosts=r"gateway(?:\.[a-z0-9]+)?\.storjshare\.io",
            region="us-east-1",
            works="create-only on objects and on uploads in parts",
            degraded="no lifecycle rules; checksums are not written about",
            sources=("https://github.com/storj/edge/issues/564",),
        ),
        "tigris": Profile(
            hosts=r"t3\.storage\.dev|t3\.tigrisfiles\.io|fly\.storage\.tigris\.dev",
            addressing="virtual",
            signs_payload=True,
            region="auto",
            works="create-only and If-Match on objects",
            degraded="create-only on uploads in parts is not written about; an older page asks for a header of its own "
            "beside conditions, which is not sent",
            sources=("https://www.tigrisdata.com/docs/objects/conditionals/", _SIGNING),
        ),
        "oci": Profile(
            hosts=r"[a-z0-9_-]+\.compat\.objectstorage\.(?P<region>[a-z]+(?:-[a-z]+)+-[0-9])\.(?:oraclecloud|oci\.customer-oci)\.com",
            addressing="path",
            degraded=_ONLY_A_PROOF,
            evidence=Evidence.NONE,
            sources=("https://docs.oracle.com/en-us/iaas/Content/Object/Tasks/s3compatibleapi.htm",),
        ),
        "oss": Profile(
            hosts=r"(?:s3\.)?(?P<region>oss-[a-z]+(?:-[a-z0-9]+)*)(?<!-internal)(?:-internal)?\.aliyuncs\.com",
            addressing="virtual",
            degraded=f"If-None-Match and If-Match are answered by NotImplemented; {_REFUSED}; a bucket in the path is "
            "refused",
            sources=(
                "https://github.com/tobi/walgit/issues/67",
                "https://github.com/cybertec-postgresql/pg_hardstorage/issues/52",
            ),
        ),
        "seaweedfs": Profile(
            addressing="path",
            region="us-east-1",
            works="everything",
            evidence=Evidence.SEEN,
            sources=("tests/integration/STORES.md (4.48)",),
        ),
        "garage": Profile(
            addressing="path",
            region="garage",
            degraded=_ONLY_A_PROOF,
            evidence=Evidence.NONE,
            sources=("https://garagehq.deuxfleurs.fr/documentation/reference-manual/s3-compatibility/",),
        ),
        "swift": Profile(
            addressing="path",
            region="us-east-1",
            works="create-only on objects and on uploads in parts",
            degraded="no If-Match: a manifest that must change is compared and written under the task's lease; two "
            "archivers on one bucket are not safe, as create-only is not atomic; large files are read back",
            evidence=Evidence.SEEN,
            sources=("tests/integration/STORES.md (2.38.3)",),
        ),
        "other": Profile(degraded="only the proof tells", evidence=Evidence.NONE),
    }
)
"""By their names, as `store.provider` takes them."""


def provider_of(endpoint: str | None) -> str:
    """Return whose endpoint this is by its host, that of a bucket there too; None is Amazon's own."""
    if endpoint is None:
        return "aws"
    return next((name for name, profile in PROFILES.items() if profile.is_host_of(endpoint)), "other")
