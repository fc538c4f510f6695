"""Open tasks by all that an overview counts: none is looked at for it."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_BEGUN = "(CASE WHEN (created_at < accepted_at) THEN created_at ELSE accepted_at END)"
_WHY = sa.text(
    "(CASE WHEN (substr(reason, 1, 38) = 'the provider does not know this id yet') THEN 'unknown'"
    " WHEN awaited THEN 'not_ready' ELSE 'failing' END)"
)
_SINCE = sa.text("coalesce(first_asked_at, accepted_at)")
_UNARCHIVED = "ended_at IS NOT NULL AND state != 'archived' AND acknowledged_at IS NULL"
_PUT_OFF = (
    "ended_at IS NULL AND deaths < 2 AND reason != ''"
    " AND (waits_for IS NULL OR waits_for IS NOT NULL AND substr(waits_for, 1, 7) = 'failed@')"
)


def upgrade() -> None:
    """Part tasks without a deadline from the others; let the new indexes have all that is counted by them."""
    counted = ["acknowledged_at", "deaths"]
    by_deadline = ["deadline", "task_id", "state", "not_before", "leased_until", *counted]
    waiting = ["stage", "urgency", "task_id", "not_before", "leased_until", "awaited", "deadline", "account", "deaths"]
    _index("tasks_waiting", [*waiting, "accepted_at"], "ended_at IS NULL", is_new=False)
    _index("tasks_deadline", by_deadline, "ended_at IS NULL AND deadline IS NOT NULL", is_new=False)
    its = ["state", "ended_at", "task_id", "acknowledged_at"]
    _index("tasks_unarchived", its, _UNARCHIVED, is_new=False)
    minute = sa.text(f"({_BEGUN} / 60000000)")
    unlisted: list[str | sa.TextClause] = [minute, sa.text(_BEGUN), "task_id", *counted]
    _index("tasks_unlisted", unlisted, "ended_at IS NULL AND deadline IS NULL")
    _index("tasks_by_why", (_WHY, _SINCE, "task_id"), _PUT_OFF)
    _index("stems_unstored", ["task_id", "state"], "state != 'stored'")


def _index(name: str, columns: Sequence[str | sa.TextClause], rows: str, *, is_new: bool = True) -> None:
    table, where = name.split("_", maxsplit=1)[0], sa.text(rows)
    if not is_new:
        op.drop_index(name, table)
    op.create_index(name, table, list(columns), sqlite_where=where, postgresql_where=where)
