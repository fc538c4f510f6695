"""The table of the running counts of tasks."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Table

from archiver.adapters.ledger.schema.tables import metadata, words
from archiver.core.states import TaskState

# Moved in the transaction that moves a task, as `tallies` is with its stems.
task_counts = Table(
    "task_counts",
    metadata,
    Column("state", words(TaskState), primary_key=True),
    Column("tasks", BigInteger, nullable=False),
    CheckConstraint("tasks >= 0", name="counters_count"),
)
