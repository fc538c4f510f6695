"""Upgrades by the revisions in `migrations/`: all that needs Alembic."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from archiver.core.hiding import hidden
from archiver.ports.runtime import Checkpoint

with hidden("pygments"):  # for coloured tracebacks of templates: 4 MB of a process that began with an upgrade
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

_SCRIPTS = Path(__file__).with_name("migrations")


def knows(revision: str) -> bool:
    """Return whether `revision` is one of ours."""
    return revision in {script.revision for script in _scripts().walk_revisions()}


def head() -> str | None:
    """Return the newest revision."""
    return _scripts().get_current_head()


def to_revision(db: Connection, revision: str, checkpoint: Checkpoint) -> None:
    """Run every revision that is missing up to this one, inside the caller's transaction."""
    config = _config()
    config.attributes.update(connection=db, checkpoint=checkpoint)
    command.upgrade(config, revision)


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config
