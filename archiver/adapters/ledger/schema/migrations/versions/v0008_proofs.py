"""Proofs of what buckets do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing is proven so far."""
    op.create_table(
        "proofs",
        sa.Column("store", sa.Text, primary_key=True),
        sa.Column("probe", sa.Integer, nullable=False),
        sa.Column("found", sa.Text, nullable=False),
        sa.Column("proven_at", sa.BigInteger, nullable=False),
    )
