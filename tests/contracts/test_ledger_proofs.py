from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from archiver.core.capabilities import Capabilities, Listing, Multipart, Proof
from tests.fixtures.ledgers import NOW
from tests.house import Ledger

ODD = replace(Capabilities(), create_only=False, multipart=Multipart.PLAIN, listing=Listing.KEY)


def test_proof_is_kept_by_store_and_the_last_one_counts(ledger: Ledger) -> None:
    assert ledger.proofs.of("here") is None
    first, second = Proof(Capabilities(), NOW), Proof(ODD, NOW + timedelta(days=1))
    ledger.proofs.note("here", first)
    ledger.proofs.note("there", second)
    assert (ledger.proofs.of("here"), ledger.proofs.of("there")) == (first, second)
    ledger.proofs.note("here", second)
    assert ledger.proofs.of("here") == second
