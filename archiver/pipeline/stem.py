"""One stem: fetched, stored under its key, and handed over to be written down."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from archiver.core import plan
from archiver.core.clocks import LONG_AGO
from archiver.core.errors import (
    AddressForbidden,
    ArchiverError,
    BodyChanged,
    BodyNotAudio,
    BodyShort,
    BodySlow,
    Interrupted,
    LinkSpent,
    NoLink,
    NotTaken,
    OriginBusy,
    Preempted,
    Verdict,
)
from archiver.core.keys import object_key
from archiver.core.labels import metadata_of
from archiver.core.model import Dependency, Receipt, StemRow, StoredObject
from archiver.core.records.kinds.names import Media
from archiver.core.settling import last_chance
from archiver.core.states import StemEvent, StemState
from archiver.core.text import host_of
from archiver.core.transfer import MUCH, Transfer, time_limit
from archiver.pipeline.completed import CompletedStems
from archiver.pipeline.context import TaskContext
from archiver.pipeline.duplicates import Duplicate, Duplicates
from archiver.pipeline.inline import InlineBody, file_in, is_inline
from archiver.pipeline.listing import Listing
from archiver.ports.transfer import Body, Download, Suspended, Upload

_STATE_AFTER: Mapping[StemEvent | None, StemState] = {
    None: StemState.WANTED,
    StemEvent.REFUSED: StemState.REFUSED,
    StemEvent.GONE: StemState.LOST,
}
_EVENT_AFTER: Mapping[StemEvent | None, str] = {
    None: "stem.retry",
    StemEvent.REFUSED: "stem.refused",
    StemEvent.GONE: "stem.lost",
}
_HINT_AFTER: Mapping[StemEvent | None, str] = {
    StemEvent.GONE: "it can no longer be had: `stem-archiver show ID` tells why, `retry ID` has it asked for once more"
}
"""In the place of the error's own, which may speak of tries to come."""


class StemTransfer:
    """One try at one stem; runs in the transfer pool."""

    def __init__(
        self,
        context: TaskContext,
        listing: Listing,
        duplicates: Duplicates,
        completed: CompletedStems,
        row: StemRow,
        transfer: Transfer,
    ) -> None:
        self._context = context
        self._transfer = transfer
        self._out = context.outside
        self._listing = listing
        self._duplicates = duplicates
        self._completed = completed
        self._row = self._source = listing.as_moved(row)
        self._host = transfer.host
        self._limit: timedelta | None = None
        """The time that the file may take in all."""
        self._kept = 0
        """Bytes that need not come again once the transfer has its turn again."""

    def run(self) -> ArchiverError | None:
        """Store and hand over the stem, or write down its failure; return the error that pauses a dependency, if any.

        Raises LeaseLost, LedgerFault, Interrupted or Preempted.
        """
        self._context.cores.gather()
        with self._context.watch.at_work(self._listing.claim.task_id, self._row.name) as activity:
            self._transfer.activity = activity
            try:
                return self._run()
            finally:
                self._transfer.activity = None

    def _run(self) -> ArchiverError | None:
        try:
            self._store()
        except ArchiverError as error:
            self._context.observer.try_failed(error)
            pauses = error.verdict in (Verdict.PAUSE_PROVIDER, Verdict.PAUSE_STORE)
            if pauses and not self._listing.neutral.blames(error):
                return error
            self._write_failure(error)
        return None

    def _store(self) -> None:
        if self._row.state is StemState.REFUSED:
            now = self._context.clock()
            self._row = self._out.progress.stem_retried(self._listing.claim, self._row.name, now=now)
            self._source = self._row
        receipt = self._receive()
        doubt, stored = receipt.doubt, StemState.STORED
        row = replace(self._source, state=stored, receipt=receipt, reason=doubt, attempts=0, not_before=None)
        self._completed.add(row, receipt)

    def _receive(self) -> Receipt:
        """Try the known link, then a fresh one, then the provider's rescue link."""
        try:
            return self._try(_link(self._row))
        except (LinkSpent, NoLink) as error:
            self._listing.refresh(error)
        row = self._listing.rows[self._row.name]
        self._source = self._row if row.url is None else row
        fresh = _link(self._source)
        try:
            return self._try(fresh)
        except LinkSpent as spent:
            return self._last_resort(fresh, spent)

    def _last_resort(self, url: str, spent: LinkSpent) -> Receipt:
        """Try the record's other address of the file, then the provider's rescue link; raise `spent` without one."""
        record = self._listing.record
        spare = next((each.fallback for each in (record.stems if record else ()) if each.name == self._row.name), "")
        if spare:
            with suppress(LinkSpent, OriginBusy, BodyNotAudio, AddressForbidden):
                return self._try(spare)
        rescue = self._rescue(url)
        if rescue is None:
            raise spent
        return self._try(rescue)

    def _rescue(self, url: str) -> str | None:
        link = self._listing.api().fresh_link(url)
        task_id = self._listing.claim.task_id
        self._context.log.info("stem.link_rescue", task_id=task_id, stem=self._row.name, offered=link is not None)
        return link

    def _try(self, url: str) -> Receipt:
        began = time.monotonic()
        task_id, name, log = self._listing.claim.task_id, self._row.name, self._context.log
        log.info("stem.started", task_id=task_id, stem=name, url=self._row.url_shown)
        self._host = self._transfer.host if url == self._row.url else host_of(url)
        try:
            receipt = self._move(url)
        except Preempted:
            size, kept = self._transfer.size, self._kept
            log.info("stem.preempted", task_id=task_id, stem=name, host=self._host, bytes=size, kept=kept)
            raise
        except ArchiverError as error:
            if error.shows is not None:
                self._out.breakers.worked(error.shows, host=self._host, whole=False)
            raise
        if receipt.alias_of is not None:
            log.info("stem.aliased", task_id=task_id, stem=name, alias_of=receipt.alias_of)
            return receipt
        self._out.breakers.worked(Dependency.STORE)
        self._report(receipt, time.monotonic() - began)
        return receipt

    def _report(self, receipt: Receipt, seconds: float) -> None:
        task_id, name, log = self._listing.claim.task_id, self._row.name, self._context.log
        self._context.observer.stem_stored(receipt.size, seconds)
        log.info(
            "stem.stored",
            task_id=task_id,
            stem=name,
            key=receipt.key,
            bytes=receipt.size,
            sha256=receipt.sha256,
            seconds=round(seconds, 3),
        )
        if receipt.doubt:
            log.warning("stem.doubtful", task_id=task_id, stem=name, key=receipt.key, doubt=receipt.doubt)

    def _move(self, url: str) -> Receipt:
        """Fetch and store; the receipt is an alias where the bytes are stored already."""
        self._limit, self._kept = None, 0
        if is_inline(self._row):
            file = file_in(self._listing.claim, self._listing.record, self._row)
            return self._flow(InlineBody(file), None)
        task_id, name = self._listing.claim.task_id, self._row.name
        try:
            return self._go_on(url) or self._begin(url)
        except Suspended as suspended:
            if self._context.kept.keep(task_id, name, url, suspended):
                self._kept = suspended.came
            raise

    def _begin(self, url: str) -> Receipt:
        with self._out.downloader.open(url, self._received, media=self._row.media) as body:
            self._out.breakers.worked(Dependency.ORIGIN, host=self._host, whole=False)
            self._announce(body.length)
            receipt = self._flow(body, None)
        self._out.breakers.evidence.gave(self._host, url)
        self._out.breakers.worked(Dependency.ORIGIN, host=self._host)
        return receipt

    def _go_on(self, url: str) -> Receipt | None:
        """Fetch and store the rest of what was broken off; None where that is nothing, or cannot be had any more."""
        task_id, name, log = self._listing.claim.task_id, self._row.name, self._context.log
        suspended = self._context.kept.take(task_id, name, url)
        if suspended is None or suspended.resume is None or suspended.upload is None:
            return None
        log.info("stem.resumed", task_id=task_id, stem=name, bytes=suspended.came)
        try:
            with suspended.resume(self._received) as body:
                self._announce(body.length, suspended.came)
                receipt = self._flow(body, suspended.upload)
        except (BodyChanged, BodyShort) as error:
            log.info("stem.begun_anew", task_id=task_id, stem=name, reason=f"{error.code}: {error}")
            return None
        self._out.breakers.worked(Dependency.ORIGIN, host=self._host)
        return receipt

    def _flow(self, body: Download, upload: Upload | None) -> Receipt:
        prefix, task_id = self._context.prefix, self._listing.claim.task_id
        key = object_key(prefix, task_id, self._row.name, body.extension, self._listing.label())
        try:
            return self._put(key, body, upload)
        except Duplicate as duplicate:
            return self._receipt_of_duplicate(key, duplicate.original)

    def _announce(self, length: int | None, came: int = 0) -> None:
        policy, deadline = self._context.policy, self._listing.claim.deadline
        left = None if deadline is None else deadline - self._context.clock()
        size = policy.max_stem_bytes if length is None else length
        self._limit = time_limit(size, policy.min_rate, left)
        if size > MUCH:
            self._context.cores.scatter()
        self._out.pool.announced(self._transfer, None if length is None else length - came)

    def _received(self, size: int) -> None:
        """Count a block; raise Preempted, Interrupted, or BodySlow past the time limit."""
        if self._context.cancelled():
            raise Interrupted
        self._context.observer.received(size)
        spent = self._out.pool.received(self._transfer, size)
        if self._limit is not None and spent > self._limit:
            raise BodySlow(f"not here after {spent}: its size, download.min_rate and its deadline allow {self._limit}")

    def _put(self, key: str, body: Download, upload: Upload | None) -> Receipt:
        """Store the body, or what `upload` lacks of it; raise Duplicate where its bytes are stored already."""
        claim = self._listing.claim
        metadata = metadata_of(claim.task_id, self._row.name, claim.title, self._listing.facts())
        with self._duplicates.storing(self._row):
            watched = _WatchedBody(body, self._row, self._duplicates, self._context, self._host)
            if upload is None:
                stored = self._out.store.put(key, watched, metadata=metadata, journal=_Journal(self._context))
            else:
                stored = upload.go_on(watched)
            receipt = _receipt(stored, body, self._row, self._context.clock())
            self._listing.note_crc32(self._row.name, stored.crc32)
            self._duplicates.stored(replace(self._row, receipt=receipt))
            return receipt

    def _receipt_of_duplicate(self, key: str, original: StemRow) -> Receipt:
        """Return the receipt of a stem whose bytes are stored already: an alias of the original.

        Unless it has an object of its own, from a try that died before it was written down.
        """
        known = original.receipt
        if known is None:
            raise AssertionError("an original always has its receipt")
        own = self._out.store.find(key, size=known.size, sha256=known.sha256)
        if own is None:
            return replace(known, alias_of=original.name, stored_at=self._context.clock())
        return replace(known, key=own.key, etag=own.etag, stored_at=self._context.clock())

    def _write_failure(self, error: ArchiverError) -> None:
        self._listing.count_failure(error, self._host)
        context, row, claim, now = self._context, self._row, self._listing.claim, self._context.clock()
        ruling, gone = self._ruling(error, now)
        reason = f"{error.code}: {error}"
        self._out.progress.stem_failed(
            claim, row.name, event=ruling.event, reason=reason, gone=gone, not_before=ruling.not_before, now=now
        )
        context.checkpoint("stem.failed")
        state, again = _STATE_AFTER[ruling.event], ruling.not_before
        self._listing.note(
            replace(row, state=state, reason=reason, not_before=again, attempts=row.attempts + 1, gone=row.gone + gone)
        )
        report = context.log.info if ruling.event is None else context.log.error
        report(
            _EVENT_AFTER[ruling.event],
            task_id=claim.task_id,
            stem=row.name,
            reason=reason,
            hint=_HINT_AFTER.get(ruling.event, error.hint),
            again_at=again and again.isoformat(),
        )

    def _ruling(self, error: ArchiverError, now: datetime) -> tuple[plan.Ruling, bool]:
        """Rule on the failed try; say also whether the origin called the stem gone when its time was over."""
        context, row, deadline = self._context, self._row, self._listing.claim.deadline
        last = last_chance(self._listing.claim, context.policy)
        look, key = context.look, f"{self._listing.claim.task_id}/{row.name} {error.verdict}"
        alone = error.verdict is Verdict.RETRY and plan.is_one_too_many(row.attempts)
        if alone and self._serves_others(error):
            past = last is not None and look.sure() >= last and look.seen(key)
            again = plan.slow_retry(now, last, context.policy, sure=look.sure() if past else LONG_AGO)
            return plan.Ruling(StemEvent.REFUSED, again), False
        judge = partial(plan.judge_stem, row, error, now, deadline, context.policy, context.jitter(), last=last)
        sure = look.sure()
        if last is None or sure < last:
            look.forget(key)
            return judge(sure=LONG_AGO), False
        return judge(sure=sure if look.seen(key) else LONG_AGO), error.verdict is Verdict.REFRESH

    def _serves_others(self, error: ArchiverError) -> bool:
        if error.down is Dependency.ORIGIN:
            return self._out.breakers.serves_others(self._host)
        return self._listing.neutral.works_for_others(error)


def _link(row: StemRow) -> str:
    if row.not_taken:
        raise NotTaken(row.not_taken)
    if row.url is None:
        raise NoLink("the provider no longer gives a link for this stem")
    return row.url


def _receipt(stored: StoredObject, body: Download, row: StemRow, now: datetime) -> Receipt:
    return Receipt(
        key=stored.key,
        size=body.size,
        sha256=body.sha256,
        etag=stored.etag,
        content_type=body.content_type,
        stored_at=now,
        doubt=body.doubt(row.duration if row.media is Media.AUDIO else None),
    )


class _WatchedBody:
    """A body that reports its bytes, stops when the service does, and ends in Duplicate where it is one."""

    def __init__(self, body: Body, row: StemRow, duplicates: Duplicates, context: TaskContext, host: str) -> None:
        self._body = body
        self._host = host
        self._row = row
        self._duplicates = duplicates
        self._context = context
        self.length = body.length
        self.extension = body.extension
        self.content_type = body.content_type

    @property
    def sha256(self) -> str:
        return self._body.sha256

    @property
    def size(self) -> int:
        return self._body.size

    def forget(self) -> None:
        self._body.forget()

    def readinto(self, buffer: memoryview) -> int:
        if self._context.cancelled():
            raise Interrupted
        count = self._body.readinto(buffer)
        if self._host:
            self._context.outside.pool.moved(self._host, count)
        if count < len(buffer):
            with self._context.watch.waiting():
                original = self._duplicates.original(self._row, self._body.sha256)
            if original is not None:
                raise Duplicate(original)
        return count


class _Journal:
    """Writes multipart uploads into the ledger under this process's name."""

    def __init__(self, context: TaskContext) -> None:
        self._context = context

    def opening(self, key: str) -> None:
        self._context.outside.uploads.opening(self._context.owner, key, now=self._context.clock())

    def opened(self, key: str, upload_id: str) -> None:
        self._context.outside.uploads.opened(self._context.owner, key, upload_id, now=self._context.clock())

    def closed(self, key: str, upload_id: str) -> None:
        self._context.outside.uploads.closed(key, upload_id)
