"""Facts for people: what is acknowledged, who works on the ledger, and when the queue file was read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing is acknowledged so far; indexes find what needs a person, and the newest tasks."""
    op.add_column("tasks", sa.Column("acknowledged_at", sa.BigInteger))
    op.add_column("cursors", sa.Column("moved_at", sa.BigInteger))
    op.add_column("rejects", sa.Column("line", sa.BigInteger))
    op.add_column("rejects", sa.Column("acknowledged_at", sa.BigInteger))
    op.create_table(
        "dropped_rejects",
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("lines", sa.BigInteger, nullable=False),
        sa.CheckConstraint("lines > 0", name="counters_count"),
    )
    op.create_table(
        "processes",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("looked_at", sa.BigInteger),
        sa.Column("doing", sa.Text, nullable=False),
        sa.Column("fault", sa.Text, nullable=False),
    )
    _index()


def _index() -> None:
    op.create_index("tasks_newest", "tasks", ["state", "accepted_at", "task_id"])
    op.create_index("rejects_by_file", "rejects", ["path", "acknowledged_at", "id"])
    unarchived = sa.text("ended_at IS NOT NULL AND state != 'archived' AND acknowledged_at IS NULL")
    op.create_index(
        "tasks_unarchived",
        "tasks",
        ["state", "ended_at", "task_id"],
        sqlite_where=unarchived,
        postgresql_where=unarchived,
    )
    refused = sa.text("state = 'refused'")
    op.create_index("stems_refused", "stems", ["task_id"], sqlite_where=refused, postgresql_where=refused)
