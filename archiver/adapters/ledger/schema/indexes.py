"""The indexes of `tasks` as they are now; `migrations/` makes them, and a test compares the two.

No statement needs them, and a `postgresql_where` makes SQLAlchemy load all of its PostgreSQL dialects: so they
stand apart from `schema`.
"""

from __future__ import annotations

from sqlalchemy import Index, literal_column

from archiver.adapters.ledger.schema import fixity, standing  # noqa: F401 - its tables are of the same metadata
from archiver.adapters.ledger.schema.faults import OPEN_FAULT, faults
from archiver.adapters.ledger.schema.keys import BEGUN, HAS_DEADLINE, PUT_OFF, SINCE, UNLISTED, UNSTORED, WHY, minute_of
from archiver.adapters.ledger.schema.tables import (
    NOT_ARCHIVED,
    QUARANTINED,
    UNARCHIVED,
    UNTRIMMED,
    metadata,
    rejects,
    stems,
    tasks,
)

__all__ = ["metadata"]

_WAITING = (
    *("stage", "urgency", "task_id", "not_before", "leased_until", "awaited", "deadline", "account", "deaths"),
    "accepted_at",
)
_COUNTED = (tasks.c.acknowledged_at, tasks.c.deaths)
"""Tell whether a task that is at risk needs a person."""

# These serve open tasks only, so a million finished ones cost nothing here.
Index(
    "tasks_waiting",
    *(tasks.c[name] for name in _WAITING),
    sqlite_where=tasks.c.ended_at.is_(None),
    postgresql_where=tasks.c.ended_at.is_(None),
)
Index(
    "tasks_deadline",
    *(tasks.c[name] for name in ("deadline", "task_id", "state", "not_before", "leased_until")),
    *_COUNTED,
    sqlite_where=HAS_DEADLINE,
    postgresql_where=HAS_DEADLINE,
)
Index(
    "tasks_unlisted",
    minute_of(BEGUN),
    BEGUN,
    tasks.c.task_id,
    *_COUNTED,
    sqlite_where=UNLISTED,
    postgresql_where=UNLISTED,
)
Index("tasks_by_why", WHY, SINCE, tasks.c.task_id, sqlite_where=PUT_OFF, postgresql_where=PUT_OFF)
Index(
    "tasks_leased",
    tasks.c.owner,
    sqlite_where=tasks.c.owner.is_not(None),
    postgresql_where=tasks.c.owner.is_not(None),
)
Index(
    "tasks_put_off",
    tasks.c.waits_for,
    sqlite_where=tasks.c.waits_for.is_not(None),
    postgresql_where=tasks.c.waits_for.is_not(None),
)
Index(
    "tasks_quarantined",
    *(tasks.c[name] for name in ("deaths", "urgency", "task_id")),
    sqlite_where=QUARANTINED,
    postgresql_where=QUARANTINED,
)
Index(
    "tasks_by_state",
    *(tasks.c[name] for name in ("state", "ended_at", "task_id")),
    sqlite_where=NOT_ARCHIVED,
    postgresql_where=NOT_ARCHIVED,
)
Index(
    "tasks_by_account",
    *(tasks.c[name] for name in ("account", "accepted_at", "task_id")),
    sqlite_where=tasks.c.account.is_not(None),
    postgresql_where=tasks.c.account.is_not(None),
)
# Their columns are all that their rows are counted by, else SQLite takes another index, and reads each row.
Index(
    "tasks_untrimmed",
    *(tasks.c[name] for name in ("state", "ended_at", "task_id", "folder_digest")),
    sqlite_where=UNTRIMMED,
    postgresql_where=UNTRIMMED,
)
Index("tasks_by_slice", tasks.c.slice)
_SIZED = tasks.c.bytes_stored.is_not(None)
Index(
    "tasks_by_size",
    *(tasks.c[name] for name in ("state", "bytes_stored", "task_id")),
    sqlite_where=_SIZED,
    postgresql_where=_SIZED,
)
Index("tasks_newest", tasks.c.state, tasks.c.accepted_at, tasks.c.task_id)
Index(
    "tasks_unarchived",
    *(tasks.c[name] for name in ("state", "ended_at", "task_id", "acknowledged_at")),
    sqlite_where=UNARCHIVED,
    postgresql_where=UNARCHIVED,
)
for _name in ("parent", "track"):
    _named = tasks.c[_name].is_not(None)
    Index(f"tasks_by_{_name}", tasks.c[_name], sqlite_where=_named, postgresql_where=_named)
_REFUSED = stems.c.state == literal_column("'refused'")
Index("stems_refused", stems.c.task_id, sqlite_where=_REFUSED, postgresql_where=_REFUSED)
Index("stems_unstored", stems.c.task_id, stems.c.state, sqlite_where=UNSTORED, postgresql_where=UNSTORED)
Index("rejects_by_file", rejects.c.path, rejects.c.acknowledged_at, rejects.c.id)
Index(
    "faults_open",
    *(faults.c[name] for name in ("seen", "key", "kind")),
    sqlite_where=OPEN_FAULT,
    postgresql_where=OPEN_FAULT,
)
