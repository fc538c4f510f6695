"""The provider's other kinds of jobs: of which kind a task is, what it is called, and what class of file a stem is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# SQLite reads the whole table for each column that comes with a CHECK: so one holds the rules of all.
_RULES = (
    "CONSTRAINT said_is_short CHECK ((kind IS NULL OR length(kind) BETWEEN 1 AND 32)"
    " AND (hint IS NULL OR length(hint) BETWEEN 1 AND 32) AND (title IS NULL OR length(title) BETWEEN 1 AND 200)"
    " AND (parent IS NULL OR length(parent) BETWEEN 8 AND 128))"
)
_TASKS = (
    "kind VARCHAR(32)",
    "hint VARCHAR(32)",
    "title TEXT",
    "parent VARCHAR(128)",
    "track VARCHAR(128)",
    "saying VARCHAR(64)",
    f"said_since BIGINT {_RULES}",
)
_WORDS = "CONSTRAINT media_word CHECK (media IN ('audio', 'image', 'video', 'text'))"


def upgrade() -> None:
    """No task's kind is known so far, and every stem is audio; indexes find what was made from a task or track."""
    for column in _TASKS:
        op.execute(f"ALTER TABLE tasks ADD COLUMN {column}")
    op.execute(f"ALTER TABLE stems ADD COLUMN media VARCHAR(16) DEFAULT 'audio' NOT NULL {_WORDS}")
    op.create_table(
        "tracks",
        sa.Column("track", sa.String(128), primary_key=True),
        sa.Column("task_id", sa.String(128), sa.ForeignKey("tasks.task_id"), primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Index("tracks_of_task", "task_id"),
    )
    for column in ("parent", "track"):
        named = sa.text(f"{column} IS NOT NULL")
        op.create_index(f"tasks_by_{column}", "tasks", [column], sqlite_where=named, postgresql_where=named)
