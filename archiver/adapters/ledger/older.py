"""A copy of a ledger as an older version had it, kept beside it before its schema is changed: the way back."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from sqlalchemy import Engine

from archiver import __version__
from archiver.adapters.ledger.backup_file import new_file, pieces_of
from archiver.adapters.ledger.backups import write_backup
from archiver.adapters.ledger.schema import upgrade
from archiver.adapters.ledger.schema.migrate import HEAD, revision
from archiver.core.backup import BackupBroken, BackupReader, BackupRefused, Scope
from archiver.core.errors import LedgerFault
from archiver.ports.runtime import Checkpoint


def keep_copy(engine: Engine, path: Path, checkpoint: Checkpoint) -> None:
    """Write a whole backup of a ledger with an older schema beside it, unless the last one there is the same.

    Raises LedgerFault where it cannot be written.
    """
    with engine.connect() as db, db.begin():
        schema = revision(db)
        if schema is None or schema == HEAD or not upgrade.knows(schema):
            return
        last, file = _names(path, schema)
        try:
            with new_file(file) as out:
                summary = write_backup(db, Scope.WHOLE, out, now=datetime.now(UTC), version=__version__)
        except BackupRefused as refused:
            hint = "it is the way back to the older version, and is written first: make room for it"
            raise LedgerFault(f"the ledger {path} is not brought up to date: {refused}", hint) from refused
    if last is not None and _content(last) == summary.content:
        file.unlink()
    checkpoint("ledger.kept")


def _names(path: Path, schema: str) -> tuple[Path | None, Path]:
    """Return the last copy of that schema, if any, and the name of the next."""
    last = None
    for number in count(1):
        name = path.with_name(f"{path.name}.schema-{schema}{'' if number == 1 else f'-{number}'}.jsonl.gz")
        if not name.exists():
            return last, name
        last = name
    raise AssertionError("numbers never end")


def _content(file: Path) -> str:
    try:
        return BackupReader(pieces_of(file)()).check().content
    except (BackupBroken, BackupRefused):
        return ""
