"""Adoption: the ledger takes from the bucket what it does not know itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from archiver.core.model import Claim, StemRow
from archiver.core.whole_task import WholeTask


class Adoptions(Protocol):
    """As the ports of `archiver.ports.ledger`: each method is one transaction, and raises LeaseLost and LedgerFault."""

    def take(self, claim: Claim, whole: WholeTask, *, now: datetime) -> Claim:
        """Take what a manifest tells of a task that is QUEUED and has no stems; return the claim as it now stands.

        One that was archived, lost or listed is LISTED then, settled, and its end is still to be written; one that had
        failed or was missing is QUEUED, and retried. Its history goes before what is known here.
        """

    def adopt(self, claim: Claim, found: Sequence[StemRow], *, now: datetime) -> Claim:
        """Write down stems that are stored, as their receipts say; return the claim as it now stands.

        Those that are not known are new. A task that is QUEUED becomes LISTED, and settled.
        """
