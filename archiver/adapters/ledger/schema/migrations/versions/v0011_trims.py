"""Remains of archived tasks whose stems were trimmed; and no index counts those any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# SQLite reads the whole table for each column that comes with a CHECK: so one holds the rules of all.
_RULES = (
    "CONSTRAINT archived_is_trimmed CHECK ((folder_digest IS NULL) = (trimmed_stems IS NULL)"
    " AND (folder_digest IS NULL) = (trimmed_bytes IS NULL) AND (folder_digest IS NULL OR state = 'archived'))"
)
_TASKS = ("trimmed_stems INTEGER", "trimmed_bytes BIGINT", f"folder_digest VARCHAR(43) {_RULES}")


def upgrade() -> None:
    """No task is trimmed so far. What is archived leaves the index by state for one of its own."""
    for column in _TASKS:
        op.execute(f"ALTER TABLE tasks ADD COLUMN {column}")
    op.create_table(
        "trims",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("tasks", sa.BigInteger, nullable=False),
        sa.Column("objects", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.CheckConstraint("number = 1", name="only_one"),
        sa.CheckConstraint("tasks >= 0 AND objects >= 0 AND bytes >= 0", name="counters_count"),
    )
    op.drop_index("tasks_by_state", "tasks")
    others, untrimmed = sa.text("state != 'archived'"), sa.text("state = 'archived' AND folder_digest IS NULL")
    op.create_index("tasks_by_state", "tasks", ["state", "ended_at"], sqlite_where=others, postgresql_where=others)
    op.create_index("tasks_untrimmed", "tasks", ["ended_at"], sqlite_where=untrimmed, postgresql_where=untrimmed)
