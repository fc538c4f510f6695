"""Backups of the ledger: into a file, into the bucket, and back from a file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from archiver import __version__
from archiver.adapters.ledger import BackupsApart, Restoring, SqlLedger, database_of, new_file, pieces_of
from archiver.app.adapters import own_lock
from archiver.app.assembly import Parts, store_proof
from archiver.app.clock import utc_now
from archiver.app.extras import extra
from archiver.app.machine import THIS_MACHINE, Machine
from archiver.app.store import open_store
from archiver.core.backup import BackupSummary, Scope
from archiver.core.errors import Interrupted
from archiver.core.model import Dependency, Subject
from archiver.ports.ledger import Uploads
from archiver.ports.runtime import Checkpoint, Clock, EventLog, unobserved
from archiver.preservation.backup import BackupSchedule, BucketBackup, Taken, newest_backup
from archiver.settings import Settings


def back_up(ledger: SqlLedger, path: Path, checkpoint: Checkpoint = unobserved) -> BackupSummary:
    """Write the whole ledger into a new file; raise BackupRefused or LedgerFault, with no file left."""
    with new_file(path, checkpoint) as out:
        return ledger.backups.write(Scope.WHOLE, out, now=utc_now(), version=__version__)


def back_up_into_bucket(settings: Settings, ledger: SqlLedger, log: EventLog, machine: Machine = THIS_MACHINE) -> Taken:
    """Write the open part of the ledger into the bucket; raises as BucketBackup.take."""
    with closing(open_store(settings, log, machine)) as store, closing(own_lock(settings)) as lock:
        proof = store_proof(settings, store, ledger, machine, log)
        journal = _Journal(ledger.uploads, lock.owner, machine.clock)
        return BucketBackup(
            ledger.backups,
            store,
            journal,
            proof.ensure,
            settings.store.prefix,
            __version__,
            machine.clock,
            _folder(settings),
        ).take()


def restore_ledger(
    url: str,
    path: Path,
    progress: Callable[[str, int], None],
    *,
    keep_schema: bool = False,
    checkpoint: Checkpoint = unobserved,
) -> BackupSummary:
    """Take a backup into the ledger at `url`, which must be empty; return what was restored.

    Raises BackupBroken, BackupRefused or LedgerFault, with nothing restored, or SettingsFault without the driver.
    """
    with extra("ledger.url", "cluster"), closing(database_of(url)) as target:
        return Restoring(pieces_of(path), target, progress, checkpoint).restore(keep_schema=keep_schema)


def backup_schedule(parts: Parts, progress: Callable[[], None], asked: Callable[[], bool]) -> BackupSchedule:
    """Return what takes the backups of a process, and calls `progress` as they move on.

    One that is under way is given up once `asked()` says that the process is to end.
    """

    def rest() -> None:
        progress()
        if asked():
            raise Interrupted

    settings, adapters, machine = parts.settings, parts.adapters, parts.machine
    journal = _Journal(adapters.ledger.uploads, adapters.owner, machine.clock)
    backup = BucketBackup(
        BackupsApart(settings.ledger.url),
        adapters.store,
        journal,
        parts.proof.ensure,
        settings.store.prefix,
        __version__,
        machine.clock,
        _folder(settings),
        rest,
    )
    return BackupSchedule(
        backup,
        settings.ledger.backup_every,
        partial(parts.breakers.is_usable, Subject(Dependency.STORE)),
        partial(newest_backup, adapters.store.archive, settings.store.prefix),
        machine.clock,
        parts.log,
    )


def _folder(settings: Settings) -> str | None:
    file = settings.ledger_file()
    return None if file is None else str(file.parent)


@dataclass(frozen=True, slots=True)
class _Journal:
    """Writes the uploads in parts of large backups into the ledger, under this process's name."""

    uploads: Uploads
    owner: str
    clock: Clock

    def opening(self, key: str) -> None:
        """See UploadJournal: one whose id is never learned is left to the bucket's own rule."""

    def opened(self, key: str, upload_id: str) -> None:
        """See UploadJournal."""
        self.uploads.opened(self.owner, key, upload_id, now=self.clock())

    def closed(self, key: str, upload_id: str) -> None:
        """See UploadJournal."""
        self.uploads.closed(key, upload_id)
