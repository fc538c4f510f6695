"""Pauses that the operator holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEPT = "dependency, since, reason, hint, lasting, probes, next_probe"
_WORDS = ("provider", "origin", "store")


def upgrade() -> None:
    """Write the few rows over into a table that says `held`: none was so far."""
    op.rename_table("pauses", "pauses_before")
    op.create_table(
        "pauses",
        sa.Column(
            "dependency",
            sa.Enum(*_WORDS, native_enum=False, create_constraint=True, length=16, name="dependency_word"),
            primary_key=True,
        ),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("lasting", sa.Boolean, nullable=False),
        sa.Column("probes", sa.Integer, nullable=False),
        sa.Column("next_probe", sa.BigInteger, nullable=False),
        sa.Column("held", sa.Boolean, nullable=False),
    )
    op.execute(f"INSERT INTO pauses ({_KEPT}, held) SELECT {_KEPT}, false FROM pauses_before")  # noqa: S608 - our own words
    op.drop_table("pauses_before")
