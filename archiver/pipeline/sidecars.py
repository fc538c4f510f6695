"""The sidecars of a task: the record as it came, and the manifest, which is written last."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from archiver.core.answered import answered, first_asked
from archiver.core.chronicle import Chronicle, End
from archiver.core.errors import KeyTaken
from archiver.core.keys import broken_key, manifest_key, record_key
from archiver.core.manifest import manifest_of
from archiver.core.manifest_read import Manifest
from archiver.core.model import Claim, Dependency, Outcome, RecordInfo, TaskId
from archiver.core.records.kinds.names import KindName
from archiver.core.records.record import record_in
from archiver.core.states import TaskState
from archiver.core.succession import Succession
from archiver.pipeline.context import TaskContext
from archiver.pipeline.listing import Listing


class Sidecars:
    """Writes the sidecars of one task."""

    def __init__(self, context: TaskContext) -> None:
        self._context = context
        self._store = context.outside.store
        self._kept: Manifest | None = None

    def write(self, listing: Listing, outcome: Outcome) -> datetime | None:
        """Write record-info.json, if there is a record, and the manifest that tells `outcome`; return when it ended.

        That is now, or the time that an equal manifest tells, which stands there already. None where it has not ended.
        Raises what the store raises, LeaseLost, and KeyTaken where the manifest that stands must not be replaced.
        """
        context, now = self._context, self._context.clock()
        end = End.of(outcome, now)
        if end is None:
            return None
        record = listing.record
        rows = () if end.state in {TaskState.FAILED, TaskState.MISSING} else tuple(listing.rows.values())
        chronicle, claim = self._chronicle(listing, now), answered(listing.claim, record)
        self._put_record(claim)
        read = self._read(claim, record)
        manifest = manifest_of(
            claim,
            rows,
            end,
            version=context.version,
            now=now,
            chronicle=chronicle,
            best_effort=context.is_best_effort(),
            left_out=context.exclusion.left_out_of(read, {row.name for row in rows}),
            facts=read.facts,
        )
        self._put_manifest(claim, manifest)
        kept = self._kept
        return kept.ended_at if kept is not None and kept.state == end.state else end.at

    def _chronicle(self, listing: Listing, now: datetime) -> Chronicle:
        """Return what the ledger tells of the task, and the answer that was just read."""
        known = self._context.outside.progress.chronicle(listing.claim)
        record = listing.record
        if record is None:
            return replace(known, crc32=listing.crc32)
        asked = first_asked(known.first_asked_at, record, now)
        return replace(known, crc32=listing.crc32, flag=record.flag or known.flag, first_asked_at=asked)

    def _read(self, claim: Claim, record: RecordInfo | None) -> RecordInfo:
        """Return the record as it was just read, where that says all; else read what is kept of it once more."""
        if record is not None and record.document == claim.document and not self._context.exclusion.patterns:
            return record
        return record_in(claim.document, claim.kind or KindName.SEPARATION)

    def _put_record(self, claim: Claim) -> None:
        if claim.document:
            record, key = claim.document.encode(), record_key(self._context.prefix, claim.task_id)
            self._store.put_document(key, record, same=lambda theirs: theirs == record)
            self._context.checkpoint("record.put")

    def _put_manifest(self, claim: Claim, manifest: bytes) -> None:
        context, task = self._context, claim.task_id
        succession = Succession(manifest, task)

        def same(theirs: bytes) -> bool:
            keeps = succession.keeps(theirs)
            self._kept = succession.standing(theirs) if keeps else None
            return keeps

        def instead(theirs: bytes, etag: str) -> bytes:
            # Whoever took the task over may have written it. What is written after this look has another ETag.
            context.outside.progress.confirm(claim)
            if fault := succession.fault(theirs):
                raise KeyTaken(f"{manifest_key(context.prefix, task)}: {fault}")
            if succession.standing(theirs) is None:
                self._set_aside(task, theirs, etag)
            return succession.successor(theirs)

        context.schemas.put(self._store, context.prefix)
        self._store.put_document(manifest_key(context.prefix, task), manifest, same=same, instead=instead)
        context.outside.breakers.worked(Dependency.STORE)
        context.checkpoint("manifest.put")

    def _set_aside(self, task: TaskId, broken: bytes, etag: str) -> None:
        """Copy a broken manifest before it is replaced."""
        key = broken_key(self._context.prefix, task, etag)
        self._store.put_document(key, broken, same=lambda _: True)
        self._context.log.error("manifest.broken", task_id=task, reason=f"it was copied to {key}, and is replaced")
