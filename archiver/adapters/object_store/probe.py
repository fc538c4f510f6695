"""The findings of `check` about the bucket, which it uses as the service will."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from email.utils import parsedate_to_datetime

from archiver.adapters.object_store.calls import Labels, S3Calls
from archiver.adapters.object_store.checksums import CRC32
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.faults import Absent, Conflict, NoAnswer
from archiver.core.errors import (
    AccessRefused,
    ArchiverError,
    StoreBusy,
    StoreCorrupt,
    StoreMisfit,
    StorePaused,
    StoreProxyAway,
)
from archiver.core.misses import RegionWrong, StoreHostUnknown, StoreStranger, StoreTlsRefused
from archiver.core.reports import Finding
from archiver.ports.runtime import Clock

PROBE = Content.of(b"stem-archiver writes this object when `stem-archiver check` is run. It may be deleted.\n")
LABELS = Labels("text/plain")
SKEW_WARN = timedelta(seconds=60)
SKEW_FAIL = timedelta(minutes=15)
"""Amazon S3 refuses requests whose time is further off than this."""

_HINTS: Mapping[type[ArchiverError], str] = {
    AccessRefused: "grant put, get, head, list and abort on the bucket and prefix, in this user's or role's policy",
    StoreBusy: "mend store.endpoint_url and store.region, or the way there: the name's address, a firewall, the store",
}
"""In the place of hints that send to `check` itself, or say that it is tried again."""

Look = Callable[[], Finding]


def probe(calls: S3Calls, key: str, *, clock: Clock) -> Iterator[Finding]:
    """Yield one Finding for each thing that is needed of the bucket; the first failed basic ends it.

    `key` is fixed, belongs to the probe alone, and is the only key that is ever written over: the second
    run needs no right to delete the first one's object.
    """
    looks = _Looks(calls, key, clock)
    for subject, look in (("bucket", looks.bucket), ("clock", looks.clock_skew), ("write", looks.write)):
        finding = _found(subject, look)
        yield finding
        if finding.level == "fail":
            return
    yield _found("read", looks.read)
    yield _found("create-only", looks.create_only)
    yield _found("checksum", looks.checksum)
    yield _found("multipart", looks.multipart)
    yield _found("open uploads", looks.open_uploads)
    yield _found("lifecycle", looks.lifecycle)


def _found(subject: str, look: Look) -> Finding:
    try:
        return look()
    except ArchiverError as error:
        return Finding("fail", subject, str(error), error.hint)


class _Looks:
    """One look a method; each returns its Finding or raises."""

    def __init__(self, calls: S3Calls, key: str, clock: Clock) -> None:
        self._calls = calls
        self._key = key
        self._clock = clock

    def bucket(self) -> Finding:
        """Ask for the bucket; a refusal, whose answer to a HEAD has no body, is asked for its reason by a GET."""
        try:
            self._calls.bucket_date()
            return Finding("ok", "bucket", f"{self._calls.bucket} answers")
        except (NoAnswer, StoreHostUnknown, StoreProxyAway, StoreTlsRefused) as away:
            error: ArchiverError = away
        except (AccessRefused, StoreBusy) as refused:
            reason = self._reason()
            if reason is None and not isinstance(refused, AccessRefused):
                return self._another_region()
            error = reason if isinstance(reason, StorePaused | StoreStranger) else refused
        hint = _HINTS.get(StoreBusy if isinstance(error, NoAnswer) else type(error), error.hint)
        return Finding("fail", "bucket", f"{error}; asked at {self._calls.endpoint}", hint)

    def _another_region(self) -> Finding:
        """Ask again, by the region that boto3 has found meanwhile; raise where that was not it."""
        self._calls.bucket_date()
        told = f"{self._calls.bucket} answers, but as another region's than store.region, or AWS_REGION, says"
        return Finding("warn", "bucket", told, RegionWrong.hint)

    def _reason(self) -> ArchiverError | None:
        try:
            self._calls.read(self._key, limit=PROBE.size)
        except Absent:
            return None
        except ArchiverError as reason:
            return reason
        return None

    def clock_skew(self) -> Finding:
        date = self._calls.bucket_date()
        try:
            skew = abs(self._clock() - parsedate_to_datetime(date))
        except (TypeError, ValueError):
            return Finding("warn", "clock", "the store does not tell the time", "make sure this clock is right")
        apart = f"this clock and the store's differ by {skew.total_seconds():.0f} s"
        if skew > SKEW_WARN:
            return Finding("fail" if skew > SKEW_FAIL else "warn", "clock", apart, "set this machine's clock (NTP)")
        return Finding("ok", "clock", apart)

    def write(self) -> Finding:
        self._calls.put(self._key, PROBE, LABELS)
        return Finding("ok", "write", f"{PROBE.size} bytes written to {self._key}")

    def read(self) -> Finding:
        data, _ = self._calls.read(self._key, limit=PROBE.size)
        if data is None or hashlib.sha256(data).hexdigest() != PROBE.sha256:
            return Finding("fail", "read", f"{self._key} reads back as other bytes", StoreCorrupt.hint)
        if self._calls.head(self._key).get("ChecksumSHA256") != PROBE.sha256_header:
            return Finding(
                "warn", "read", "the bytes are right, but the store names no SHA-256",
                "every upload will be proven by its ETag, or by reading it back, which costs traffic",
            )  # fmt: skip
        return Finding("ok", "read", "the bytes and their SHA-256 are right")

    def create_only(self) -> Finding:
        try:
            self._calls.put(self._key, PROBE, LABELS, IfNoneMatch="*")
        except Conflict:
            return Finding("ok", "create-only", "a second write to the same key was refused")
        return Finding("fail", "create-only", "the store overwrites in spite of If-None-Match", StoreMisfit.hint)

    def checksum(self) -> Finding:
        wrong = replace(PROBE, sha256=hashlib.sha256(b"other bytes").hexdigest())
        try:
            self._calls.put(self._key, wrong, LABELS)
        except (StoreCorrupt, StoreMisfit):
            return Finding("ok", "checksum", "bytes that do not match their SHA-256 were refused")
        return Finding(
            "warn", "checksum", "the store takes bytes that do not match their SHA-256",
            "every upload will be proven by its ETag, or by reading it back, which costs traffic",
        )  # fmt: skip

    def multipart(self) -> Finding:
        """Bring an upload to the point of completion, where the standing probe object must stop it; abort it."""
        upload_id = self._calls.create(self._key, LABELS, CRC32)
        try:
            data = PROBE.data or memoryview(b"")
            part = self._calls.part(self._key, upload_id, 1, data, CRC32.over(data))
            self._calls.complete(self._key, upload_id, [part], part.checksum, IfNoneMatch="*")
        except Conflict:
            return Finding("ok", "multipart", "parts are taken, and completion over an object is refused")
        finally:
            self._drop(upload_id)
        return Finding("fail", "multipart", "completion ignores If-None-Match", StoreMisfit.hint)

    def _drop(self, upload_id: str) -> None:
        try:
            self._calls.abort(self._key, upload_id)
        except Absent:
            return

    def open_uploads(self) -> Finding:
        """List the uploads of the probe's key, by the right that the sweep for forgotten ones needs."""
        try:
            left = len(list(self._calls.uploads(self._key)))
        except (AccessRefused, StoreMisfit) as error:
            return Finding(
                "warn", "open uploads", f"cannot be listed: {error}",
                "grant s3:ListBucketMultipartUploads; until then only a lifecycle rule clears what a crash left open",
            )  # fmt: skip
        return Finding("ok", "open uploads", f"can be listed ({left} of this probe)")

    def lifecycle(self) -> Finding:
        hint = "add a lifecycle rule with AbortIncompleteMultipartUpload after 7 days"
        try:
            days = self._calls.stale_upload_days()
        except (AccessRefused, StoreMisfit) as error:
            return Finding("warn", "lifecycle", f"cannot be read: {error}", f"make sure yourself: {hint}")
        if days is None:
            return Finding("warn", "lifecycle", "no rule clears multipart uploads that were never finished", hint)
        return Finding("ok", "lifecycle", f"unfinished multipart uploads are cleared after {days} days")
