"""Rounds of verification: of which slice each task is, and how far the rounds came."""

from __future__ import annotations

from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_AT_ONCE = 5000
_COURSE = "course_word"
_COURSES = ("list", "head", "read", "daily")


def upgrade() -> None:
    """Put every task in its slice, some thousand at a time; nothing was verified so far."""
    op.execute("ALTER TABLE tasks ADD COLUMN slice INTEGER DEFAULT 0 NOT NULL")
    _fill()
    op.create_index("tasks_by_slice", "tasks", ["slice"])
    course = sa.Enum(*_COURSES, native_enum=False, length=16, create_constraint=True, name=_COURSE)
    op.create_table(
        "rounds",
        sa.Column("course", course, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("begun_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("kept_since", sa.BigInteger),
        sa.CheckConstraint("number >= 0", name="counters_count"),
    )
    op.create_table(
        "slices",
        sa.Column("course", sa.String(16), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("begun_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("after_task", sa.Text, nullable=False),
        sa.Column("after_key", sa.Text, nullable=False),
        sa.Column("objects", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("verdicts", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("token", sa.String(32)),
        sa.Column("leased_until", sa.BigInteger),
        sa.CheckConstraint("number BETWEEN -1 AND 4095", name="is_a_slice"),
        sa.CheckConstraint(
            "(token IS NULL) = (owner IS NULL) AND (token IS NULL) = (leased_until IS NULL)", name="lease_is_whole"
        ),
        sa.CheckConstraint("begun_at IS NOT NULL OR token IS NULL", name="only_begun_is_leased"),
        sa.CheckConstraint("objects >= 0 AND bytes >= 0", name="counters_count"),
    )


def _fill() -> None:
    db, after = op.get_bind(), ""
    page = sa.text("SELECT task_id FROM tasks WHERE task_id > :after ORDER BY task_id LIMIT :most")
    into = sa.text("UPDATE tasks SET slice = :slice WHERE task_id = :task")
    while ids := db.execute(page, {"after": after, "most": _AT_ONCE}).scalars().all():
        db.execute(into, [{"task": task, "slice": _slice_of(task)} for task in ids])
        after = ids[-1]


def _slice_of(task: str) -> int:
    first = sha256(task.encode()).digest()
    return first[0] << 4 | first[1] >> 4
