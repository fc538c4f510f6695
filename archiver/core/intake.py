"""The nouns of intake: lines of the queue file, and how far it was read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from archiver.core.model import AccountName, TaskId
from archiver.core.records.kinds.names import KindName
from archiver.core.said import Said


@dataclass(frozen=True, slots=True)
class Reject:
    """A line of the queue file that is no task id."""

    path: str
    offset: int
    """Bytes from the start of the file."""
    excerpt: str
    """At most 200 printable characters of the line."""
    reason: str
    line: int | None = None
    """The line's number, from 1; None where it is not known."""

    @property
    def place(self) -> str:
        """Where it stands in the file, for people."""
        return f"at byte {self.offset}" if self.line is None else f"line {self.line}"


class KindLine(NamedTuple):
    """A line that names the kind of a task."""

    task_id: TaskId
    kind: KindName
    line: Reject
    """As it would be rejected, but for the reason."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place up to which a queue file has been read, and the identity of that file."""

    path: str
    device: int
    inode: int
    head: str
    """Hex SHA-256 of the first bytes: differs for a replaced file, not for a grown one."""
    head_size: int
    offset: int
    """Bytes read, always at the start of a line."""


@dataclass(frozen=True, slots=True)
class Intake:
    """The finds of one read of a queue file; the ledger takes them in with the cursor, in one transaction."""

    ids: tuple[TaskId, ...] = ()
    rejects: tuple[Reject, ...] = ()
    cursor: Cursor | None = None
    restarted: str = ""
    """The reason for reading the file from its start again (`replaced`, `truncated`), else empty."""
    old: str = ""
    """The fate of the file of before, where this one is read from its start."""
    unfinished: int = 0
    """Bytes of a last line without its newline."""
    accounts: Mapping[TaskId, AccountName] = field(default_factory=dict)
    """The accounts of those ids that came with one; the last one counts."""
    said: Mapping[TaskId, Said] = field(default_factory=dict)
    """Other things said of those ids of which any was; the first kind counts, and the last of all else."""
    kind_lines: tuple[KindLine, ...] = ()
    """All lines that name a kind, in turn."""

    def only(self, ids: Collection[TaskId]) -> Intake:
        """Return this with no other tasks than `ids`, and without a cursor."""
        named = set(ids)
        return Intake(
            ids=tuple(ids),
            rejects=self.rejects,
            accounts={task_id: account for task_id, account in self.accounts.items() if task_id in named},
            said={task_id: said for task_id, said in self.said.items() if task_id in named},
            kind_lines=tuple(line for line in self.kind_lines if line.task_id in named),
        )

    def named_kinds(self) -> Mapping[TaskId, KindName]:
        """Return the kinds of those ids that came with one."""
        return {task_id: said.kind for task_id, said in self.said.items() if said.kind is not None}

    def keeping(self, known: Mapping[TaskId, KindName]) -> Intake:
        """Return this with the kinds that are `known` already, and a reject for each line that names another."""
        first = {**self.named_kinds(), **known}
        others = [
            replace(each.line, reason=other_kind(first[each.task_id]))
            for each in self.kind_lines
            if each.kind is not first[each.task_id]
        ]
        said = {task_id: said._replace(kind=first.get(task_id)) for task_id, said in self.said.items()}
        return replace(self, said=said, rejects=(*self.rejects, *others))


def other_kind(first: KindName) -> str:
    """Return why a line that names another kind than the `first` is told."""
    return (
        f"it names another kind than the one that counts: the task is taken as {first.value} already; "
        "if the provider knows it by no such kind, it ends as missing, and `retry` finds its kind out"
    )
