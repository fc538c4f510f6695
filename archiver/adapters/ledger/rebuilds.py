"""Rebuilds: a ledger filled from the bucket, and what it holds beside what the bucket says."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, exists, func, insert, select, text, update

from archiver.adapters.ledger.backups import fill_open
from archiver.adapters.ledger.database.transactions import LedgerPart, outage_retry
from archiver.adapters.ledger.every_row import write_plain
from archiver.adapters.ledger.moves import recount, tally
from archiver.adapters.ledger.rows import AnyRow, chunks, count_tasks, stems_of, trimmed_in
from archiver.adapters.ledger.schema.standing import task_counts
from archiver.adapters.ledger.schema.tables import history, rebuilds, stems, tallies, tasks, tracks
from archiver.core.backup import Head
from archiver.core.errors import LedgerFault
from archiver.core.model import DEFAULT_ACCOUNT, AccountName, StemRow, TaskId
from archiver.core.rebuilding import Found, LedgerFull, RebuildMark, Totals
from archiver.core.reports import Moved
from archiver.core.states import StemState, TaskState
from archiver.core.task_rows import HISTORY, STEM, TASK, TASK_AS_IT_IS, TRACK, TaskRows, rows_of, stem_row
from archiver.core.whole_task import WholeTask

_ITS_TABLES = (history, tracks, stems)
"""Those that refer to tasks."""


class SqlRebuilds(LedgerPart):
    """The Rebuilds of `ports.rebuilding` in a SQL database."""

    @outage_retry
    def unfinished(self) -> RebuildMark | None:
        """See Rebuilds."""
        with self._db.read() as db:
            return mark_of(db)

    @outage_retry
    def begin(self, *, now: datetime) -> RebuildMark:
        """See Rebuilds."""
        with self._db.write() as db:
            if db.dialect.name == "postgresql":
                db.execute(text("LOCK TABLE tasks IN EXCLUSIVE MODE"))
            if (mark := mark_of(db)) is not None:
                return mark
            if db.scalar(select(exists(select(tasks.c.task_id)))):
                raise LedgerFull(
                    f"the ledger {self._db.where} has tasks",
                    "rebuild into a new one: set ledger.url to it, or move this one away; it was left as it is",
                )
            mark = RebuildMark(now)
            db.execute(insert(rebuilds).values(number=1, begun_at=now, after="", found=mark.found.as_json()))
        self._db.checkpoint("rebuild.begun")
        return mark

    @outage_retry
    def take_backup(self, pieces: Callable[[], Iterable[bytes]], before: RebuildMark, after: RebuildMark) -> Head:
        """See Rebuilds."""
        with self._db.write() as db:
            _move(db, before, after)
            head = fill_open(db, pieces)
            _count_anew(db)
        self._db.checkpoint("rebuild.backup_taken")
        return head

    @outage_retry
    def take(self, tasks: Sequence[WholeTask] | TaskRows, before: RebuildMark, after: RebuildMark) -> None:
        """See Rebuilds."""
        rows = tasks if isinstance(tasks, TaskRows) else rows_of(tasks)
        with self._db.write() as db:
            _move(db, before, after)
            _remove(db, [TaskId(str(row[0])) for row in rows.tasks])
            _write(db, rows)
        self._db.checkpoint("rebuild.taken")

    @outage_retry
    def end(self, mark: RebuildMark) -> Totals:
        """See Rebuilds."""
        with self._db.write() as db:
            _move(db, mark, mark)
            db.execute(delete(rebuilds))
            found = _totals(db)
        self._db.checkpoint("rebuild.ended")
        return found

    @outage_retry
    def whole(self, ids: Collection[TaskId]) -> Sequence[WholeTask]:
        """See Rebuilds."""
        with self._db.read() as db:
            return [whole for chunk in chunks(ids) for whole in whole_tasks(db, select(tasks).where(_among(chunk)))]

    @outage_retry
    def page(self, after: str, size: int) -> Sequence[WholeTask]:
        """See Rebuilds."""
        with self._db.read() as db:
            return whole_tasks(db, select(tasks).where(tasks.c.task_id > after).limit(size))


def mark_of(db: Connection) -> RebuildMark | None:
    """Return the mark of a rebuild that is not finished."""
    row = db.execute(select(rebuilds)).first()
    return None if row is None else RebuildMark(row.begun_at, row.after, Found.of_json(row.found))


def refuse_while_rebuilt(db: Connection) -> None:
    """Raise LedgerFault where a rebuild is not finished."""
    if (mark := mark_of(db)) is not None:
        raise mark.fault()


def _move(db: Connection, before: RebuildMark, after: RebuildMark) -> None:
    its = update(rebuilds).where(rebuilds.c.after == before.after, rebuilds.c.found == before.found.as_json())
    if db.execute(its.values(after=after.after, found=after.found.as_json())).rowcount != 1:
        raise LedgerFault("another process rebuilds this ledger", "let it come to its end; look with `ps`")


def _among(ids: Sequence[TaskId]) -> ColumnElement[bool]:
    return tasks.c.task_id.in_(ids)


def _remove(db: Connection, ids: Sequence[TaskId]) -> None:
    """Remove tasks that a backup brought."""
    known = db.execute(select(tasks.c.task_id).where(_among(ids))).scalars().all()
    if not known:
        return
    its = select(stems.c.state, stems.c.size, stems.c.alias_of).where(stems.c.task_id.in_(known))
    _tally(db, [(row.state, row.alias_of, row.size) for row in db.execute(its)], by=-1)
    gone = Counter(db.execute(select(tasks.c.state).where(_among(known))).scalars())
    for table in (*_ITS_TABLES, tasks):
        db.execute(delete(table).where(table.c.task_id.in_(known)))
    recount(db, {state: -count for state, count in gone.items()})


def _write(db: Connection, rows: TaskRows) -> None:
    for table, columns, values in (
        (tasks, TASK, rows.tasks),
        (stems, STEM, rows.stems),
        (tracks, TRACK, rows.tracks),
        (history, HISTORY, rows.history),
    ):
        if values:
            write_plain(db, table, columns, values)
    if rows.kept:
        stored = StemState.STORED
        by_state = [(StemState(state), count) for state, count in rows.kept.items()]
        tally(db, *((state, count, rows.stored_bytes if state is stored else 0) for state, count in by_state))
    recount(db, {TaskState(state): count for state, count in rows.states.items()})


def tally_stems(db: Connection, rows: Iterable[StemRow]) -> None:
    """Add stems to the totals."""
    _tally(db, [(row.state, row.receipt and row.receipt.alias_of, _size(row)) for row in rows], by=1)


def _tally(db: Connection, rows: Iterable[tuple[StemState, object, int | None]], *, by: int) -> None:
    """Move the totals by stems of that state, alias and size; an alias has no bytes of its own."""
    count: Counter[StemState] = Counter()
    size: Counter[StemState] = Counter()
    for state, alias_of, bytes_ in rows:
        count[state] += by
        size[state] += by * (bytes_ or 0) if state is StemState.STORED and alias_of is None else 0
    if count:
        tally(db, *((state, count[state], size[state]) for state in count))


def _size(row: StemRow) -> int:
    return 0 if row.receipt is None else row.receipt.size


def stem_values(task: TaskId, row: StemRow) -> Mapping[str, object]:
    """Return the columns of a stem."""
    return dict(zip(STEM, stem_row(task, row), strict=True))


def track_values(whole: WholeTask, track: str, title: str) -> Mapping[str, object]:
    """Return the columns of a track."""
    return {"track": track, "task_id": whole.task_id, "title": title}


def _count_anew(db: Connection) -> None:
    db.execute(delete(tallies))
    db.execute(insert(tallies), [{"state": state, "stems": 0, "bytes": 0} for state in StemState])
    counted = select(stems.c.state, func.count(), func.sum(stems.c.size).filter(stems.c.alias_of.is_(None)))
    found = [(state, count, int(size or 0)) for state, count, size in db.execute(counted.group_by(stems.c.state))]
    if found:
        tally(db, *found)
    db.execute(delete(task_counts))
    db.execute(insert(task_counts), [{"state": state, "tasks": 0} for state in TaskState])
    by_state = db.execute(select(tasks.c.state, func.count()).group_by(tasks.c.state)).all()
    recount(db, {state: count for state, count in by_state})  # noqa: C416 - dict(rows) does not type-check


def _totals(db: Connection) -> Totals:
    of_stems = db.execute(select(tallies.c.state, tallies.c.stems, tallies.c.bytes)).all()
    return Totals(
        {state.value: count for state, count in count_tasks(db).items()},
        {row.state.value: row.stems for row in of_stems},
        sum(row.bytes for row in of_stems if row.state is StemState.STORED),
    )


def whole_tasks(db: Connection, wanted: Select[Any]) -> Sequence[WholeTask]:
    """Return tasks by id, with all that is theirs."""
    rows = db.execute(wanted.order_by(tasks.c.task_id)).all()
    ids = [TaskId(row.task_id) for row in rows]
    its_stems, lines = stems_of(db, ids), _lines(db, ids)
    titles: dict[TaskId, dict[str, str]] = defaultdict(dict)
    for chunk in chunks(ids):
        for row in db.execute(select(tracks).where(tracks.c.task_id.in_(chunk))):
            titles[row.task_id][row.track] = row.title
    return [_whole_task(row, its_stems[row.task_id], lines[row.task_id], titles.get(row.task_id)) for row in rows]


def _lines(db: Connection, ids: Sequence[TaskId]) -> Mapping[TaskId, list[Moved]]:
    found: dict[TaskId, list[Moved]] = defaultdict(list)
    for chunk in chunks(ids):
        for row in db.execute(select(history).where(history.c.task_id.in_(chunk)).order_by(history.c.id)):
            found[row.task_id].append(Moved(row.at, row.stem, row.event, row.before, row.after, row.detail))
    return found


def _whole_task(
    row: AnyRow, its_stems: tuple[StemRow, ...], lines: Sequence[Moved], titles: Mapping[str, str] | None
) -> WholeTask:
    return WholeTask(
        **{name: getattr(row, name) for name in TASK_AS_IT_IS},
        account=AccountName(row.account or DEFAULT_ACCOUNT),
        title=row.title or "",
        stems=tuple(sorted(its_stems, key=lambda each: each.name)),
        history=tuple(lines),
        tracks=titles,
        trimmed=trimmed_in(row),
    )
