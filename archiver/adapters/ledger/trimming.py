"""Trimming: the rows of archived tasks go, page by page along their end; what is kept of them goes into their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, func, select, tuple_, update

from archiver.adapters.ledger.database.base import insert
from archiver.adapters.ledger.database.transactions import LedgerPart, outage_retry
from archiver.adapters.ledger.rebuilds import whole_tasks
from archiver.adapters.ledger.schema.tables import UNTRIMMED, history, stems, tasks, trims
from archiver.core.model import TaskId
from archiver.core.states import TaskState
from archiver.core.trimming import Trimmed
from archiver.core.whole_task import WholeTask
from archiver.ports.trimming import Place, Removed

_KEEP = (
    update(tasks)
    .where(tasks.c.task_id == bindparam("its_task"))
    .values(
        trimmed_stems=bindparam("its_stems"),
        trimmed_bytes=bindparam("its_bytes"),
        folder_digest=bindparam("digest"),
        # They tell how to ask next, which nobody will.
        saying=None,
        said_since=None,
    )
)


class SqlTrimming(LedgerPart):
    """The Trimming of `ports.trimming` in a SQL database."""

    @outage_retry
    def due(self, before: datetime, after: Place | None, size: int) -> Sequence[WholeTask]:
        """See Trimming."""
        order = (tasks.c.ended_at, tasks.c.task_id)
        wanted = select(tasks.c.task_id).where(UNTRIMMED, tasks.c.ended_at < before).order_by(*order).limit(size)
        if after is not None:
            # The first condition is what the index goes by.
            behind = tuple_(*order) > tuple_(*after, types=[column.type for column in order])
            wanted = wanted.where(tasks.c.ended_at >= after[0], behind)
        with self._db.read() as db:
            ids = db.execute(wanted).scalars().all()
            found = {whole.task_id: whole for whole in whole_tasks(db, select(tasks).where(tasks.c.task_id.in_(ids)))}
        return [found[each] for each in ids]

    @outage_retry
    def remove(self, proven: Mapping[TaskId, tuple[WholeTask, Trimmed]]) -> Removed:
        """See Trimming."""
        with self._db.write() as db:
            wanted = select(tasks).where(tasks.c.task_id.in_(list(proven))).with_for_update()
            gone = [each for each in whole_tasks(db, wanted) if each == proven[each.task_id][0]]
            if not gone:
                return Removed()
            free = _free_bytes(db)
            rows = _take_out(db, gone)
            kept = {each.task_id: proven[each.task_id][1] for each in gone}
            db.execute(_KEEP, [_values(task, trimmed) for task, trimmed in kept.items()])
            _count(db, gone, kept)
            freed = _free_bytes(db)
            self._db.checkpoint("trim.removing")
        self._db.checkpoint("trim.removed")
        return Removed(len(gone), rows, None if free is None or freed is None else max(freed - free, 0))

    @outage_retry
    def reusable(self) -> int | None:
        """See Trimming."""
        with self._db.read() as db:
            return _free_bytes(db)

    @outage_retry
    def accepted_since(self, since: datetime) -> int:
        """See Trimming."""
        # Along the index by state and time: a state after the other.
        new = select(func.count()).where(tasks.c.state.in_(list(TaskState)), tasks.c.accepted_at >= since)
        with self._db.read() as db:
            return db.scalar(new) or 0


def _take_out(db: Connection, gone: Sequence[WholeTask]) -> int:
    ids = [each.task_id for each in gone]
    return sum(db.execute(delete(table).where(table.c.task_id.in_(ids))).rowcount for table in (history, stems))


def _values(task: TaskId, trimmed: Trimmed) -> dict[str, object]:
    return {
        "its_task": task,
        "its_stems": trimmed.stems,
        "its_bytes": trimmed.bytes,
        "digest": trimmed.digest,
    }


def _count(db: Connection, gone: Sequence[WholeTask], kept: Mapping[TaskId, Trimmed]) -> None:
    """Move the sum of all that were trimmed."""
    receipts = [row.receipt for each in gone for row in each.stems if row.receipt is not None]
    added = {
        "tasks": len(gone),
        "objects": sum(each.alias_of is None for each in receipts),
        "bytes": sum(each.bytes for each in kept.values()),
    }
    ended_at = max(each.ended_at for each in gone if each.ended_at is not None)
    row = insert(db, trims).values(number=1, **added, ended_at=ended_at)
    latest = func.greatest if db.dialect.name == "postgresql" else func.max
    sums = {name: trims.c[name] + row.excluded[name] for name in added}
    sums["ended_at"] = latest(trims.c.ended_at, row.excluded.ended_at)
    db.execute(row.on_conflict_do_update(index_elements=[trims.c.number], set_=sums))


def _free_bytes(db: Connection) -> int | None:
    """Return the bytes within the file that nothing stands in; None on a server, which does not say."""
    if db.dialect.name != "sqlite":
        return None
    pages, size = (db.exec_driver_sql(f"PRAGMA {name}").scalar() or 0 for name in ("freelist_count", "page_size"))
    return int(pages * size)
