"""The schema of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _words(name: str, *words: str) -> sa.Enum:
    return sa.Enum(*words, native_enum=False, create_constraint=True, length=16, name=f"{name}_word")


def upgrade() -> None:
    """Create every table, and the totals at nought."""
    _create_tasks()
    _create_stems()
    _create_history()
    _create_intake()
    _create_outside()


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("task_id", sa.String(128), primary_key=True),
        sa.Column(
            "state",
            _words("taskstate", "queued", "listed", "archived", "lost", "failed", "missing"),
            nullable=False,
        ),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("accepted_at", sa.BigInteger, nullable=False),
        sa.Column("first_asked_at", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger),
        sa.Column("completed_at", sa.BigInteger),
        sa.Column("deadline", sa.BigInteger),
        sa.Column("urgency", sa.BigInteger, nullable=False),
        sa.Column("stage", _words("stage", "list", "store"), nullable=False),
        sa.Column("not_before", sa.BigInteger),
        sa.Column("awaited", sa.Boolean, nullable=False),
        sa.Column("asks", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("settled", sa.Boolean, nullable=False),
        sa.Column("flag", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("token", sa.String(64)),
        sa.Column("owner", sa.Text),
        sa.Column("leased_until", sa.BigInteger),
        sa.CheckConstraint("(state IN ('queued', 'listed')) = (ended_at IS NULL)", name="ended_states_say_when"),
        sa.CheckConstraint("state <> 'listed' OR deadline IS NOT NULL", name="listed_has_deadline"),
        sa.CheckConstraint("state <> 'queued' OR not_before IS NOT NULL", name="queued_is_taken_up_again"),
        sa.CheckConstraint("ended_at IS NULL OR (not_before IS NULL AND token IS NULL)", name="ended_is_left_alone"),
        sa.CheckConstraint(
            "(token IS NULL) = (owner IS NULL) AND (token IS NULL) = (leased_until IS NULL)", name="lease_is_whole"
        ),
        sa.CheckConstraint("asks >= 0 AND attempts >= 0", name="counters_count"),
    )
    is_open, leased = sa.text("ended_at IS NULL"), sa.text("owner IS NOT NULL")
    op.create_index(
        "tasks_waiting",
        "tasks",
        ["stage", "urgency", "task_id", "not_before", "leased_until", "awaited", "deadline"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_index(
        "tasks_deadline",
        "tasks",
        ["deadline", "task_id", "state", "not_before", "leased_until"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_index("tasks_leased", "tasks", ["owner"], sqlite_where=leased, postgresql_where=leased)
    op.create_index("tasks_by_state", "tasks", ["state", "ended_at"])


def _create_stems() -> None:
    states = ("wanted", "stored", "refused", "lost")
    op.create_table(
        "stems",
        sa.Column("task_id", sa.String(128), sa.ForeignKey("tasks.task_id"), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("state", _words("stemstate", *states), nullable=False),
        sa.Column("shown_url", sa.Text, nullable=False),
        sa.Column("url_cut", sa.Boolean, nullable=False),
        sa.Column("field", sa.Text, nullable=False),
        sa.Column("duration", sa.Float),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("gone", sa.Integer, nullable=False),
        sa.Column("not_before", sa.BigInteger),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("size", sa.BigInteger),
        sa.Column("sha256", sa.String(64)),
        sa.Column("etag", sa.Text),
        sa.Column("content_type", sa.Text),
        sa.Column("stored_at", sa.BigInteger),
        sa.Column("alias_of", sa.Text),
        sa.CheckConstraint(
            "state <> 'stored' OR (key IS NOT NULL AND size IS NOT NULL AND sha256 IS NOT NULL AND etag IS NOT NULL"
            " AND content_type IS NOT NULL AND stored_at IS NOT NULL)",
            name="stored_has_receipt",
        ),
        sa.CheckConstraint("state = 'stored' OR (key IS NULL AND sha256 IS NULL)", name="only_stored_has_receipt"),
        sa.CheckConstraint("size > 0 AND length(sha256) = 64", name="receipt_is_plausible"),
        sa.CheckConstraint("shown_url NOT LIKE '%?%'", name="url_without_query"),
        sa.CheckConstraint("attempts >= 0 AND gone >= 0", name="counters_count"),
    )
    tallies = op.create_table(
        "tallies",
        sa.Column("state", _words("stemstate", *states), primary_key=True),
        sa.Column("stems", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.CheckConstraint("stems >= 0 AND bytes >= 0", name="counters_count"),
    )
    op.bulk_insert(tallies, [{"state": state, "stems": 0, "bytes": 0} for state in states])


def _create_history() -> None:
    op.create_table(
        "history",
        sa.Column("id", _SERIAL, primary_key=True),
        sa.Column("task_id", sa.String(128), sa.ForeignKey("tasks.task_id"), nullable=False),
        sa.Column("stem", sa.Text),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("before", sa.String(16), nullable=False),
        sa.Column("after", sa.String(16), nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
    )
    op.create_index("history_of_task", "history", ["task_id", "id"])


def _create_intake() -> None:
    op.create_table(
        "cursors",
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("device", sa.String, nullable=False),
        sa.Column("inode", sa.String, nullable=False),
        sa.Column("head", sa.Text, nullable=False),
        sa.Column("head_size", sa.BigInteger, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "rejects",
        sa.Column("id", _SERIAL, primary_key=True),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("excerpt", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("path", "offset", "excerpt", name="one_row_a_line"),
    )
    op.create_table(
        "enlisted",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("task_id", sa.String(128), primary_key=True),
    )


def _create_outside() -> None:
    op.create_table(
        "uploads",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("upload_id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "pauses",
        sa.Column("dependency", _words("dependency", "provider", "origin", "store"), primary_key=True),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("lasting", sa.Boolean, nullable=False),
        sa.Column("probes", sa.Integer, nullable=False),
        sa.Column("next_probe", sa.BigInteger, nullable=False),
    )
