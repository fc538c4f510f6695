"""Brings the schema of any released version up to this one, all or nothing."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from archiver.core.errors import LedgerFault
from archiver.edge.ledger.dialect import WRITES
from archiver.ports import Checkpoint

_SCRIPTS = Path(__file__).with_name("migrations")


def migrate(engine: Engine, where: str, checkpoint: Checkpoint) -> None:
    """Upgrade in one transaction; raise LedgerFault for a schema newer than this program, or a read-only file.

    Calls `ledger.migrating` after each revision, before the commit, and `ledger.migrated` after it.
    """
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    with engine.connect().execution_options(**{WRITES: True}) as db, db.begin():
        current = MigrationContext.configure(db).get_current_revision()
        if current == scripts.get_current_head():
            # SQLite lets a transaction begin on a read-only file; writing tells.
            db.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")
            return
        if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
            raise LedgerFault(
                f"the ledger {where} was written by a newer version (schema {current})",
                "run that version or a later one; the file was left as it is",
            )
        config.attributes.update(connection=db, checkpoint=checkpoint)
        command.upgrade(config, "head")
    checkpoint("ledger.migrated")
