"""Quarantine: how many processes died uncleanly while at a task."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody counted so far; the index of waiting tasks tells who is quarantined, and another finds those."""
    check = "CONSTRAINT deaths_count CHECK (deaths >= 0)"
    op.execute(f"ALTER TABLE tasks ADD COLUMN deaths INTEGER DEFAULT 0 NOT NULL {check}")
    is_open, waiting = sa.text("ended_at IS NULL"), ["stage", "urgency", "task_id", "not_before", "leased_until"]
    op.drop_index("tasks_waiting", "tasks")
    op.create_index(
        "tasks_waiting",
        "tasks",
        [*waiting, "awaited", "deadline", "account", "deaths"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    quarantined = sa.text("ended_at IS NULL AND deaths > 1")
    op.create_index(
        "tasks_quarantined",
        "tasks",
        ["deaths", "urgency", "task_id"],
        sqlite_where=quarantined,
        postgresql_where=quarantined,
    )
