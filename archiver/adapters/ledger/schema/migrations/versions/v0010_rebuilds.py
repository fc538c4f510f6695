"""How far the rebuild of this ledger came, while it is not finished."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """No ledger is being rebuilt so far."""
    op.create_table(
        "rebuilds",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("begun_at", sa.BigInteger, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("found", sa.Text, nullable=False),
        sa.CheckConstraint("number = 1", name="only_one"),
    )
