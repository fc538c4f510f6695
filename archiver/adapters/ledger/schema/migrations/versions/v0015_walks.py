"""Checks by hand: how far they came, and which faults an operator has acknowledged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """None is under way; no fault is acknowledged."""
    op.execute("ALTER TABLE faults ADD COLUMN acknowledged_at BIGINT")
    level = sa.Enum("list", "head", "read", native_enum=False, length=16, create_constraint=True, name="level_word")
    op.create_table(
        "walks",
        sa.Column("level", level, primary_key=True),
        sa.Column("selection", sa.String(64), primary_key=True),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("begun_at", sa.BigInteger, nullable=False),
        sa.Column("noted_at", sa.BigInteger, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("sums", sa.Text, nullable=False),
        sa.Column("reported", sa.Text, nullable=False),
    )
