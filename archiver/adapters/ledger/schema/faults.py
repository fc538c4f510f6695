"""The tables of what checks found, as they are now; like those in `tables`."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, CheckConstraint, Column, Integer, String, Table, Text, literal_column

from archiver.adapters.ledger.schema.tables import metadata
from archiver.adapters.ledger.schema.types import UtcTime

# What was found wrong with objects of the archive when they were last looked at.
faults = Table(
    "faults",
    metadata,
    Column("key", Text, primary_key=True),
    # A Fixity that is a fault.
    Column("kind", String(16), nullable=False),
    # Empty for an object in no task's folder.
    Column("task_id", String(128), nullable=False),
    # When it was first found so.
    Column("seen", UtcTime, nullable=False),
    Column("expected", Text, nullable=False),
    Column("found", Text, nullable=False),
    Column("state", String(8), nullable=False),
    Column("closed_at", UtcTime),
    # When an operator acknowledged that it will not be mended; NULL again once it is found otherwise.
    Column("acknowledged_at", UtcTime),
    CheckConstraint("state IN ('open', 'closed')", name="fault_state_word"),
    CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name="closed_says_when"),
)

OPEN_FAULT = faults.c.state == literal_column("'open'")
"""Faults that no later check found mended. Worded as their partial index is."""

# Checks that are in no report yet.
checks = Table(
    "fixity_checks",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("level", String(8), nullable=False),
    Column("begun_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime, nullable=False),
    Column("slices", BigInteger, nullable=False),
    Column("tasks", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    # False where it was broken off.
    Column("whole", Boolean, nullable=False),
    # Objects by verdict.
    Column("verdicts", JSON, nullable=False),
)

# The reports of checks that were put into the bucket.
fixity_reports = Table(
    "fixity_reports",
    metadata,
    # As its key has it.
    Column("day", String(10), primary_key=True),
    Column("seal", String(80), nullable=False),
    Column("written_at", UtcTime, nullable=False),
)
