"""The findings of `check` about the bucket, which it uses as the service will."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime

from archiver.adapters.object_store.asking import PROBE, Asking
from archiver.adapters.object_store.calls import S3Calls
from archiver.adapters.object_store.faults import Absent, NoAnswer
from archiver.adapters.object_store.proving import Prober
from archiver.core.capabilities import Capabilities, CreateOnly, Multipart, gaps
from archiver.core.errors import (
    AccessRefused,
    ArchiverError,
    StoreBusy,
    StoreMisfit,
    StorePaused,
    StoreProxyAway,
)
from archiver.core.misses import RegionWrong, StoreHostUnknown, StoreStranger, StoreTlsRefused
from archiver.core.reports import Finding
from archiver.ports.runtime import Clock

SKEW_WARN = timedelta(seconds=60)
SKEW_FAIL = timedelta(minutes=15)
"""Amazon S3 refuses requests whose time is further off than this."""

_HINTS: Mapping[type[ArchiverError], str] = {
    AccessRefused: "grant put, get, head, list and abort on the bucket and prefix, in this user's or role's policy",
    StoreBusy: "mend store.endpoint_url and store.region, or the way there: the name's address, a firewall, the store",
}
"""In the place of hints that send to `check` itself, or say that it is tried again."""

_UNNAMED = "every upload will be proven by its ETag, or by reading it back, which costs traffic"
_RIGHT: Mapping[str, str] = {
    "create-only": "a second write to the same key was refused",
    "checksum": "bytes that do not match their SHA-256 were refused",
    "replacement": "an object was replaced under its own ETag, and under no other",
    "multipart": "two parts were completed, and read back right",
    "create-only in parts": "completion over an object was refused",
    "checksum of parts": "parts that do not match the checksum of the whole were refused",
    "open uploads": "an open upload was listed",
}
"""The words about a store that gives the guarantee."""
_OF_PARTS = ("create-only in parts", "checksum of parts", "open uploads")

Look = Callable[[], Finding]


def probe(
    asking: Asking,
    key: str,
    demand: CreateOnly,
    proven: Callable[[Capabilities], None],
) -> Iterator[Finding]:
    """Yield one Finding for each thing that is needed of the bucket; the first failed basic ends it.

    What guarantees rest on is found out by the proof that the service makes before its first write; `proven` hears of
    it. For the keys that are written over see `proving.Prober`.
    """
    looks = _Looks(asking.calls, key, asking.clock)
    for subject, look in (("bucket", looks.bucket), ("clock", looks.clock_skew)):
        finding = _found(subject, look)
        yield finding
        if finding.level == "fail":
            return
    prober = Prober(asking, key)
    try:
        known = prober.prove()
    except ArchiverError as error:
        if prober.step != "write":
            yield _written(prober.key)
        yield Finding("fail", prober.step, str(error), error.hint)
    else:
        proven(known)
        yield _written(prober.key)
        yield from _proven(known, demand, prober.refusals)
    yield _found("lifecycle", looks.lifecycle)


def _written(key: str) -> Finding:
    return Finding("ok", "write", f"{PROBE.size} bytes written to {key}")


def _proven(known: Capabilities, demand: CreateOnly, refusals: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what the store can do, and each gap with what follows from it."""
    if known.names_sha256:
        yield Finding("ok", "read", "the bytes and their SHA-256 are right")
    else:
        yield Finding("warn", "read", "the bytes are right, but the store names no SHA-256", _UNNAMED)
    found = {gap.subject: gap for gap in gaps(known, demand)}
    for subject in [*_RIGHT, *(subject for subject in found if subject not in _RIGHT)]:
        gap = found.get(subject)
        if gap is not None:
            worst = gap.subject == "create-only" and demand is CreateOnly.REQUIRED
            said = f" ({refusals[subject]})" if subject in refusals else ""
            yield Finding("fail" if worst else "warn", subject, f"{gap.found}{said}", gap.follows)
        elif known.multipart is not Multipart.NONE or subject not in _OF_PARTS:
            yield Finding("ok", subject, _RIGHT[subject])


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
        detail = f"{self._calls.bucket} answers, but as another region's than store.region, or AWS_REGION, says"
        return Finding("warn", "bucket", detail, RegionWrong.hint)

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

    def lifecycle(self) -> Finding:
        hint = "add a lifecycle rule with AbortIncompleteMultipartUpload after 7 days"
        try:
            days = self._calls.stale_upload_days()
        except (AccessRefused, StoreMisfit) as error:
            return Finding("warn", "lifecycle", f"cannot be read: {error}", f"make sure yourself: {hint}")
        if days is None:
            return Finding("warn", "lifecycle", "no rule clears multipart uploads that were never finished", hint)
        return Finding("ok", "lifecycle", f"unfinished multipart uploads are cleared after {days} days")
