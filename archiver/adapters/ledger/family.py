"""Families: the tasks that one was made from, and those that were made from it."""

from __future__ import annotations

from sqlalchemy import Connection, or_, select

from archiver.adapters.ledger.rows import AnyRow
from archiver.adapters.ledger.schema.tables import tasks, tracks
from archiver.core.model import TaskId
from archiver.core.reports import Family

MOST = 100
"""Tasks that are named of each."""


def family_of(db: Connection, task: AnyRow) -> Family:
    """Return the family of a row of `tasks`: a record names a task or a track, and a track is known by its own task."""
    of_track = select(tracks.c.task_id).where(tracks.c.track == task.track, tracks.c.task_id != task.task_id)
    parents = [] if task.track is None else [TaskId(row.task_id) for row in db.execute(of_track.limit(MOST))]
    if task.parent is not None:
        parents = [task.parent, *(each for each in parents if each != task.parent)]
    its_tracks = select(tracks.c.track).where(tracks.c.task_id == task.task_id)
    made = or_(tasks.c.parent == task.task_id, tasks.c.track.in_(its_tracks))
    children = select(tasks.c.task_id).where(made, tasks.c.task_id != task.task_id)
    found = db.execute(children.order_by(tasks.c.accepted_at, tasks.c.task_id).limit(MOST))
    return Family(tuple(parents), tuple(TaskId(row.task_id) for row in found))
