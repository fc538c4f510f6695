"""Looking first: what the bucket has of a task is taken from there, and never called lost, missing or failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from archiver.core.adoption import Known
from archiver.core.errors import ArchiverError, Interrupted
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.model import Archived, Dependency, Failed, Lost, Missing, StemRow, Subject
from archiver.core.states import StemEvent, StemState, TaskState
from archiver.core.whole_task import WholeTask
from archiver.pipeline.context import Bucket, TaskContext
from archiver.pipeline.listing import Listing


@dataclass(frozen=True, slots=True)
class Adopted:
    """The end of a task as its manifest tells it."""

    outcome: Archived | Lost
    ended_at: datetime | None


class Adoption:
    """One attempt's looks into the bucket."""

    def __init__(self, context: TaskContext, listing: Listing, bucket: Bucket) -> None:
        self._context = context
        self._listing = listing
        self._bucket = bucket

    def at_first(self) -> Adopted | None:
        """Look at a task that nobody asked about yet; return its end, where its manifest tells one.

        A store that does not answer now is looked at again before any verdict.
        """
        claim = self._listing.claim
        if claim.asks or claim.attempts or claim.first_asked_at or claim.stems:
            return None
        if not self._context.outside.breakers.is_usable(Subject.of(Dependency.STORE)):
            return None
        try:
            return self._taken()
        except ArchiverError as error:
            if error.down is Dependency.STORE:
                self._context.outside.breakers.failed(Dependency.STORE, error, by=claim.task_id)
            return None

    def before(self, outcome: Failed | Missing | Lost) -> Adopted | Failed | Missing | Lost | None:
        """Look once more before a verdict; return what it is then, None where the task goes on with what was found.

        Raises what the store raises: without its answer there is no verdict.
        """
        claim = self._listing.claim
        if claim.state is TaskState.QUEUED and not claim.stems:
            if (adopted := self._taken()) is not None:
                return adopted
            if self._listing.claim.state is TaskState.LISTED:
                return None
        found = [*self._in_manifest()] if claim.stems else []
        if found:
            self._adopt(found)
        if others := [*self._missing()]:
            self._adopt(others)
            found += others
        if isinstance(outcome, Lost):
            return None if found else outcome
        stored = [row for row in self._listing.rows.values() if row.state is StemState.STORED]
        return self._had_audio(outcome, len(stored)) if self._listing.rows else outcome

    def _had_audio(self, outcome: Failed | Missing, stored: int) -> Lost | None:
        """Return the end of a task of which stems are known, and of which the provider tells nothing any more.

        Its audio stands in the bucket, or it was lost before an operator had it tried again.
        """
        claim, now = self._listing.claim, self._context.clock()
        if claim.state is TaskState.QUEUED:
            self._adopt([])
        wanted = [row for row in self._listing.rows.values() if row.state is StemState.WANTED]
        for row in wanted:
            self._context.outside.progress.stem_failed(
                claim, row.name, event=StemEvent.GONE, reason=outcome.reason, gone=False, not_before=None, now=now
            )
            tries = row.attempts + 1
            self._listing.note(
                replace(row, state=StemState.LOST, reason=outcome.reason, attempts=tries, not_before=None)
            )
        if len(self._listing.rows) > stored:
            return None
        kept = f"{stored} of its files stand in the bucket and are kept; whether there were more cannot be known"
        return Lost(f"{outcome.reason}; {kept}")

    # --- by its manifest

    def _taken(self) -> Adopted | None:
        """Take what the manifest tells; return the end that it tells, None where there is none, or the task goes on."""
        whole = self._whole()
        if whole is None:
            return None
        claim = self._bucket.adoptions.take(self._listing.claim, whole, now=self._context.clock())
        self._listing.take(claim)
        self._context.log.info("task.adopted", task_id=claim.task_id, state=whole.state.value, stems=len(whole.stems))
        if whole.state is TaskState.ARCHIVED:
            return Adopted(Archived(), whole.ended_at)
        return Adopted(Lost(whole.reason), whole.ended_at) if whole.state is TaskState.LOST else None

    def _whole(self) -> WholeTask | None:
        """Return the task as its manifest has it; None without one that can be understood."""
        task = self._listing.claim.task_id
        try:
            return self._bucket.folders.whole(task)
        except ManifestBroken as broken:
            why = str(broken)
        self._context.log.error("manifest.broken", task_id=task, reason=why)
        return None

    def _in_manifest(self) -> Iterator[StemRow]:
        """Yield the stems that a manifest has stored, and the ledger has not."""
        whole = self._whole()
        for theirs in () if whole is None else whole.stems:
            ours = self._listing.rows.get(theirs.name)
            if theirs.receipt is not None and (ours is None or ours.state is not StemState.STORED):
                yield replace(ours or theirs, state=StemState.STORED, receipt=theirs.receipt)

    # --- by its objects

    def _adopt(self, found: list[StemRow]) -> None:
        claim = self._bucket.adoptions.adopt(self._listing.claim, found, now=self._context.clock())
        self._listing.take(claim)
        for row in found:
            key = "" if row.receipt is None else row.receipt.key
            self._context.log.info("stem.adopted", task_id=claim.task_id, stem=row.name, key=key)

    def _missing(self) -> Iterator[StemRow]:
        """Yield the stems that are not stored, and whose objects stand in the task's folder, whole."""
        rows, claim = self._listing.rows, self._listing.claim
        if rows and all(row.state is StemState.STORED for row in rows.values()):
            return
        found = self._bucket.folders.objects(claim.task_id, Known(claim.kind, rows), self._alive)
        for left in found.left:
            self._context.log.warning("stem.not_adopted", task_id=claim.task_id, key=left.key, reason=left.reason)
        for each in found.adopted:
            known = rows.get(each.stem) or StemRow(each.stem, StemState.WANTED, "", "", "", media=each.media)
            yield replace(known, state=StemState.STORED, receipt=each.receipt)

    def _alive(self) -> None:
        if self._context.cancelled():
            raise Interrupted
        self._context.watch.progress()
