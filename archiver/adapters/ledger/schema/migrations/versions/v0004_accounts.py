"""Several accounts at the provider: whose key a task is asked about with, whose pause a pause is, and their paces."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_WORDS = ("provider", "origin", "store")
_KEPT = "dependency, since, reason, hint, lasting, probes, next_probe, held"


def upgrade() -> None:
    """All that stands is the default account's, which for a task is what NULL means."""
    op.add_column("tasks", sa.Column("account", sa.String(32)))
    _index_accounts()
    _name_accounts_of_pauses()
    op.create_table(
        "paces",
        sa.Column("account", sa.String(32), primary_key=True),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("cool_until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "pace_slots",
        sa.Column("account", sa.String(32), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("free_at", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.String(32)),
    )


def _index_accounts() -> None:
    """Let the index answer whether a waiting task is of an account that is paused."""
    is_open = sa.text("ended_at IS NULL")
    op.drop_index("tasks_waiting", "tasks")
    op.create_index(
        "tasks_waiting",
        "tasks",
        ["stage", "urgency", "task_id", "not_before", "leased_until", "awaited", "deadline", "account"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )


def _name_accounts_of_pauses() -> None:
    op.rename_table("pauses", "pauses_before")
    op.create_table(
        "pauses",
        sa.Column(
            "dependency",
            sa.Enum(*_WORDS, native_enum=False, create_constraint=True, length=16, name="dependency_word"),
            primary_key=True,
        ),
        sa.Column("account", sa.String(32), primary_key=True),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("lasting", sa.Boolean, nullable=False),
        sa.Column("probes", sa.Integer, nullable=False),
        sa.Column("next_probe", sa.BigInteger, nullable=False),
        sa.Column("held", sa.Boolean, nullable=False),
    )
    op.execute(f"INSERT INTO pauses ({_KEPT}, account) SELECT {_KEPT}, 'default' FROM pauses_before")  # noqa: S608 - our own words
    op.drop_table("pauses_before")
