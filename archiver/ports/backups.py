"""Backups of the ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from archiver.core.backup import BackupSummary, Scope


class Backups(Protocol):
    """Copies of the ledger for the day when its disk burns."""

    def write(
        self,
        scope: Scope,
        out: Callable[[bytes], object],
        *,
        now: datetime,
        version: str,
        rest: Callable[[], object] = ...,
    ) -> BackupSummary:
        """Write all of the scope as it stands at one moment, without leases, beside whoever works on the ledger.

        Calls `out` with the bytes of the file as they come, and `rest` every few hundred rows. It is not tried again.
        """
