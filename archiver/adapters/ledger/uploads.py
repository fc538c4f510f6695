"""Multipart uploads that are not finished."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import delete, select

from archiver.adapters.ledger import owners
from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.database.transactions import LedgerPart, outage_retry
from archiver.adapters.ledger.rows import chunks
from archiver.adapters.ledger.schema.tables import uploads
from archiver.ports.ledger import IsAlive

_NO_ID = ""


class SqlUploads(LedgerPart):
    """The Uploads of `ports.ledger` in a SQL database."""

    @outage_retry
    def opening(self, owner: str, key: str, *, now: datetime) -> None:
        """See Uploads. The row is that of an upload without an id."""
        with self._db.write(passing=True) as db:
            row = {"key": key, "upload_id": _NO_ID, "owner": owner, "opened_at": now}
            db.execute(insert(db, uploads).values(**row).on_conflict_do_nothing())

    @outage_retry
    def opened(self, owner: str, key: str, upload_id: str, *, now: datetime) -> None:
        """See Uploads."""
        row = {"key": key, "upload_id": upload_id, "owner": owner, "opened_at": now}
        with self._db.write() as db:
            db.execute(insert(db, uploads).values(**row).on_conflict_do_nothing())
        self._db.checkpoint("ledger.upload_opened")

    @outage_retry
    def closed(self, key: str, upload_id: str) -> None:
        """See Uploads."""
        with self._db.write() as db:
            db.execute(delete(uploads).where(uploads.c.key == key, uploads.c.upload_id == upload_id))
        self._db.checkpoint("ledger.upload_closed")

    @outage_retry
    def of_dead(self, is_alive: IsAlive) -> Sequence[tuple[str, str]]:
        """See Uploads."""
        with self._db.read() as db:
            rows = db.execute(select(uploads).where(uploads.c.upload_id != _NO_ID).order_by(uploads.c.opened_at)).all()
            on_record = owners.on_record(db)
        dead, unknown = owners.judge({row.owner for row in rows}, is_alive)
        gone = {*dead, *(owner for owner in unknown if owner not in on_record)}
        return [(row.key, row.upload_id) for row in rows if row.owner in gone]

    @outage_retry
    def keys(self) -> Collection[str]:
        """See Uploads."""
        with self._db.read() as db:
            return set(db.execute(select(uploads.c.key).where(uploads.c.upload_id == _NO_ID)).scalars())

    @outage_retry
    def forget(self, keys: Collection[str]) -> None:
        """See Uploads."""
        with self._db.write(passing=True) as db:
            for chunk in chunks(keys):
                db.execute(delete(uploads).where(uploads.c.upload_id == _NO_ID, uploads.c.key.in_(chunk)))
