"""Housekeeping: gives back and clears away what dead processes left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from archiver.core.errors import ArchiverError
from archiver.core.model import TaskId
from archiver.ports.ledger import Claims, IsAlive, Reports, Uploads
from archiver.ports.runtime import Clock, EventLog
from archiver.ports.store import ObjectStore, UploadList
from archiver.ports.work import Jobs

Upload: TypeAlias = tuple[str, str]
"""A multipart upload's key and id."""


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """Gives back what dead processes held, and aborts the multipart uploads that they left open."""

    claims: Claims
    uploads: Uploads
    store: ObjectStore
    is_alive: IsAlive
    clock: Clock
    log: EventLog

    def free_leases(self) -> None:
        """Give back at once what dead processes held, however long their leases would have lasted."""
        for owner in self.claims.release_dead(self.is_alive, now=self.clock()):
            self.log.info("lease.expired", owner=owner)

    def abort_uploads(self) -> None:
        """Abort the uploads that dead processes left open; what cannot be aborted now waits for the next time."""
        left = self.uploads.of_dead(self.is_alive)
        for key, upload_id in _aborted(self.store, _in_turn(left, self.clock()), self.log):
            self.uploads.closed(key, upload_id)
            self.log.info("upload.aborted", key=key)


BUSY_TO_END = 3
"""Aborts in a row that find the store out of reach, after which a sweep ends: each takes as long as its retries."""

TURN = 30
"""Seconds after which another upload is the first of a sweep: those that always fail keep none waiting for ever."""


def _in_turn(uploads: Sequence[Upload], now: datetime) -> Sequence[Upload]:
    first = int(now.timestamp()) // TURN % len(uploads) if uploads else 0
    return [*uploads[first:], *uploads[:first]]


def _aborted(store: ObjectStore | UploadList, uploads: Iterable[Upload], log: EventLog) -> Iterator[Upload]:
    """Abort each upload by itself, and yield those that are; the log says of every other why it is not."""
    busy = 0
    for key, upload_id in uploads:
        try:
            store.abort(key, upload_id)
        except ArchiverError as error:
            log.info("upload.abort_failed", key=key, reason=f"{error.code}: {error}")
            busy = 0 if error.down is None else busy + 1
            if busy >= BUSY_TO_END:
                return
        else:
            busy = 0
            yield key, upload_id


FOREIGN = timedelta(days=1)
"""An upload of which we do not know that we began it may be another installation's, until it is as old."""


def abort_strays(
    *, reports: Reports, uploads: Uploads, store: UploadList, prefix: str, now: datetime, log: EventLog
) -> None:
    """Abort uploads to tasks of ours that nobody works on: whoever made them never learned or kept their id.

    Such are left when a process dies, or an answer is lost, just as the store has made an upload. Leaves alone what
    belongs to a task that the ledger does not know, and for a day what we did not set out to upload: that is
    somebody else's, who may archive under the same prefix.
    """

    def is_idle(key: str) -> bool:
        row = reports.show(TaskId(key.removeprefix(prefix).partition("/")[0]))
        return row is not None and row.leased_until is None

    ours = uploads.keys()
    try:
        # Listed before the leases are looked at: whoever begins an upload holds its task already.
        listed = list(store.uploads(prefix))
    except ArchiverError as error:
        log.info("upload.abort_failed", key=prefix, reason=f"{error.code}: {error}")
        return
    found = [(key, upload_id) for key, upload_id, began in listed if key in ours or now - began >= FOREIGN]
    left = set(found)
    for key, upload_id in _aborted(store, (each for each in _in_turn(found, now) if is_idle(each[0])), log):
        log.info("upload.aborted", key=key)
        left.discard((key, upload_id))
    still_open = {key for key, _ in left}
    uploads.forget([key for key in ours if key not in still_open and is_idle(key)])


@dataclass(frozen=True, slots=True)
class Rescue:
    """Puts back the jobs of workers that were killed, froze or were cut off."""

    jobs: Jobs
    log: EventLog

    def __call__(self) -> None:
        """Put them back; raise LedgerFault."""
        for task_id in self.jobs.rescue():
            self.log.warning("job.rescued", task_id=task_id)
