"""The ledger, opened as the settings say: all that most commands need of the outside."""

from __future__ import annotations

from datetime import timedelta

from archiver.edge.ledger import SqlLedger
from archiver.edge.ledger.sql import PATIENCE
from archiver.ports import Checkpoint, unobserved
from archiver.settings import Settings


def open_ledger(settings: Settings, checkpoint: Checkpoint = unobserved, patience: timedelta = PATIENCE) -> SqlLedger:
    """Open and, where needed, create or migrate the ledger; raise LedgerFault."""
    return SqlLedger.open(settings.ledger.url, checkpoint=checkpoint, patience=patience)
