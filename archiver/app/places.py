"""Places: the names of the queue file and of the folder of locks, for who loads nothing else."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from archiver.app.ledger import on_server
from archiver.settings import Settings, data_folder
from archiver.settings.rules import SQLITE


def queue_name(settings: Settings) -> str:
    """Return the name of the queue file in the ledger: on each machine another may stand under the same path."""
    path = str(settings.queue.path)
    return f"{platform.node()}:{path}" if on_server(settings) else path


def owners_folder(ledger_url: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder where the processes of this machine that share the ledger keep their locks."""
    if not ledger_url.startswith(SQLITE):
        return data_folder(environ) / "owners"
    database = Path(ledger_url.removeprefix(SQLITE))
    return database.with_name(database.name + ".owners")
