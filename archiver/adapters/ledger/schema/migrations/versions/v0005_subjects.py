"""Pauses by subject: which host of the origin a pause is of, and which pause a task waits for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_WORDS = ("provider", "origin", "store")
_KEPT = "dependency, account, since, reason, hint, lasting, probes, next_probe, held"


def upgrade() -> None:
    """A pause of the whole origin that no operator holds ends: its host is not on record."""
    op.add_column("tasks", sa.Column("waits_for", sa.Text))
    waiting = sa.text("waits_for IS NOT NULL")
    op.create_index("tasks_put_off", "tasks", ["waits_for"], sqlite_where=waiting, postgresql_where=waiting)
    op.rename_table("pauses", "pauses_before")
    op.create_table(
        "pauses",
        sa.Column(
            "dependency",
            sa.Enum(*_WORDS, native_enum=False, create_constraint=True, length=16, name="dependency_word"),
            primary_key=True,
        ),
        sa.Column("account", sa.String(32), primary_key=True),
        sa.Column("host", sa.Text, primary_key=True),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("lasting", sa.Boolean, nullable=False),
        sa.Column("probes", sa.Integer, nullable=False),
        sa.Column("next_probe", sa.BigInteger, nullable=False),
        sa.Column("held", sa.Boolean, nullable=False),
        sa.CheckConstraint("host = '' OR (dependency = 'origin' AND NOT held)", name="host_is_of_the_origin"),
    )
    kept = f"INSERT INTO pauses ({_KEPT}, host) SELECT {_KEPT}, '' FROM pauses_before"  # noqa: S608 - our own words
    op.execute(f"{kept} WHERE dependency <> 'origin' OR held")
    op.drop_table("pauses_before")
