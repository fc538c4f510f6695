"""The queue file as it grows, is rotated, replaced and removed.

One id a line, bare or inside JSON, so that an answer of the provider's API can be appended as it came; a line may
say whose and of which kind its task is, and more (archiver.core.queue_lines). Blank lines and `#` comments are
skipped. Any other line becomes a Reject; no line is ever fatal.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from archiver.adapters.queue_file import writing
from archiver.adapters.queue_file.faults import naming_faults, require_regular
from archiver.adapters.queue_file.lines import DEFAULT_SIZE_LIMITS, NO_JUNK, Batch, Entries, Junk, SizeLimits, read_ids
from archiver.adapters.queue_file.place import Handle, change, following, old_file, opened, place
from archiver.core.attention import QueueStanding
from archiver.core.intake import Cursor, Intake
from archiver.core.model import TaskId

_COUNTED = 1 << 20


@dataclass(slots=True)
class _Lines:
    """The place in a file up to which its lines are counted."""

    identity: tuple[int, int]
    offset: int = 0
    number: int = 1
    junk: Junk = NO_JUNK


@dataclass(frozen=True, slots=True)
class _Source:
    """The file that is to be read next, and from where."""

    file: Handle
    start: int = 0
    restarted: str = ""
    old: str = ""
    is_old: bool = False
    """True for a file that stands no longer at the path."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A file that was read, and stays open."""

    file: Handle
    complete: int
    """The offset behind the last line that was read and had its newline."""
    size: int


class QueueFile:
    """The queue file at `path`.

    A file is identified by device, inode and bytes of what was read: the first KiB, and the last. One that was
    rotated away, by renaming, by copying and truncating, or by putting another in its place, is read to its end
    before that; so are those that were rotated after it. It is found by its name, which begins with that of the
    queue file in the same folder; one that was read by this object is found wherever it is, even if removed.

    A rewrite in place that changes only lines before the last KiB read goes unnoticed. `name` stands in cursors and
    rejects, where the path alone could mean several files. Not for several threads.
    """

    def __init__(self, path: str, *, name: str | None = None, limits: SizeLimits = DEFAULT_SIZE_LIMITS) -> None:
        self._path = path
        self._name = name or path
        self._limits = limits
        self._held: _Held | None = None
        """The file that was read last."""
        self._late: _Held | None = None
        """The file of before it: somebody may still have it open to append."""
        self._lines: _Lines | None = None

    def read(self, cursor: Cursor | None, *, final: bool = False) -> Intake:
        """Read one batch of what was appended since `cursor`; call again until the cursor stops moving.

        A file in which the place of the cursor is not found is read from its start, which is harmless: an id is
        accepted once. A last line without its newline waits; with `final` it counts as a line, but the cursor stays
        before it. That of a file that was rotated away counts at once. Raises QueueUnreadable.
        """
        with naming_faults(self._path, "read"):
            source = self._source(cursor)
            batch = self._batch(source.file, source.start, final=final or source.is_old)
            self._hold(source.file, batch.complete)
            end = batch.end if source.is_old else batch.complete
            found = batch.intake(cursor=place(self._name, source.file, end), restarted=source.restarted, old=source.old)
            return found if found.cursor != cursor or found.ids else self._late_lines(found)

    def stamp(self) -> object:
        """Return what differs from before once something was appended: place, size and time of the file, or nothing."""
        try:
            state = Path(self._path).stat()
        except OSError:
            return None
        return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns

    def standing(self, cursor: Cursor | None) -> QueueStanding:
        """Return how many bytes and lines `read` has still to read, an unterminated last line included.

        Raises QueueUnreadable.
        """
        with naming_faults(self._path, "read"):
            source = self._source(cursor)
            bytes_, lines, rest = _unread(source.file, source.start)
            current = source.file
            if source.is_old:
                with suppress(FileNotFoundError):
                    current = opened(self._path)
                    further = _unread(current, 0)
                    bytes_, lines, rest = bytes_ + further[0], lines + further[1], further[2]
            appended_at = datetime.fromtimestamp(current.state.st_mtime, UTC)
            return QueueStanding(self._path, bytes_, lines, rest, appended_at)

    def holds(self, ids: Collection[TaskId]) -> Collection[TaskId]:
        """Return those ids that stand in the file's last MiB, read or not; none where there is none.

        Raises QueueUnreadable.
        """
        with naming_faults(self._path, "read"):
            try:
                file = opened(self._path)
            except FileNotFoundError:
                return ()
            require_regular(file.descriptor, self._path)
            start = max(0, file.state.st_size - _COUNTED)
            with _stream(file, start) as stream:
                batches = list(read_ids(stream, self._name))
        there = {each for batch in batches for each in batch.ids}
        return [each for each in ids if each in there]

    def append(self, lines: Sequence[str]) -> None:
        """Append `lines`, each an id or what core.said.line_of makes of one; return once they are durable.

        Creates the file (mode 0600, made by root it is the folder's owner's) in an existing folder. Where the last
        line lacks its newline, it gets one first. Raises QueueUnreadable; then a first part of them may have been
        appended.
        """
        with naming_faults(self._path, "append to"):
            writing.append(self._path, lines)

    def rotate(self, now: datetime) -> str:
        """Put a new, empty file in its place; return the old one's new path. Raises QueueUnreadable."""
        with naming_faults(self._path, "rotate"):
            return writing.rotate(self._path, now)

    # --- which file

    def _source(self, cursor: Cursor | None) -> _Source:
        try:
            current = opened(self._path)
            require_regular(current.descriptor, self._path)
        except FileNotFoundError:
            if cursor is None or (source := self._old_source(cursor)) is None:
                raise
            return source
        if cursor is None:
            return _Source(current)
        if not (changed := change(current, cursor)):
            return _Source(current, cursor.offset)
        if (source := self._old_source(cursor)) is not None:
            return source
        found = old_file(self._path, cursor, self._held_file) is not None
        old = "read to its end" if found else f"not found: unknown is what stood in it after byte {cursor.offset}"
        return _Source(current, restarted=changed, old=old)

    def _old_source(self, cursor: Cursor) -> _Source | None:
        """Return what is still unread in the file of before, and in those that were rotated away after it."""
        old, start = old_file(self._path, cursor, self._held_file), cursor.offset
        while old is not None and old.state.st_size <= start:
            old, start = following(self._path, old), 0
        return None if old is None else _Source(old, start, is_old=True)

    @property
    def _held_file(self) -> Handle | None:
        return None if self._held is None else self._held.file

    def _hold(self, file: Handle, complete: int) -> None:
        if self._held is not None and self._held.file.identity != file.identity:
            self._late = self._held
        self._held = _Held(file, complete, file.state.st_size)

    # --- its lines

    def _batch(self, file: Handle, start: int, *, final: bool) -> Batch:
        lines = self._lines_at(file, start)
        batch = Batch(self._name, self._limits, start, line=lines.number, junk=lines.junk)
        with _stream(file, start) as stream:
            batch.fill(Entries(stream, self._limits.line), final=final)
        self._lines = _Lines(file.identity, batch.end, batch.line, batch.junk)
        return batch

    def _lines_at(self, file: Handle, start: int) -> _Lines:
        """Return the number of the line at `start`, counted on from where they were counted before."""
        known = self._lines
        if known is None or known.identity != file.identity or known.offset > start:
            known = _Lines(file.identity)
        offset, number = known.offset, known.number
        while offset < start and (read := os.pread(file.descriptor, min(_COUNTED, start - offset), offset)):
            offset += len(read)
            number += read.count(b"\n")
        return _Lines(file.identity, offset, number, known.junk)

    def _late_lines(self, found: Intake) -> Intake:
        """Add to `found`, which has nothing new, what was appended to the file of before it since."""
        late = self._late
        if late is None or (size := late.file.state.st_size) <= late.size:
            return found
        batch = self._batch(late.file, late.complete, final=False)
        self._late = replace(late, complete=batch.complete, size=late.size if batch.complete > late.complete else size)
        return replace(
            batch.intake(cursor=found.cursor), restarted=found.restarted, old=found.old, unfinished=found.unfinished
        )


def _stream(file: Handle, start: int) -> BinaryIO:
    stream = os.fdopen(os.dup(file.descriptor), "rb")
    stream.seek(start)
    return stream


def _unread(file: Handle, start: int) -> tuple[int, int, int]:
    """Return the bytes and lines from `start` on, and the bytes of a last line without its newline."""
    offset, lines, rest = start, 0, 0
    while read := os.pread(file.descriptor, _COUNTED, offset):
        offset += len(read)
        ends = read.count(b"\n")
        lines += ends
        rest = len(read) - read.rindex(b"\n") - 1 if ends else rest + len(read)
    return offset - start, lines + bool(rest), rest
