"""Tasks by the state and in any order: running counts, an index for each order, and the words of titles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from archiver.adapters.ledger.schema.titles import make_word_index

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_STATES = ("queued", "listed", "archived", "lost", "failed", "missing")


def upgrade() -> None:
    """Count what is there once. An order ends with the id: of many that ended at one moment a page is a page."""
    state = sa.Enum(*_STATES, native_enum=False, length=16, create_constraint=True, name="taskstate_word")
    counts = op.create_table(
        "task_counts",
        sa.Column("state", state, primary_key=True),
        sa.Column("tasks", sa.BigInteger, nullable=False),
        sa.CheckConstraint("tasks >= 0", name="counters_count"),
    )
    rows = op.get_bind().execute(sa.text("SELECT state, count(*) FROM tasks GROUP BY state"))
    found = {state: count for state, count in rows}  # noqa: C416 - dict(rows) does not type-check
    op.bulk_insert(counts, [{"state": each, "tasks": found.get(each, 0)} for each in _STATES])
    _indexes()
    make_word_index(op.get_bind())


def _indexes() -> None:
    others, untrimmed = sa.text("state != 'archived'"), sa.text("state = 'archived' AND folder_digest IS NULL")
    of_account = sa.text("account IS NOT NULL")
    for name, columns, where in (
        ("tasks_by_state", ["state", "ended_at", "task_id"], others),
        ("tasks_untrimmed", ["state", "ended_at", "task_id", "folder_digest"], untrimmed),
        ("tasks_by_account", ["account", "accepted_at", "task_id"], of_account),
    ):
        if name != "tasks_by_account":
            op.drop_index(name, "tasks")
        op.create_index(name, "tasks", columns, sqlite_where=where, postgresql_where=where)
