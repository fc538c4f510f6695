"""Tasks by the bytes that are stored of them, once they ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_AT_ONCE = 5000
_RULE = "bytes_stored IS NULL OR state IN ('archived', 'lost')"


def upgrade() -> None:
    """Add up what is stored of each task that ended with audio, some thousand at a time."""
    op.execute(f"ALTER TABLE tasks ADD COLUMN bytes_stored BIGINT CONSTRAINT sized CHECK ({_RULE})")
    _fill()
    sized = sa.text("bytes_stored IS NOT NULL")
    columns = ["state", "bytes_stored", "task_id"]
    op.create_index("tasks_by_size", "tasks", columns, sqlite_where=sized, postgresql_where=sized)


def _fill() -> None:
    db, after = op.get_bind(), ""
    last_of = sa.text(
        "SELECT max(task_id) FROM (SELECT task_id FROM tasks WHERE task_id > :after ORDER BY task_id LIMIT :most) part"
    )
    into = sa.text(
        "UPDATE tasks SET bytes_stored = coalesce(trimmed_bytes, (SELECT sum(size) FROM stems"
        " WHERE stems.task_id = tasks.task_id AND stems.state = 'stored' AND alias_of IS NULL), 0)"
        " WHERE task_id > :after AND task_id <= :last AND state IN ('archived', 'lost')"
    )
    while last := db.scalar(last_of, {"after": after, "most": _AT_ONCE}):
        db.execute(into, {"after": after, "last": last})
        after = last
