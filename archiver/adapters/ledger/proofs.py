"""Proofs: what buckets were proven to do."""

from __future__ import annotations

from sqlalchemy import select

from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.database.transactions import LedgerPart
from archiver.adapters.ledger.schema.tables import proofs
from archiver.core.capabilities import PROBE_VERSION, Capabilities, Proof


class SqlProofs(LedgerPart):
    """The Proofs of `ports.store` in a SQL database."""

    def of(self, store: str) -> Proof | None:
        """See Proofs."""
        wanted = select(proofs.c.found, proofs.c.proven_at).where(
            proofs.c.store == store, proofs.c.probe == PROBE_VERSION
        )
        with self._db.read() as db:
            row = db.execute(wanted).one_or_none()
        known = None if row is None else Capabilities.of_json(row.found)
        return None if row is None or known is None else Proof(known, row.proven_at)

    def note(self, store: str, proof: Proof) -> None:
        """See Proofs."""
        fresh = {"probe": PROBE_VERSION, "found": proof.known.as_json(), "proven_at": proof.at}
        with self._db.write() as db:
            statement = insert(db, proofs).values(store=store, **fresh)
            db.execute(statement.on_conflict_do_update(index_elements=["store"], set_=fresh))
