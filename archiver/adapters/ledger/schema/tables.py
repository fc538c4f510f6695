"""The tables as they are now; `migrations/` leads here. A test compares the two.

The CHECK constraints repeat the rules of `core.states`, so that not even a bug can write down a
stored stem without its receipt or a queued task that nobody will take up again.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Enum,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    literal_column,
    text,
)

from archiver.adapters.ledger.schema.types import Unsigned, UtcTime
from archiver.core.model import Dependency, Stage
from archiver.core.plan import DEATHS_TO_QUARANTINE
from archiver.core.records.kinds.names import Media
from archiver.core.states import StemState, TaskState


def words(kind: type[StrEnum], *, checked: bool = True) -> Enum:
    """Return a text column that takes the words of `kind` and nothing else; if not `checked`, its column checks it."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=checked,
        length=16,
        name=f"{kind.__name__.lower()}_word",
        values_callable=lambda words: [word.value for word in words],
    )


_SERIAL = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

tasks = Table(
    "tasks",
    metadata,
    Column("task_id", String(128), primary_key=True),
    Column("state", words(TaskState), nullable=False),
    Column("source", Text, nullable=False),
    Column("accepted_at", UtcTime, nullable=False),
    Column("first_asked_at", UtcTime),
    Column("created_at", UtcTime),
    Column("completed_at", UtcTime),
    Column("deadline", UtcTime),
    # plan.urgency() of the row, or plan.urgency_of_asked(): what claims are ordered by.
    Column("urgency", UtcTime, nullable=False),
    # Which half of the path an open task needs next.
    Column("stage", words(Stage), nullable=False),
    # When an open task is due; NULL means never by itself: it has ended, or waits for an operator.
    Column("not_before", UtcTime),
    # True while not_before was set because the provider is not finished, not because a try failed.
    Column("awaited", Boolean, nullable=False),
    Column("asks", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("settled", Boolean, nullable=False),
    Column("flag", Text, nullable=False),
    Column("reason", Text, nullable=False),
    # Emptied once ARCHIVED: record-info.json holds it then.
    Column("document", Text, nullable=False),
    Column("ended_at", UtcTime),
    Column("token", String(64)),
    Column("owner", Text),
    Column("leased_until", UtcTime),
    # NULL is DEFAULT_ACCOUNT.
    Column("account", String(32)),
    # The pause, as Subject.key has it, whose end makes the task due at once; it may be over by now. After a try that
    # failed, what failed it: see backed_off.
    Column("waits_for", Text),
    # Processes in a row that died uncleanly while at it; a clean end makes it 0.
    Column(
        "deaths", Integer, CheckConstraint("deaths >= 0", name="deaths_count"), server_default=text("0"), nullable=False
    ),
    # When an operator acknowledged that it needs a person; NULL again once anything new happens to it.
    Column("acknowledged_at", UtcTime),
    # The kind that it is asked about as, as a line named it or the first answer told; NULL while that is not known.
    # Kinds are no words of a CHECK: a new one is a row of a table in core.records.kinds, and no new schema.
    Column("kind", String(32)),
    # The kind that it is asked about as first, while `kind` is NULL: a callback looked like it.
    Column("hint", String(32)),
    Column("title", Text),
    # The task that it was made from; the ledger need not know it.
    Column("parent", String(128)),
    # The track that it was made from, as its record names it.
    Column("track", String(128)),
    # Its last record in short, and since when it has said just that.
    Column("saying", String(64)),
    Column(
        "said_since",
        UtcTime,
        CheckConstraint(
            "(kind IS NULL OR length(kind) BETWEEN 1 AND 32) AND (hint IS NULL OR length(hint) BETWEEN 1 AND 32)"
            " AND (title IS NULL OR length(title) BETWEEN 1 AND 200)"
            " AND (parent IS NULL OR length(parent) BETWEEN 8 AND 128)",
            name="said_is_short",
        ),
    ),
    # What is left of its stems once it was trimmed, see core.trimming; NULL before.
    Column("trimmed_stems", Integer),
    Column("trimmed_bytes", BigInteger),
    Column(
        "folder_digest",
        String(43),
        CheckConstraint(
            "(folder_digest IS NULL) = (trimmed_stems IS NULL) AND (folder_digest IS NULL) = (trimmed_bytes IS NULL)"
            " AND (folder_digest IS NULL OR state = 'archived')",
            name="archived_is_trimmed",
        ),
    ),
    # core.slices.slice_of the id; a row that an older version wrote is in the first, so that none is in no slice.
    Column("slice", Integer, server_default=text("0"), nullable=False),
    # What is stored of it, once it ended with audio; an alias has none of its own. NULL before, and else.
    Column(
        "bytes_stored",
        BigInteger,
        CheckConstraint("bytes_stored IS NULL OR state IN ('archived', 'lost')", name="sized"),
    ),
    CheckConstraint("(state IN ('queued', 'listed')) = (ended_at IS NULL)", name="ended_states_say_when"),
    CheckConstraint("state <> 'listed' OR deadline IS NOT NULL", name="listed_has_deadline"),
    CheckConstraint("state <> 'queued' OR not_before IS NOT NULL", name="queued_is_taken_up_again"),
    CheckConstraint("ended_at IS NULL OR (not_before IS NULL AND token IS NULL)", name="ended_is_left_alone"),
    CheckConstraint(
        "(token IS NULL) = (owner IS NULL) AND (token IS NULL) = (leased_until IS NULL)", name="lease_is_whole"
    ),
    CheckConstraint("asks >= 0 AND attempts >= 0", name="counters_count"),
)

QUARANTINED = and_(tasks.c.ended_at.is_(None), tasks.c.deaths > literal_column(str(DEATHS_TO_QUARANTINE - 1)))
"""Open tasks that are tried last and alone. Worded as their partial index is, so that it is used."""

UNARCHIVED = and_(
    tasks.c.ended_at.is_not(None),
    tasks.c.state != literal_column("'archived'"),
    tasks.c.acknowledged_at.is_(None),
)
"""Tasks that ended without their audio, and that nobody acknowledged. Worded as their partial index is."""

NOT_ARCHIVED = tasks.c.state != literal_column("'archived'")
UNTRIMMED = and_(tasks.c.state == literal_column("'archived'"), tasks.c.folder_digest.is_(None))
"""Archived tasks whose stems stand here. Both are worded as their partial indexes are."""

stems = Table(
    "stems",
    metadata,
    Column("task_id", String(128), ForeignKey("tasks.task_id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("state", words(StemState), nullable=False),
    Column("shown_url", Text, nullable=False),
    # True when shown_url is not all of it: the rest may be a secret and is never written down.
    Column("url_cut", Boolean, nullable=False),
    Column("field", Text, nullable=False),
    Column("duration", Float),
    Column("attempts", Integer, nullable=False),
    Column("gone", Integer, nullable=False),
    Column("not_before", UtcTime),
    Column("reason", Text, nullable=False),
    Column("key", Text),
    Column("size", BigInteger),
    Column("sha256", String(64)),
    Column("etag", Text),
    Column("content_type", Text),
    Column("stored_at", UtcTime),
    Column("alias_of", Text),
    Column(
        "media",
        words(Media, checked=False),
        CheckConstraint("media IN ('audio', 'image', 'video', 'text')", name="media_word"),
        server_default=text("'audio'"),
        nullable=False,
    ),
    CheckConstraint(
        "state <> 'stored' OR (key IS NOT NULL AND size IS NOT NULL AND sha256 IS NOT NULL AND etag IS NOT NULL"
        " AND content_type IS NOT NULL AND stored_at IS NOT NULL)",
        name="stored_has_receipt",
    ),
    CheckConstraint("state = 'stored' OR (key IS NULL AND sha256 IS NULL)", name="only_stored_has_receipt"),
    CheckConstraint("size > 0 AND length(sha256) = 64", name="receipt_is_plausible"),
    CheckConstraint("shown_url NOT LIKE '%?%'", name="url_without_query"),
    CheckConstraint("attempts >= 0 AND gone >= 0", name="counters_count"),
)

# The tracks of music tasks: what else was made from one names it, and not the task.
tracks = Table(
    "tracks",
    metadata,
    Column("track", String(128), primary_key=True),
    Column("task_id", String(128), ForeignKey("tasks.task_id"), primary_key=True),
    Column("title", Text, nullable=False),
    Index("tracks_of_task", "task_id"),
)

# Running totals, moved in the same transaction as the stems: counting millions of rows takes seconds.
tallies = Table(
    "tallies",
    metadata,
    Column("state", words(StemState), primary_key=True),
    Column("stems", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    CheckConstraint("stems >= 0 AND bytes >= 0", name="counters_count"),
)

history = Table(
    "history",
    metadata,
    Column("id", _SERIAL, primary_key=True),
    Column("task_id", String(128), ForeignKey("tasks.task_id"), nullable=False),
    Column("stem", Text),
    Column("at", UtcTime, nullable=False),
    Column("event", String(16), nullable=False),
    Column("before", String(16), nullable=False),
    Column("after", String(16), nullable=False),
    Column("detail", JSON, nullable=False),
    Index("history_of_task", "task_id", "id"),
)

# The sum of the tasks that were trimmed, moved with them: there may be millions, and nobody counts those.
trims = Table(
    "trims",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("tasks", BigInteger, nullable=False),
    # Those of their stems; an alias has none.
    Column("objects", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    # When the last of them ended.
    Column("ended_at", UtcTime, nullable=False),
    CheckConstraint("number = 1", name="only_one"),
    CheckConstraint("tasks >= 0 AND objects >= 0 AND bytes >= 0", name="counters_count"),
)

cursors = Table(
    "cursors",
    metadata,
    Column("path", Text, primary_key=True),
    Column("device", Unsigned, nullable=False),
    Column("inode", Unsigned, nullable=False),
    Column("head", Text, nullable=False),
    Column("head_size", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    # When it was moved last.
    Column("moved_at", UtcTime),
)

rejects = Table(
    "rejects",
    metadata,
    Column("id", _SERIAL, primary_key=True),
    Column("path", Text, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("excerpt", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    # The line's number; NULL where it was read by a version that told it only in the reason.
    Column("line", BigInteger),
    Column("acknowledged_at", UtcTime),
    UniqueConstraint("path", "offset", "excerpt", name="one_row_a_line"),
)

# Rejects beyond what is kept, by file: only counted, until they are acknowledged.
dropped = Table(
    "dropped_rejects",
    metadata,
    Column("path", Text, primary_key=True),
    Column("lines", BigInteger, nullable=False),
    CheckConstraint("lines > 0", name="counters_count"),
)

enlisted = Table(
    "enlisted",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("task_id", String(128), primary_key=True),
)

# Until when whoever works under that name is taken to live, where no lock on this machine can tell.
owners = Table(
    "owners",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("alive_until", UtcTime, nullable=False),
)

# Who works on this ledger, and who did lately: for people to look at.
processes = Table(
    "processes",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("role", String(16), nullable=False),
    Column("place", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    # NULL while it works, and for one that died.
    Column("ended_at", UtcTime),
    Column("looked_at", UtcTime),
    Column("doing", Text, nullable=False),
    # Why it could not read the queue file when it last looked; empty where it could.
    Column("fault", Text, nullable=False),
)

# What buckets were proven to do.
proofs = Table(
    "proofs",
    metadata,
    # Endpoint, bucket and the settings that the proof holds for.
    Column("store", Text, primary_key=True),
    # The version of the probe.
    Column("probe", Integer, nullable=False),
    Column("found", Text, nullable=False),
    Column("proven_at", UtcTime, nullable=False),
)

# How far the rebuild of this ledger came; no row unless one is not finished: nobody works on the ledger until then.
rebuilds = Table(
    "rebuilds",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("begun_at", UtcTime, nullable=False),
    # The last folder of the bucket that was taken; empty before the first.
    Column("after", Text, nullable=False),
    # What was found up to there, as JSON.
    Column("found", Text, nullable=False),
    CheckConstraint("number = 1", name="only_one"),
)

# The last transaction of each process on a server, written within it: where the answer to a commit is lost, this tells.
writers = Table(
    "writers",
    metadata,
    Column("writer", Text, primary_key=True),
    Column("serial", BigInteger, nullable=False),
    Column("at", UtcTime, nullable=False),
)

# The rate at which processes on several machines ask the provider; only those on a server use it.
rates = Table(
    "paces",
    metadata,
    Column("account", String(32), primary_key=True),
    Column("requests", Integer, nullable=False),
    Column("cool_until", UtcTime, nullable=False),
)

permits = Table(
    "pace_slots",
    metadata,
    Column("account", String(32), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("free_at", UtcTime, nullable=False),
    # NULL while it rests.
    Column("holder", String(32)),
)

uploads = Table(
    "uploads",
    metadata,
    Column("key", Text, primary_key=True),
    Column("upload_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("opened_at", UtcTime, nullable=False),
)

pauses = Table(
    "pauses",
    metadata,
    Column("dependency", words(Dependency), primary_key=True),
    # Of the provider, whose; always DEFAULT_ACCOUNT for the others, and for what the operator holds: that is all.
    Column("account", String(32), primary_key=True),
    # Of the origin, which; empty for the others, and for what the operator holds.
    Column("host", Text, primary_key=True),
    Column("since", UtcTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("lasting", Boolean, nullable=False),
    Column("probes", Integer, nullable=False),
    Column("next_probe", UtcTime, nullable=False),
    # True for the operator's own: never probed, and not ended by work that succeeds.
    Column("held", Boolean, nullable=False),
    CheckConstraint("host = '' OR (dependency = 'origin' AND NOT held)", name="host_is_of_the_origin"),
)
