"""Brings the schema of any released version up to this one, all or nothing."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Engine, inspect

from archiver.core.errors import LedgerFault
from archiver.ports.runtime import Checkpoint

WRITES = "stem_archiver_writes"
"""The execution option of a connection that is going to write."""

HEAD = "0018"
"""The newest revision in `migrations/`; written here so that a start need not load Alembic to know it."""


def migrate(
    engine: Engine,
    where: str,
    checkpoint: Checkpoint,
    adopt: Callable[[Connection], None] = lambda _: None,
    *,
    to: str = HEAD,
) -> None:
    """Upgrade in one transaction; raise LedgerFault for a schema newer than this program, or a read-only file.

    Calls `adopt` first, in that transaction, `ledger.migrating` after each revision, before the commit, and
    `ledger.migrated` after it.
    """
    with engine.connect().execution_options(**{WRITES: True}) as db, db.begin():
        adopt(db)
        current = revision(db)
        if current == to:
            # A transaction may begin on what is read-only (a file, a standby); writing tells.
            db.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")
            return
        from archiver.adapters.ledger.schema import upgrade  # noqa: PLC0415 - Alembic would be a fifth of every start

        if current is not None and not upgrade.knows(current):
            raise LedgerFault(
                f"the ledger {where} was written by a newer version (schema {current})",
                "run that version or a later one; the file was left as it is",
            )
        upgrade.to_revision(db, to, checkpoint)
        if revision(db) != to:
            raise LedgerFault(f"the ledger {where} has a newer schema than {to}", "name one that is not there yet")
    checkpoint("ledger.migrated")


def require_current(db: Connection, where: str) -> None:
    """Raise LedgerFault where the schema is not this one: who only reads cannot bring it up to date."""
    found = revision(db)
    if found != HEAD:
        raise LedgerFault(
            f"the ledger {where} has schema {found or 'none'}, and this version reads {HEAD}",
            "start `stem-archiver run` of this version, which brings it up to date; of a newer ledger, a newer version",
        )


def is_older(engine: Engine) -> bool:
    """Return whether there is a schema, and it is not this one."""
    with engine.connect() as db, db.begin():
        return revision(db) not in {None, HEAD}


def revision(db: Connection) -> str | None:
    """Return the schema's revision; None where there is none."""
    if not inspect(db).has_table("alembic_version"):
        return None
    found: str | None = db.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return found
