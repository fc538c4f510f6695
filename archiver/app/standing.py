"""Standing: how the queue file stands to the ledger, and who is at work on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from archiver.adapters.ledger import SqlLedger
from archiver.adapters.owners import is_alive
from archiver.adapters.queue_file import QueueFile
from archiver.app.ledger import on_server
from archiver.app.places import owners_folder, queue_name
from archiver.core.attention import QueueStanding
from archiver.core.fixity_pace import due_slices, fixity_late, total_of
from archiver.core.fixity_standing import FixityStanding
from archiver.core.intake import Cursor
from archiver.core.reports import Process
from archiver.core.slices import Course, Standing
from archiver.ports.work import QueueUnreadable
from archiver.settings import Settings

BATCHES = 200
"""Batches of the queue file, some 5,000 lines each, that are looked at once more."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A process, and whether it lives."""

    process: Process
    alive: bool


def seen_processes(settings: Settings, processes: Sequence[Process], now: datetime) -> Sequence[Seen]:
    """Return the processes on the ledger, each with whether it lives: by its lock, on other machines by its leases."""
    folder, shared = owners_folder(settings.ledger.url), on_server(settings)

    def alive(process: Process) -> bool:
        if process.ended_at is not None:
            return False
        locked = is_alive(folder, process.owner, shared=shared)
        return locked if locked is not None else process.alive_until is not None and process.alive_until > now

    return [Seen(process, alive(process)) for process in processes]


def queue_standing(settings: Settings, ledger: SqlLedger) -> QueueStanding:
    """Return how the queue file stands to what was read of it; raise LedgerFault."""
    name, path = queue_name(settings), settings.queue.path
    queue, cursor = QueueFile(str(path), name=name), ledger.intakes.cursor(name)
    try:
        standing = queue.standing(cursor)
        if standing.unread_bytes and _is_taken(queue, cursor, ledger):
            standing = replace(standing, unread_bytes=0, unread_lines=0, unterminated_bytes=0)
    except QueueUnreadable as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        standing = QueueStanding(str(path), exists=not missing, fault="" if missing else str(error))
    looks = [process.looked_at for process in ledger.reports.processes() if process.looked_at is not None]
    return replace(standing, moved_at=ledger.reports.moved_at(name), looked_at=max(looks, default=None))


def fixity_standing(
    settings: Settings, ledger: SqlLedger, now: datetime, slices: Sequence[Standing] | None = None
) -> FixityStanding:
    """Return how the archive stands by all checks so far; raises LedgerFault.

    Without `slices`, how each stands that is read again, the ledger is asked for them.
    """
    is_late, acknowledged = _is_late(settings, ledger, now, slices), ledger.faults.acknowledged()
    counts = {kind: count - acknowledged.get(kind, 0) for kind, count in ledger.faults.counts().items()}
    faults = {kind: count for kind, count in counts.items() if count > 0}
    return FixityStanding(faults, ledger.checks.oldest(now=now), is_late=is_late, acknowledged=acknowledged)


def _is_late(settings: Settings, ledger: SqlLedger, now: datetime, slices: Sequence[Standing] | None) -> bool:
    """Return whether something will not be read within `verify.within`, even at all the bandwidth that may be used."""
    within = settings.verify.within
    if not within:
        return False
    standings = ledger.rounds.standings(Course.READ, now=now) if slices is None else slices
    if not standings:
        return False
    since = ledger.rounds.kept_since() or now
    dues = due_slices(standings, total=total_of(standings), since=since, within=within, now=now)
    rate = min(settings.verify.bandwidth.mean_rate(), settings.download.bandwidth.mean_rate())
    return fixity_late(dues, now, rate)


def _is_taken(queue: QueueFile, cursor: Cursor | None, ledger: SqlLedger) -> bool:
    """Return whether what the cursor stands before was taken in all the same.

    So it is with a last line without its newline that was taken as it is, and with what a `backfill` took.
    """
    for _ in range(BATCHES):
        batch = queue.read(cursor)
        if batch.cursor == cursor:
            batch = queue.read(cursor, final=True)
        known = ledger.intakes.known(batch.ids)
        if any(each not in known for each in batch.ids):
            return False
        if not batch.ids and not ledger.reports.are_rejected(batch.rejects):
            return False
        if batch.cursor == cursor:
            return True
        cursor = batch.cursor
    return False
