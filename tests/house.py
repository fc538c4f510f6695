"""The only file of tests that composes the package: builders with defaults, so that a part that moves is met here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

from archiver.adapters.ledger import SqlLedger
from archiver.adapters.ledger.database.faults import LedgerAway
from archiver.ports.runtime import Checkpoint, unobserved

Ledger: TypeAlias = SqlLedger
"""All that a test may ask of a ledger."""


def ledger_at(
    url: str,
    *,
    checkpoint: Checkpoint = unobserved,
    patience: timedelta = timedelta(seconds=30),
    outage: timedelta = timedelta(minutes=1),
    notify: Callable[[LedgerAway], None] = lambda _: None,
) -> Ledger:
    """Open the ledger at `url`, or make it; raise LedgerFault."""
    return SqlLedger.open(url, checkpoint=checkpoint, patience=patience, outage=outage, notify=notify)
