"""The lines of a stream, read in bounded batches into ids and rejects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from archiver.adapters.queue_file.faults import naming_faults
from archiver.core.intake import Cursor, Intake, KindLine, Reject
from archiver.core.model import AccountName, TaskId
from archiver.core.queue_lines import (
    EXPECTED,
    NO_TEXT,
    Named,
    Parsed,
    begins_json,
    doubt_of,
    excerpt_of,
    goes_on,
    has_digit,
    opened,
    parse_entry,
)
from archiver.core.said import UNSAID, Said

JSON_LINES = 1_000
"""Lines of the longest JSON text that is read over several."""


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """The largest line, and the largest batch of lines, that one read holds."""

    line: int = 64 << 10
    """Bytes of the longest line that is read; a longer one is rejected without being held in memory."""
    chunk: int = 1 << 20
    """Bytes after which a batch ends, at the next end of a line."""
    results: int = 5_000
    """Ids and rejects after which a batch ends."""


DEFAULT_SIZE_LIMITS = SizeLimits()


def read_ids(stream: BinaryIO, name: str, *, limits: SizeLimits = DEFAULT_SIZE_LIMITS) -> Iterator[Intake]:
    """Read ids from a file or a pipe to its end, in batches without a cursor.

    `name` stands in rejects, with offsets from where the stream stood. Raises QueueUnreadable.
    """
    entries, offset, line, junk = Entries(stream, limits.line), 0, 1, NO_JUNK
    with naming_faults(name, "read"):
        while True:
            batch = Batch(name, limits, offset, line=line, junk=junk)
            batch.fill(entries, final=True)
            if batch.end == offset:
                return
            offset, line, junk = batch.end, batch.line, batch.junk
            yield batch.intake()


@dataclass(frozen=True, slots=True)
class Junk:
    """Facts about the lines of a file that are no text."""

    rejected: bool = False
    """True once one was rejected."""
    goes_on: bool = False
    """True since the last of them until an id comes: of what stands between some is text by chance."""


NO_JUNK = Junk()
_FURTHER = "More such lines of this file, and what follows them before an id with a digit, are passed over in silence"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line as it stands in the file, its newline included, or the lines of one JSON text."""

    text: bytes
    """The line, or the first part of one that is too long."""
    size: int
    terminated: bool
    too_long: bool = False


class Entries:
    """Reads a stream line by line; a JSON text that a line begins goes on to its end."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._ahead: _Entry | None = None

    def next(self) -> _Entry | None:
        """Return the next entry; None at the end. One that is cut short by the end is not `terminated`."""
        first = self._line()
        if first is None or not first.terminated or first.too_long or not begins_json(first.text):
            return first
        lines, size, left = [first.text], first.size, opened(first.text)
        terminated = True
        while left > 0 and len(lines) < JSON_LINES:
            line = self._line()
            if line is None:
                terminated = False
                break
            if not goes_on(line.text) or size + line.size > self._limit:
                self._ahead = line
                break
            lines.append(line.text)
            size += line.size
            left += opened(line.text)
            terminated = line.terminated
        return _Entry(b"".join(lines), size, terminated)

    def _line(self) -> _Entry | None:
        if (ahead := self._ahead) is not None:
            self._ahead = None
            return ahead
        text = self._stream.readline(self._limit + 1)
        if not text:
            return None
        size, last = len(text), text
        too_long = size > self._limit
        while not last.endswith(b"\n") and (last := self._stream.readline(self._limit + 1)):
            size += len(last)
            too_long = too_long or size > self._limit
        return _Entry(text, size, terminated=last.endswith(b"\n"), too_long=too_long)


class Batch:
    """Lines of a stream, read into ids and rejects until a limit is reached."""

    def __init__(self, name: str, limits: SizeLimits, offset: int, *, line: int = 1, junk: Junk = NO_JUNK) -> None:
        self._name = name
        self._limits = limits
        self._start = offset
        self.end = offset
        """The offset behind the last entry taken."""
        self.complete = offset
        """The offset behind the last entry taken that had its newline."""
        self.unfinished = 0
        """Bytes of a last entry without its end."""
        self.line = line
        """The number of the line at `end`."""
        self.junk = junk
        """The lines that are no text: one reject stands for all of a file."""
        self._ids: list[TaskId] = []
        self._accounts: dict[TaskId, AccountName] = {}
        self._said: dict[TaskId, Said] = {}
        self._kind_lines: list[KindLine] = []
        self._rejects: list[Reject] = []

    def fill(self, entries: Entries, *, final: bool) -> None:
        """Take entries until a limit or the end; an unfinished one only if `final`."""
        while not self._is_full() and (entry := entries.next()) is not None:
            if not entry.terminated:
                self.unfinished = entry.size
                if not final:
                    return
            self._take(entry)
            self.end += entry.size
            self.line += entry.text.count(b"\n") or int(entry.terminated)
            if entry.terminated:
                self.complete = self.end

    def intake(self, *, cursor: Cursor | None = None, restarted: str = "", old: str = "") -> Intake:
        """Return the finds so far."""
        return Intake(
            ids=tuple(self._ids),
            accounts=self._accounts,
            said=self._said,
            kind_lines=tuple(self._kind_lines),
            rejects=tuple(self._rejects),
            cursor=cursor,
            restarted=restarted,
            old=old,
            unfinished=self.unfinished,
        )

    def _is_full(self) -> bool:
        found = len(self._ids) + len(self._rejects)
        return found >= self._limits.results or self.end - self._start >= self._limits.chunk

    def _take(self, entry: _Entry) -> None:
        found = parse_entry(entry.text)
        if entry.too_long:
            too_long = f"longer than {self._limits.line} bytes; {EXPECTED}"
            found = Parsed(fault=NO_TEXT if found.fault == NO_TEXT else too_long)
        if self.junk.goes_on and found.named and not any(map(has_digit, (each.task_id for each in found.named))):
            return
        self._ids += (each.task_id for each in found.named)
        self._accounts |= {each.task_id: each.account for each in found.named if each.account is not None}
        self._note(found.named, entry)
        if found.fault == NO_TEXT:
            if not self.junk.rejected:
                self._reject(entry, f"{NO_TEXT}. {_FURTHER}")
            self.junk = Junk(rejected=True, goes_on=True)
        elif found.fault:
            # Between lines that are no text some are, by chance.
            if not self.junk.goes_on:
                self._reject(entry, found.fault)
        elif found.named:
            self.junk = replace(self.junk, goes_on=False)
            for doubt in filter(None, (doubt_of(each.task_id) for each in found.named)):
                self._reject(entry, doubt)

    def _note(self, found: Iterable[Named], entry: _Entry) -> None:
        """Keep what the line says of its tasks."""
        for named in found:
            if named.said == UNSAID:
                continue
            self._said[named.task_id] = self._said.get(named.task_id, UNSAID).and_then(named.said)
            if (kind := named.said.kind) is not None:
                self._kind_lines.append(KindLine(named.task_id, kind, self._as_reject(entry, "")))

    def _reject(self, entry: _Entry, reason: str) -> None:
        self._rejects.append(self._as_reject(entry, reason))

    def _as_reject(self, entry: _Entry, reason: str) -> Reject:
        return Reject(self._name, self.end, excerpt_of(entry.text), reason, self.line)
