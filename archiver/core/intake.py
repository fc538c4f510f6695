"""The nouns of intake: lines of the queue file, and how far it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from archiver.core.model import AccountName, TaskId


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
    """What became of the file of before, where this one is read from its start."""
    unfinished: int = 0
    """Bytes of a last line without its newline."""
    accounts: Mapping[TaskId, AccountName] = field(default_factory=dict)
    """The accounts of those ids that came with one; the last one counts."""
