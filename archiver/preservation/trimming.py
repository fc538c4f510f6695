"""Trimming: rows of archived tasks leave the ledger, of each only once its manifest is proven to hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from archiver.core.errors import Interrupted, KeyTaken
from archiver.core.keys import folder_of, manifest_key, record_key
from archiver.core.manifest import FORMAT
from archiver.core.manifest_bounds import LARGEST
from archiver.core.manifest_fields import ManifestBroken
from archiver.core.manifest_read import Manifest, read_manifest
from archiver.core.model import StemRow, TaskId
from archiver.core.reading import ObjectUnread
from archiver.core.rebuilt import rebuilt
from archiver.core.refusals import ManifestTooLong
from archiver.core.renewal import renewed
from archiver.core.succession import Succession
from archiver.core.trimming import LeftAlone, Trimmed, Trims, trimmed_of
from archiver.core.whole_task import WholeTask, differences
from archiver.ports.archive import Archive, FoundDocument
from archiver.ports.runtime import Checkpoint, Clock, unobserved
from archiver.ports.store import ObjectStore
from archiver.ports.trimming import Place, Trimming
from archiver.preservation.looks import side_by_side

BATCH: Final = 500
"""Tasks that are read and proven at a time."""
AT_ONCE: Final = 25
"""Tasks whose rows are removed in one transaction: claims wait no longer than that takes, some hundredths."""
_NAMED: Final = 3
"""Columns that a reason names."""


class _Unlike(Exception):
    """The manifest does not prove what the ledger says; the message tells why."""


@dataclass(frozen=True, slots=True)
class Renewing:
    """Puts a manifest of the present format in the place of one of format 1, under If-Match."""

    store: ObjectStore
    ensure: Callable[[], None]
    """Sees to it that the store writes as it can."""
    put_schemas: Callable[[], None]
    """Puts the schemas of manifests beside them, once."""
    prefix: str
    version: str
    clock: Clock

    def put(self, whole: WholeTask, standing: Manifest, record: str) -> None:
        """Put the successor, if it says what the ledger says; raise _Unlike, KeyTaken, and what the store raises."""
        succession = renewed(whole, standing, record, version=self.version, now=self.clock())
        key = manifest_key(self.prefix, whole.task_id)
        _hold(whole, read_manifest(succession.ours), folder_of(self.prefix, whole.task_id))
        self.ensure()
        self.put_schemas()
        instead = _Instead(succession, standing)
        self.store.put_document(key, succession.ours, same=succession.keeps, instead=instead)


@dataclass(frozen=True, slots=True)
class _Instead:
    """The successor of the manifest that was read, and of no other."""

    succession: Succession
    standing: Manifest

    def __call__(self, theirs: bytes, _etag: str) -> bytes:
        found = self.succession.standing(theirs)
        if found is None or found.seal != self.standing.seal:
            raise KeyTaken("another manifest came in its place")
        if fault := self.succession.fault(theirs):
            raise KeyTaken(fault)
        return self.succession.successor(theirs)


@dataclass(slots=True)
class Trim:
    """Trims what is due, batch by batch; what is done stays done wherever it is broken off."""

    ledger: Trimming
    archive: Archive
    renewing: Renewing
    prefix: str
    monotonic: Callable[[], float]
    stopped: Callable[[], bool] = lambda: False
    shown: Callable[[Trims], object] = lambda _: None
    """Called with the sum so far, after each batch."""
    checkpoint: Checkpoint = unobserved
    batch: int = BATCH
    sum: Trims = field(default_factory=Trims)
    """Of all that was done so far."""

    def run(self, before: datetime) -> Trims:
        """Trim all archived tasks that ended before then; return the sum.

        Raises LedgerFault, StoreBusy, StorePaused, StoreUnfit, and Interrupted once stopped.
        """
        for _ in self.batches(before):
            if self.stopped():
                raise Interrupted
        return self.sum

    def batches(self, before: datetime) -> Iterator[Trims]:
        """Trim them a batch at a time, and yield the sum after each; raises as `run`."""
        place: Place | None = None
        while due := self.ledger.due(before, place, self.batch):
            began = self.monotonic()
            self._take(due)
            place = due[-1].ended_at or before, due[-1].task_id
            self.sum = replace(self.sum, seconds=self.sum.seconds + self.monotonic() - began)
            self.shown(self.sum)
            yield self.sum

    def _take(self, due: Sequence[WholeTask]) -> None:
        proofs = list(side_by_side(self._prove, due))
        requests, renewals = (sum(getattr(each, name) for each in proofs) for name in ("requests", "renewed"))
        self.sum = replace(self.sum, requests=self.sum.requests + requests, renewed=self.sum.renewed + renewals)
        self.sum = self.sum.with_left(each.left for each in proofs if each.left is not None)
        self.checkpoint("trim.proven")
        proven = {each.whole.task_id: (each.whole, each.trimmed) for each in proofs if each.trimmed is not None}
        for first in range(0, len(proven), AT_ONCE):
            self._remove(dict(list(proven.items())[first : first + AT_ONCE]))

    def _remove(self, proven: Mapping[TaskId, tuple[WholeTask, Trimmed]]) -> None:
        removed, so_far = self.ledger.remove(proven), self.sum
        freed = so_far.bytes if removed.bytes is None else (so_far.bytes or 0) + removed.bytes
        self.sum = replace(so_far, tasks=so_far.tasks + removed.tasks, rows=so_far.rows + removed.rows, bytes=freed)

    def _prove(self, whole: WholeTask) -> _Proof:
        proof = _Proof(whole)
        try:
            proof.trimmed = self._proven(proof)
        except (ManifestBroken, ManifestTooLong, _Unlike, KeyTaken, ObjectUnread) as why:
            proof.left = LeftAlone(whole.task_id, f"manifest.json: {why}")
        return proof

    def _proven(self, proof: _Proof) -> Trimmed:
        whole = proof.whole
        found, manifest = self._read(proof)
        if manifest.format < FORMAT:
            self._renew(proof, manifest)
            found, manifest = self._read(proof)
        if manifest.format != FORMAT:
            raise _Unlike("a later version wrote it")
        _hold(whole, manifest, folder_of(self.prefix, whole.task_id))
        return trimmed_of(whole.stems, (len(found.data), found.head.etag))

    def _read(self, proof: _Proof) -> tuple[FoundDocument, Manifest]:
        task = proof.whole.task_id
        proof.requests += 1
        found = self.archive.document(manifest_key(self.prefix, task), limit=LARGEST)
        if found is None:
            raise _Unlike("there is none")
        return found, read_manifest(found.data, task)

    def _renew(self, proof: _Proof, standing: Manifest) -> None:
        whole = proof.whole
        _hold(whole, standing, folder_of(self.prefix, whole.task_id))
        proof.requests += 2
        record = self.archive.document(record_key(self.prefix, whole.task_id), limit=LARGEST)
        self.renewing.put(whole, standing, "" if record is None else record.data.decode(errors="replace"))
        proof.renewed = 1
        self.checkpoint("trim.renewed")


@dataclass(slots=True)
class _Proof:
    """The result of looking at one task."""

    whole: WholeTask
    trimmed: Trimmed | None = None
    left: LeftAlone | None = None
    requests: int = 0
    renewed: int = 0


def _hold(whole: WholeTask, manifest: Manifest, folder: str) -> None:
    """Raise _Unlike where a manifest says anything else than the ledger, or ManifestBroken."""
    theirs = rebuilt(manifest, folder)
    if theirs.untold and manifest.format >= FORMAT:
        raise _Unlike(f"it does not tell all of: {', '.join(sorted(theirs.untold))}")
    columns = [each.column for each in differences(whole, theirs)]
    # Another ETag is no difference, but the folder digest is made of them: it must be that of manifest and rows.
    both = zip(whole.stems, theirs.stems, strict=False)
    columns += [f"stems.{mine.name}.etag" for mine, its in both if _etag(mine) != _etag(its)]
    if columns:
        more = f" and {len(columns) - _NAMED} more" if len(columns) > _NAMED else ""
        raise _Unlike(f"it and the ledger differ: {', '.join(columns[:_NAMED])}{more}")


def _etag(row: StemRow) -> str:
    return "" if row.receipt is None else row.receipt.etag
