"""A task with all that outlives the processes that work on it: what a ledger and a manifest both hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

from archiver.core.model import DEFAULT_ACCOUNT, AccountName, Stage, StemName, StemRow, TaskId
from archiver.core.reports import Moved
from archiver.core.states import TaskState
from archiver.core.trimming import Trimmed


@dataclass(frozen=True, slots=True)
class WholeTask:
    """A task, its stems and its history, column by column.

    What is left out belongs to processes (leases, pauses, deaths), or tells how to ask next about an open task (asks,
    attempts, urgency, hint, saying). When an operator acknowledged a task is told by no manifest either.
    """

    task_id: TaskId
    state: TaskState
    accepted_at: datetime
    source: str = ""
    account: AccountName = DEFAULT_ACCOUNT
    first_asked_at: datetime | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    deadline: datetime | None = None
    ended_at: datetime | None = None
    not_before: datetime | None = None
    stage: Stage = Stage.LIST
    settled: bool = False
    flag: str = ""
    reason: str = ""
    document: str = ""
    kind: str | None = None
    """A word: a later version may know more of them than this one."""
    title: str = ""
    parent: str | None = None
    track: str | None = None
    stems: tuple[StemRow, ...] = ()
    """By name."""
    history: tuple[Moved, ...] = ()
    tracks: Mapping[str, str] | None = None
    """Titles of the tracks of a music task, by their ids; None is none."""
    trimmed: Trimmed | None = None
    """The remains of its stems and history where they were trimmed: it has none then."""
    untold: frozenset[str] = frozenset()
    """Columns that a manifest of format 1 does not tell: those of the task, `stems.NAME` those of its stems."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A column of which the ledger and the bucket say different things."""

    task_id: TaskId
    column: str
    """A column of the task; that of a stem is `stems.STEM.COLUMN`."""
    ledger: object
    bucket: object


NOTHING: Final = "(nothing)"
"""Said of what one side lacks as a whole."""

_APART: Final = {"task_id", "stems", "tracks", "trimmed", "untold"}
_COLUMNS: Final = tuple(each.name for each in fields(WholeTask) if each.name not in _APART)
_OF_TRIMMED: Final = tuple(each for each in _COLUMNS if each != "history")
_OF_STEMS: Final = tuple(each.name for each in fields(StemRow) if each.name not in {"name", "receipt"})
_SPELLED: Final = {"url": "url_cut", "url_shown": "shown_url"}
OF_RECEIPT: Final = ("key", "size", "sha256", "etag", "content_type", "stored_at", "alias_of")


def differences(ledger: WholeTask, bucket: WholeTask) -> Iterator[Difference]:
    """Yield what the two, which are one task, say differently; what the bucket cannot tell is no difference.

    Of a task that was trimmed the two are held to what is kept of it.
    """
    task, is_trimmed = ledger.task_id, ledger.trimmed is not None
    for column in _COLUMNS if not is_trimmed else _OF_TRIMMED:
        mine, theirs = getattr(ledger, column), getattr(bucket, column)
        if mine != theirs and column not in bucket.untold:
            yield Difference(task, column, mine, theirs)
    if (ledger.tracks or {}) != (bucket.tracks or {}):
        yield Difference(task, "tracks", ledger.tracks, bucket.tracks)
    if not is_trimmed:
        yield from _of_stems(task, ledger.stems, bucket.stems, bucket.untold)
    elif ledger.trimmed != bucket.trimmed:
        yield Difference(task, "trimmed", ledger.trimmed, bucket.trimmed)


def stored_differently(ledger: WholeTask, bucket: WholeTask) -> Iterator[Difference]:
    """Yield what the two say differently of stems that the bucket's manifest has stored: of a task that goes on."""
    saved = tuple(row for row in bucket.stems if row.receipt is not None)
    names = {row.name for row in saved}
    mine = tuple(row for row in ledger.stems if row.name in names)
    yield from _of_stems(ledger.task_id, mine, saved, bucket.untold)


def _of_stems(
    task: TaskId, ledger: Sequence[StemRow], bucket: Sequence[StemRow], untold: frozenset[str]
) -> Iterator[Difference]:
    mine, theirs = _by_name(ledger), _by_name(bucket)
    for name in sorted(mine.keys() | theirs.keys()):
        if name not in mine or name not in theirs:
            sides = [NOTHING if row is None else row.state.value for row in (mine.get(name), theirs.get(name))]
            yield Difference(task, f"stems.{name}", *sides)
            continue
        for column, here in _columns_of(mine[name]).items():
            there = _columns_of(theirs[name])[column]
            if (
                here != there
                and f"stems.{column}" not in untold
                and not _is_put_again(column, mine[name], theirs[name])
            ):
                yield Difference(task, f"stems.{name}.{column}", here, there)


def _is_put_again(column: str, mine: StemRow, theirs: StemRow) -> bool:
    """Return whether the same bytes have another ETag: `verify` notes the new one, and manifests keep the old."""
    receipts = [row.receipt.sha256 for row in (mine, theirs) if row.receipt is not None]
    return column == "etag" and len(receipts) == 2 and receipts[0] == receipts[1]  # noqa: PLR2004 - one of each side


def _by_name(rows: Sequence[StemRow]) -> Mapping[StemName, StemRow]:
    return {row.name: row for row in rows}


def _columns_of(row: StemRow) -> Mapping[str, object]:
    found = {_SPELLED.get(name, name): getattr(row, name) for name in _OF_STEMS}
    found["url_cut"] = row.url is None
    return found | {name: None if row.receipt is None else getattr(row.receipt, name) for name in OF_RECEIPT}
