"""The proof of uploads in parts: one way of checking them, tried to its end with two real parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from mmap import mmap
from typing import Any

from archiver.adapters.object_store.asking import LABELS, Asking
from archiver.adapters.object_store.calls import Part
from archiver.adapters.object_store.checksums import Checksum, ChecksumKind
from archiver.adapters.object_store.content import Content
from archiver.adapters.object_store.faults import Absent, Conflict
from archiver.core.capabilities import Listing
from archiver.core.errors import AccessRefused, ArchiverError, StoreBusy, StoreCorrupt, StoreMisfit

PART_SIZE = 5 * 1024 * 1024
"""Bytes of a first part that every store must take; Amazon S3 takes no smaller one."""
LAST_PART = b"the last part\n"
_BLOCK = bytes(range(256)) * 256
LEFT = timedelta(hours=1)
"""Age of an upload under the probe's key that nobody is at work on any more."""
TIMES = 3
"""Tries at what another process that proves the same store may have disturbed."""


class Refused(Exception):
    """The store refused what an upload of this kind needs."""


class NoAbort(Refused):
    """The store refused to abort: none of any kind is to be begun."""


@dataclass(frozen=True, slots=True)
class TwoParts:
    """The real parts of the probe's uploads, and what they are together."""

    parts: Sequence[memoryview]
    data: memoryview
    content: Content

    @classmethod
    def made(cls) -> TwoParts:
        """Return the first and the last part."""
        memory = mmap(-1, PART_SIZE + len(LAST_PART))  # the kernel has it back at once: malloc keeps so much for good
        for _ in range(0, PART_SIZE, len(_BLOCK)):
            memory.write(_BLOCK)
        memory.write(LAST_PART)
        data = memoryview(memory)
        return cls((data[:PART_SIZE], data[PART_SIZE:]), data, replace(Content.of(data), data=None))


@dataclass(frozen=True, slots=True)
class _Upload:
    id: str
    parts: Sequence[Part]


@dataclass(slots=True)
class UploadProof:
    """Uploads to `key`, where a small object stands; checked by a checksum of `kind`, or by none."""

    asking: Asking
    key: str
    prefix: str
    kind: ChecksumKind | None
    body: TwoParts
    found: dict[str, Any] = field(default_factory=dict)
    """Of the capabilities."""
    refusals: dict[str, str] = field(default_factory=dict)
    """By subject: the store's own words."""
    _live: _Upload | None = None
    _opened: list[str] = field(default_factory=list)
    _listed: bool = False

    def aborted(self) -> None:
        """Abort an upload twice: where that cannot be done, none is ever begun again. Raises Refused."""
        upload_id = self._create()
        for _ in range(2):
            refused = self.asking.refusal(lambda: self.asking.calls.abort(self.key, upload_id))
            if refused is not None and not isinstance(refused, Absent):
                self._opened.remove(upload_id)
                raise NoAbort(str(refused))
        self._opened.remove(upload_id)

    def wrong_whole(self, **condition: str) -> None:
        """Complete under the checksum of other bytes; raise Refused."""
        if self.kind is None:
            self.found["checks_whole"] = False
            return
        wrong = self.kind.over(LAST_PART)
        refused = self._complete(wrong, **condition)
        self.found["checks_whole"] = isinstance(refused, StoreCorrupt | StoreMisfit)
        if refused is None:
            if self.asking.head(self.key).get(self.kind.field) == wrong.text:
                self.found["echoes"] = True  # never False: it may echo another checksum
            if not condition:
                self.asking.put_small(self.key)

    def over_object(self) -> None:
        """Complete over the standing object; then look, for an answer alone proves nothing. Raises Refused."""
        refused, kept = None, False
        for _ in range(TIMES):
            refused = self._complete(self._whole(), IfNoneMatch="*")
            kept = not self._is_completed()
            if kept or not isinstance(refused, Conflict):
                break
            self.asking.put_small(self.key)
        self.found["create_only_multipart"] = kept and isinstance(refused, Conflict)
        if refused is not None and not isinstance(refused, Conflict):
            self.refusals["create-only in parts"] = str(refused)

    def for_real(self, **condition: str) -> None:
        """Complete an upload, and read the object back; raise Refused."""
        done = self._live is None and self._is_completed()  # over the object, in spite of If-None-Match
        refused = None if done else self._complete(self._whole(), **condition)
        if refused is not None:
            raise Refused(str(refused))
        if not self._is_completed():
            raise StoreBusy(f"{self.key}: the upload was completed, but another object stands there")
        if self.asking.sha256(self.key) != self.body.content.sha256:
            raise StoreCorrupt(f"{self.key} reads back as other bytes than its parts")

    def close(self) -> None:
        """Abort what is still open."""
        self._live = None
        while self._opened:
            with suppress(Absent):
                self.asking.surely(lambda: self.asking.calls.abort(self.key, self._opened[-1]))
            self._opened.pop()

    # ------------------------------------------------------------

    def _whole(self) -> Checksum | None:
        return self.kind.over(self.body.data) if self.kind else None

    def _complete(self, whole: Checksum | None, **condition: str) -> ArchiverError | None:
        """Return what refused it; None where it was completed, also where only a look tells that."""
        refused: ArchiverError | None = None
        for _ in range(2):
            upload = self._live = self._live or self._sent()
            refused = self.asking.refusal(
                lambda upload=upload: self.asking.calls.complete(  # type: ignore[misc]
                    self.key, upload.id, upload.parts, whole, **condition
                ),
                wrong=True,
            )
            if refused is None:
                self._live = None
                return None
            if not isinstance(refused, Absent):
                return refused
            self._live = None
            if self._is_completed():
                return None
        return refused

    def _is_completed(self) -> bool:
        try:
            return bool(self.asking.head(self.key).get("ContentLength") == self.body.content.size)
        except Absent:
            return False

    def _create(self) -> str:
        upload_id = self._taken(lambda: self.asking.calls.create(self.key, LABELS, self.kind))
        self._opened.append(upload_id)
        return str(upload_id)

    def _sent(self) -> _Upload:
        upload_id, parts = self._create(), []
        first, last = self.body.parts
        if self.kind and "checks_parts" not in self.found:
            wrong = self.kind.over(first)
            refused = self.asking.refusal(
                lambda: self.asking.calls.part(self.key, upload_id, 2, last, wrong), wrong=True
            )
            self.found["checks_parts"] = isinstance(refused, StoreCorrupt | StoreMisfit)
        for number, data in enumerate((first, last), 1):
            checksum = self.kind.over(data) if self.kind else None
            send = partial(self.asking.calls.part, self.key, upload_id, number, data, checksum)
            parts.append(self._taken(send))
        self._list(upload_id)
        return _Upload(upload_id, parts)

    def _taken(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - the call's own
        """Return what the call returns; raise Refused where the store refuses it."""
        got: list[Any] = []
        if refused := self.asking.refusal(lambda: got.append(call())):
            raise Refused(str(refused))
        return got[0]

    def _list(self, upload_id: str) -> None:
        """See in which list an open upload is shown; abort those that a dead process left under the probe's key."""
        if self._listed:
            return
        self._listed = True
        ways = {Listing.PREFIX: self.prefix, Listing.WHOLE: "", Listing.KEY: self.key}
        for way, prefix in ways.items():
            seen = self._seen(prefix)
            if upload_id in seen:
                self.found["listing"] = way
                for left, age in seen.items():
                    if left != upload_id and age > LEFT:
                        with suppress(Absent, AccessRefused, StoreMisfit):
                            self.asking.calls.abort(self.key, left)
                return
        self.found["listing"] = Listing.NONE

    def _seen(self, prefix: str) -> dict[str, timedelta]:
        """Return the age of each open upload to the key that is listed under `prefix`."""
        seen: dict[str, timedelta] = {}

        def look() -> None:
            now = self.asking.clock()
            seen.update({id_: now - began for key, id_, began in self.asking.calls.uploads(prefix) if key == self.key})

        if refused := self.asking.refusal(look):
            self.refusals["open uploads"] = str(refused)
        return seen
