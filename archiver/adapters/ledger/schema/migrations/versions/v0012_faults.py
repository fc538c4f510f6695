"""Faults of the archive, the checks that found them, and the reports of both."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Nothing was checked so far."""
    op.create_table(
        "faults",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("task_id", sa.String(128), nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.Column("expected", sa.Text, nullable=False),
        sa.Column("found", sa.Text, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("closed_at", sa.BigInteger),
        sa.CheckConstraint("state IN ('open', 'closed')", name="fault_state_word"),
        sa.CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name="closed_says_when"),
    )
    is_open = sa.text("state = 'open'")
    op.create_index("faults_open", "faults", ["seen", "key", "kind"], sqlite_where=is_open, postgresql_where=is_open)
    op.create_table(
        "fixity_checks",
        sa.Column("id", _SERIAL, primary_key=True),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("begun_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.Column("slices", sa.BigInteger, nullable=False),
        sa.Column("tasks", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("whole", sa.Boolean, nullable=False),
        sa.Column("verdicts", sa.JSON, nullable=False),
    )
    op.create_table(
        "fixity_reports",
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("seal", sa.String(80), nullable=False),
        sa.Column("written_at", sa.BigInteger, nullable=False),
    )
