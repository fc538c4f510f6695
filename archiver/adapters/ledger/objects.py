"""Known objects: what should stand in the bucket, a page of tasks at a time along their key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, String, and_, bindparam, collate, func, select, type_coerce, update

from archiver.adapters.ledger.database.transactions import LedgerPart, outage_retry
from archiver.adapters.ledger.rows import CHUNK, AnyRow, chunks, count_tasks, trimmed_in
from archiver.adapters.ledger.schema.tables import stems, tallies, tasks, trims
from archiver.core.fixity import KnownStem, KnownTask
from archiver.core.fixity_cost import Holdings
from archiver.core.model import TaskId
from archiver.core.states import StemState, TaskState

_STEMS = select(
    stems.c.task_id,
    stems.c.name,
    type_coerce(stems.c.state, String),
    func.coalesce(stems.c.key, ""),
    func.coalesce(stems.c.size, 0),
    func.coalesce(stems.c.sha256, ""),
    func.coalesce(stems.c.etag, ""),
).where(stems.c.task_id.in_(bindparam("ids", expanding=True)))
"""A KnownStem each, behind its task's id."""
_TASKS = select(tasks.c.task_id, tasks.c.state, tasks.c.trimmed_stems, tasks.c.trimmed_bytes, tasks.c.folder_digest)
_STORED = and_(stems.c.state == StemState.STORED, stems.c.alias_of.is_(None))
_WHOLE = (TaskState.ARCHIVED, TaskState.LOST)


class SqlObjects(LedgerPart):
    """The KnownObjects of `ports.fixity` in a SQL database."""

    @outage_retry
    def holdings(self, ids: Sequence[TaskId] | None = None) -> Holdings:
        """See KnownObjects."""
        with self._db.read() as db:
            if ids is None:
                return _holdings(db)
            parts = [_holdings(db, chunk) for chunk in chunks(ids)]
        return Holdings(
            *(sum(counts) for counts in zip(*((p.tasks, p.whole, p.objects, p.bytes) for p in parts), strict=True))
        )

    @outage_retry
    def stored_bytes(self) -> int:
        """Return the bytes of all stored stems, by the running totals."""
        with self._db.read() as db:
            return int(db.scalar(select(tallies.c.bytes).where(tallies.c.state == StemState.STORED)) or 0)

    @outage_retry
    def known(self, task_id: TaskId) -> KnownTask | None:
        """See KnownObjects."""
        with self._db.read() as db:
            found = db.execute(_TASKS.where(tasks.c.task_id == task_id)).all()
            return next(iter(_with_stems(db, found)), None)

    def all_known(self, *, after: str = "") -> Iterator[KnownTask]:
        """See KnownObjects."""
        while page := self._page(after):
            yield from page
            after = page[-1].task_id

    @outage_retry
    def _page(self, after: str) -> Sequence[KnownTask]:
        with self._db.read() as db:
            key = _bytewise(db)
            wanted = _TASKS.where(key > after).order_by(key).limit(CHUNK)
            return _with_stems(db, db.execute(wanted).all())

    def known_of_slice(self, number: int, *, begin: str = "") -> Iterator[KnownTask]:
        """See KnownObjects."""
        for chunk in chunks(self._ids_of_slice(number, begin)):
            yield from self._these(chunk)

    @outage_retry
    def _ids_of_slice(self, number: int, begin: str) -> Sequence[TaskId]:
        with self._db.read() as db:
            found = db.execute(select(tasks.c.task_id).where(tasks.c.slice == number)).scalars()
            return sorted(TaskId(each) for each in found if each >= begin)

    @outage_retry
    def _these(self, ids: Sequence[TaskId]) -> Sequence[KnownTask]:
        with self._db.read() as db:
            key = _bytewise(db)
            wanted = _TASKS.where(tasks.c.task_id.in_(ids)).order_by(key)
            return _with_stems(db, db.execute(wanted).all())

    @outage_retry
    def note_etag(self, task_id: TaskId, key: str, *, before: str, now: str) -> bool:
        """See KnownObjects."""
        its = (stems.c.task_id == task_id, stems.c.key == key, stems.c.etag == before)
        # A power cut that undoes it costs one more read.
        with self._db.write(passing=True) as db:
            return db.execute(update(stems).where(*its).values(etag=now)).rowcount > 0


def _bytewise(db: Connection) -> ColumnElement[Any]:
    """Return the key as it is sorted by its bytes, which SQLite does by itself."""
    return collate(tasks.c.task_id, "C") if db.dialect.name == "postgresql" else tasks.c.task_id


def _holdings(db: Connection, ids: Sequence[TaskId] | None = None) -> Holdings:
    """Count them; an alias of a task that was trimmed counts as an object where that is asked about by its id."""
    of_stems = select(func.count(), func.coalesce(func.sum(stems.c.size), 0)).where(_STORED)
    if ids is None:
        states = count_tasks(db)
        counted, whole = sum(states.values()), sum(states.get(each, 0) for each in _WHOLE)
        of_trimmed = select(trims.c.objects, trims.c.bytes)
    else:
        of_stems, mine = of_stems.where(stems.c.task_id.in_(ids)), tasks.c.task_id.in_(ids)
        of_tasks = select(func.count(), func.count().filter(tasks.c.state.in_(_WHOLE))).where(mine)
        counted, whole = db.execute(of_tasks).one()
        of_trimmed = select(func.sum(tasks.c.trimmed_stems), func.sum(tasks.c.trimmed_bytes)).where(mine)
    trimmed = db.execute(of_trimmed).first() or (0, 0)
    objects, size = (int(mine) + int(its or 0) for mine, its in zip(db.execute(of_stems).one(), trimmed, strict=True))
    return Holdings(counted, whole, objects, size)


def _with_stems(db: Connection, found: Sequence[AnyRow]) -> Sequence[KnownTask]:
    its: dict[str, list[KnownStem]] = defaultdict(list)
    if found:
        for task_id, *columns in db.execute(_STEMS, {"ids": [each.task_id for each in found]}):
            its[task_id].append(KnownStem(*columns))
    return [KnownTask(TaskId(row.task_id), row.state, tuple(its[row.task_id]), trimmed_in(row)) for row in found]
