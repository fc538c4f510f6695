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
from archiver.core.errors import QueueUnreadable
from archiver.core.intake import Cursor
from archiver.core.reports import Process
from archiver.settings import Settings


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
        if 0 < standing.unterminated_bytes == standing.unread_bytes and _is_taken(queue, cursor, ledger):
            standing = replace(standing, unread_bytes=0, unread_lines=0, unterminated_bytes=0)
    except QueueUnreadable as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        standing = QueueStanding(str(path), exists=not missing, fault="" if missing else str(error))
    looks = [process.looked_at for process in ledger.reports.processes() if process.looked_at is not None]
    return replace(standing, moved_at=ledger.reports.moved_at(name), looked_at=max(looks, default=None))


def _is_taken(queue: QueueFile, cursor: Cursor | None, ledger: SqlLedger) -> bool:
    """Return whether the last line, which has no newline, was taken as it is: the cursor stays before it."""
    rest = queue.read(cursor, final=True)
    known = ledger.intakes.known(rest.ids)
    return all(each in known for each in rest.ids) and ledger.reports.are_rejected(rest.rejects)
