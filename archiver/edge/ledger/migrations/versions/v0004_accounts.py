"""Several accounts at the provider: whose key a task is asked about with, and whose pause a pause is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """All that stands is the default account's, which is what NULL means."""
    op.add_column("tasks", sa.Column("account", sa.String(32)))
