"""The tables of what was verified when, as they are now; like those in `tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, String, Table, Text

from archiver.adapters.ledger.schema.tables import metadata, words
from archiver.adapters.ledger.schema.types import UtcTime
from archiver.core.levels import Level
from archiver.core.slices import Course

# The newest round of each course.
rounds = Table(
    "rounds",
    metadata,
    Column("course", words(Course), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("begun_at", UtcTime, nullable=False),
    # NULL while it is not finished.
    Column("ended_at", UtcTime),
    # Since when, without a break, every object is to be read within a span; NULL while none is asked for.
    Column("kept_since", UtcTime),
    CheckConstraint("number >= 0", name="counters_count"),
)

# Each slice of a course: how far the walk through it is, or how the last one ended.
slices = Table(
    "slices",
    metadata,
    Column("course", words(Course, checked=False), primary_key=True),
    # As tasks.slice has it; -1 is the walk through the listing.
    Column("number", Integer, primary_key=True, autoincrement=False),
    # The round in which it was begun last.
    Column("round", Integer, nullable=False),
    # NULL unless it is under way.
    Column("begun_at", UtcTime),
    # The end of the last whole walk through it.
    Column("ended_at", UtcTime),
    # What was judged last: its task, and its key; empty before the first.
    Column("after_task", Text, nullable=False),
    Column("after_key", Text, nullable=False),
    # Of the walk that is under way, else of the last one.
    Column("objects", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    # How many came to each verdict, as JSON.
    Column("verdicts", Text, nullable=False),
    Column("owner", Text),
    Column("token", String(32)),
    Column("leased_until", UtcTime),
    CheckConstraint("number BETWEEN -1 AND 4095", name="is_a_slice"),
    CheckConstraint(
        "(token IS NULL) = (owner IS NULL) AND (token IS NULL) = (leased_until IS NULL)", name="lease_is_whole"
    ),
    CheckConstraint("begun_at IS NOT NULL OR token IS NULL", name="only_begun_is_leased"),
    CheckConstraint("objects >= 0 AND bytes >= 0", name="counters_count"),
)

# Checks by hand that are under way, or broke off.
walks = Table(
    "walks",
    metadata,
    Column("level", words(Level), primary_key=True),
    # A mark of the bucket, and of the ids if it is not the whole archive.
    Column("selection", String(64), primary_key=True),
    Column("token", String(32), nullable=False),
    Column("begun_at", UtcTime, nullable=False),
    Column("noted_at", UtcTime, nullable=False),
    # The folder, or the number of the id, that comes next; empty at the start.
    Column("place", Text, nullable=False),
    # What was judged before that place, as JSON.
    Column("sums", Text, nullable=False),
    # The part of it that a check in the ledger holds already.
    Column("reported", Text, nullable=False),
)
