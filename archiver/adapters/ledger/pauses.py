"""Paused dependencies, and multipart uploads that are not finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, not_, select

from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.rows import AnyRow
from archiver.adapters.ledger.schema.tables import pauses, uploads
from archiver.core.model import AccountName, Dependency, Pause

FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(seconds=30)
"""A probe is one request; waiting longer would only delay the work once the trouble is over."""


def pause(
    db: Connection,
    dependency: Dependency,
    account: AccountName,
    *,
    reason: str,
    hint: str,
    lasting: bool,
    now: datetime,
) -> Pause:
    """Open a pause, or prolong it after a failed probe.

    A call before next_probe is no probe but a straggler, of many threads or processes that met the
    same refusal at once: it changes the reason, not the wait. A next_probe that is farther away than any
    wait was written down before the clock was set back, and does not count. One that is held stays as it is.
    """
    rows = db.execute(select(pauses).where(pauses.c.dependency == dependency).with_for_update()).all()
    if held := [row for row in rows if row.held]:
        return _pause(held[0])
    row = next((row for row in rows if row.account == account), None)
    since, probes, next_probe = now, 0, now + FIRST_WAIT
    if row is not None:
        since, probes, next_probe = row.since, row.probes, row.next_probe
        if now >= next_probe or next_probe > now + LONGEST_WAIT:
            probes += 1
            next_probe = now + min(FIRST_WAIT * (1 << min(probes, 10)), LONGEST_WAIT)
    return _write(db, Pause(dependency, since, reason, hint, lasting, probes, next_probe, account=account))


def hold(db: Connection, dependency: Dependency, *, until: datetime | None, now: datetime) -> Pause:
    """Write down the operator's pause of the whole in the place of any other."""
    db.execute(delete(pauses).where(pauses.c.dependency == dependency))
    reason, hint = "held by the operator", "run: stem-archiver resume"
    return _write(db, Pause(dependency, now, reason, hint, until is None, 0, until or now, held=True))


def _write(db: Connection, pause: Pause) -> Pause:
    values = asdict(pause)
    statement = insert(db, pauses).values(values)
    db.execute(statement.on_conflict_do_update(index_elements=[pauses.c.dependency, pauses.c.account], set_=values))
    return pause


def resume(db: Connection, dependency: Dependency, account: AccountName) -> bool:
    """End the pause of that account, if there is one that is not held."""
    its = (pauses.c.dependency == dependency, pauses.c.account == account)
    return db.execute(delete(pauses).where(*its, not_(pauses.c.held))).rowcount > 0


def lift(db: Connection, dependency: Dependency, *, over_at: datetime | None) -> bool:
    """End the pause of every account, if there is one; where a time is given, only one held that is over by then."""
    statement = delete(pauses).where(pauses.c.dependency == dependency)
    if over_at is not None:
        statement = statement.where(pauses.c.held, not_(pauses.c.lasting), pauses.c.next_probe <= over_at)
    return db.execute(statement).rowcount > 0


def all_pauses(db: Connection) -> tuple[Pause, ...]:
    """Every open pause."""
    return tuple(_pause(row) for row in db.execute(select(pauses).order_by(pauses.c.dependency, pauses.c.account)))


def _pause(row: AnyRow) -> Pause:
    return Pause(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


def upload_opened(db: Connection, owner: str, key: str, upload_id: str, *, now: datetime) -> None:
    """Write an upload down; once more is no fault."""
    row = {"key": key, "upload_id": upload_id, "owner": owner, "opened_at": now}
    db.execute(insert(db, uploads).values(**row).on_conflict_do_nothing())


def upload_closed(db: Connection, key: str, upload_id: str) -> None:
    """Strike an upload out."""
    db.execute(delete(uploads).where(uploads.c.key == key, uploads.c.upload_id == upload_id))


def all_uploads(db: Connection) -> Sequence[tuple[str, str, str]]:
    """(owner, key, upload id) of every upload, the oldest first."""
    query = select(uploads.c.owner, uploads.c.key, uploads.c.upload_id).order_by(uploads.c.opened_at)
    return [(row.owner, row.key, row.upload_id) for row in db.execute(query)]
