"""Places: the names of the queue file and of the folder of locks, for who loads nothing else."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

from archiver.app.ledger import on_server
from archiver.settings import Settings, data_folder
from archiver.settings.rules import SQLITE


def queue_name(settings: Settings) -> str:
    """Return the name of the queue file in the ledger: on each machine another may stand under the same path."""
    path = str(settings.queue.path)
    return f"{platform.node()}:{path}" if on_server(settings) else path


def store_name(settings: Settings) -> str:
    """Return the store's name in the ledger: endpoint, bucket, and a mark of the settings that a proof holds for."""
    store = settings.store
    way = (store.provider, store.region, store.addressing_style, store.sign_payload)
    matters = (*way, store.storage_class, store.sse, store.kms_key_id, store.tags)
    mark = hashlib.sha256(repr((store.prefix, *matters)).encode()).hexdigest()[:8]
    return f"{store_place(settings)} ({mark})"


def store_place(settings: Settings) -> str:
    """Return endpoint and bucket, for people."""
    return f"{settings.store.endpoint_url or 'Amazon S3'}, bucket {settings.store.bucket}"


def owners_folder(ledger_url: str) -> Path:
    """Return the folder where the processes of this machine that share the ledger keep their locks."""
    if not ledger_url.startswith(SQLITE):
        return data_folder(os.environ) / "owners"
    database = Path(ledger_url.removeprefix(SQLITE))
    return database.with_name(database.name + ".owners")
