"""The queue file: an append-only inbox of task ids that is never rewritten by us.

One id a line, bare or inside a JSON object, so that an answer of the provider's API can be appended as it
came; a line may name the account of its task. Blank lines and `#` comments are skipped. Any other line becomes a
Reject; no line is ever fatal.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import stat
import string
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from archiver.core.errors import QueueUnreadable
from archiver.core.intake import Cursor, Intake, Reject
from archiver.core.model import ACCOUNT_RULE, TASK_ID_RULE, AccountName, TaskId, account_name, task_id, task_named_in
from archiver.core.text import printable, scrub

HEAD = 1024
"""Bytes at the start of the file that identify it."""

EXPECTED = f"expected a task id ({TASK_ID_RULE}), or a JSON object with taskId"
_NO_ACCOUNT = f"the account it names can be none (expected {ACCOUNT_RULE}); append the line again with the right one"


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


class QueueFile:
    """The queue file at `path`.

    A file is identified by device, inode and its first bytes. A rewrite in place (same inode) goes unnoticed where it
    keeps the first KiB of what was read, leaves a line's end just before the offset, and does not shrink the file.
    Append, or put a new file in its place.

    `name` stands in cursors and rejects, where the path alone could mean several files.
    """

    def __init__(self, path: str, *, name: str | None = None, limits: SizeLimits = DEFAULT_SIZE_LIMITS) -> None:
        self._path = path
        self._name = name or path
        self._limits = limits

    def read(self, cursor: Cursor | None, *, final: bool = False) -> Intake:
        """Read one batch of what was appended since `cursor`; call again until the cursor stops moving.

        A file that was replaced or truncated is read from its start again, which is harmless: an id is accepted once.
        A last line without its newline waits; with `final` it counts as a line, but the cursor stays before it.
        Raises QueueUnreadable.
        """
        with _naming_faults(self._path, "read"), self._opened() as file:
            start, restarted = _where_to_start(file, cursor)
            file.seek(start)
            batch = _Batch(self._name, self._limits, start)
            batch.fill(file, final=final)
            return batch.intake(cursor=_cursor(self._name, file, batch.complete), restarted=restarted)

    def unread(self, cursor: Cursor | None) -> int:
        """Return how many bytes `read` has still to read, including a last line without its newline.

        Raises QueueUnreadable.
        """
        with _naming_faults(self._path, "read"), self._opened() as file:
            start, _ = _where_to_start(file, cursor)
            return os.fstat(file.fileno()).st_size - start

    def append(self, ids: Sequence[TaskId], account: AccountName | None = None) -> None:
        """Append `ids`, each by one write and with the account if one is named, and return once they are durable.

        Creates the file (mode 0600) in an existing folder. Where the last line lacks its newline, it gets
        one first. Raises QueueUnreadable; then a first part of `ids` may have been appended.
        """
        with _naming_faults(self._path, "append to"):
            handle, created = _open_to_append(self._path)
            try:
                _require_regular(handle, self._path)
                fcntl.flock(handle, fcntl.LOCK_EX)
                for each in ids:
                    line = each if account is None else f"{each} account={account}"
                    _append_line(handle, line.encode("ascii"))
                os.fsync(handle)
            finally:
                os.close(handle)
            if created:
                _sync_folder(Path(self._path).parent)

    def _opened(self) -> BinaryIO:
        file = open(self._path, "rb", opener=_open_at_once)  # noqa: SIM115  Path.open has no opener; the caller closes
        try:
            _require_regular(file.fileno(), self._path)
        except BaseException:
            file.close()
            raise
        return file


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def read_ids(stream: BinaryIO, name: str, *, limits: SizeLimits = DEFAULT_SIZE_LIMITS) -> Iterator[Intake]:
    """Read ids from a file or a pipe to its end, in batches without a cursor.

    `name` stands in rejects, with offsets from where the stream stood. Raises QueueUnreadable.
    """
    offset = 0
    with _naming_faults(name, "read"):
        while True:
            batch = _Batch(name, limits, offset)
            batch.fill(stream, final=True)
            if batch.end == offset:
                return
            offset = batch.end
            yield batch.intake()


@dataclass(frozen=True, slots=True)
class _Line:
    """One line as it stands in the file, its newline included."""

    text: bytes
    """The line, or the first part of one that is too long."""
    size: int
    terminated: bool
    too_long: bool


class _Batch:
    """Lines of a stream, read into ids and rejects until a limit is reached."""

    def __init__(self, name: str, limits: SizeLimits, offset: int) -> None:
        self._name = name
        self._limits = limits
        self._start = offset
        self.end = offset
        """The offset behind the last line taken."""
        self.complete = offset
        """The offset behind the last line taken that had its newline."""
        self._ids: list[TaskId] = []
        self._accounts: dict[TaskId, AccountName] = {}
        self._rejects: list[Reject] = []

    def fill(self, stream: BinaryIO, *, final: bool) -> None:
        """Take lines from where `stream` stands until a limit or the end; an unfinished one only if `final`."""
        while not self._is_full() and (line := _next_line(stream, self._limits.line)) is not None:
            if not line.terminated and not final:
                return
            self._take(line)
            self.end += line.size
            if line.terminated:
                self.complete = self.end

    def intake(self, *, cursor: Cursor | None = None, restarted: str = "") -> Intake:
        """Return the finds so far."""
        return Intake(
            ids=tuple(self._ids),
            accounts=self._accounts,
            rejects=tuple(self._rejects),
            cursor=cursor,
            restarted=restarted,
        )

    def _is_full(self) -> bool:
        found = len(self._ids) + len(self._rejects)
        return found >= self._limits.results or self.end - self._start >= self._limits.chunk

    def _take(self, line: _Line) -> None:
        if line.too_long:
            self._reject(line, f"longer than {self._limits.line} bytes; {EXPECTED}")
            return
        try:
            found = parse_line(line.text)
        except ValueError as error:
            self._reject(line, str(error))
        else:
            if found is not None:
                self._ids.append(found.task_id)
                if found.account is not None:
                    self._accounts[found.task_id] = found.account

    def _reject(self, line: _Line, reason: str) -> None:
        excerpt = excerpt_of(line.text)
        self._rejects.append(Reject(path=self._name, offset=self.end, excerpt=excerpt, reason=reason))


def _next_line(stream: BinaryIO, limit: int) -> _Line | None:
    text = stream.readline(limit + 1)
    if not text:
        return None
    size, last = len(text), text
    too_long = size > limit
    while not last.endswith(b"\n") and (last := stream.readline(limit + 1)):
        size += len(last)
        too_long = too_long or size > limit
    return _Line(text, size, terminated=last.endswith(b"\n"), too_long=too_long)


_PADDING = string.whitespace + "\N{ZERO WIDTH NO-BREAK SPACE}\N{NO-BREAK SPACE}"


class Named(NamedTuple):
    """The task, and perhaps the account, that a line names."""

    task_id: TaskId
    account: AccountName | None = None
    """None where the line names no account."""


def parse_line(line: bytes) -> Named | None:
    """Return the id that a line names, with its account if it names one; None for a blank line or a comment.

    Raises ValueError, which names the expectation and quotes nothing of the line.
    """
    try:
        text = line.decode("utf-8").strip(_PADDING)
    except UnicodeDecodeError:
        raise ValueError(f"not UTF-8 text; {EXPECTED}") from None
    if not text or text.startswith("#"):
        return None
    if text.startswith("{"):
        return _named_in_json(text)
    bare, *account = _ACCOUNT.split(_COMMENT.sub("", text), maxsplit=1)
    try:
        found = task_id(bare)
    except ValueError:
        raise ValueError(EXPECTED) from None
    return Named(found, _account(account[0])) if account else Named(found)


_ACCOUNT = re.compile(r"(?<!\s)\s+account=")
_COMMENT = re.compile(r"(?<=\S)\s+#.*", re.DOTALL)


def _named_in_json(text: str) -> Named:
    try:
        top = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"broken JSON; {EXPECTED}") from None
    account = top.get("account")
    return Named(task_named_in(top), None if account is None else _account(account))


def _account(name: object) -> AccountName:
    try:
        return account_name(name)
    except ValueError:
        raise ValueError(_NO_ACCOUNT) from None


_LONG_WORD = re.compile(r"""([^\s"',:{}\[\]]{6})[^\s"',:{}\[\]]{14,}""")


def excerpt_of(line: bytes) -> str:
    """Return at most 200 printable characters of a rejected line.

    Such a line may be a key or a link pasted into the wrong window: URLs lose their query, and long words all but
    their first six characters.
    """
    text = scrub(line[:4096].decode("utf-8", errors="replace").strip(_PADDING))
    text = _LONG_WORD.sub("\\1…", text)
    return printable(text[:200], "\N{REPLACEMENT CHARACTER}")


def _where_to_start(file: BinaryIO, cursor: Cursor | None) -> tuple[int, str]:
    if cursor is None:
        return 0, ""
    state = os.fstat(file.fileno())
    if (state.st_dev, state.st_ino) != (cursor.device, cursor.inode):
        return 0, "replaced"
    if state.st_size < cursor.offset:
        return 0, "truncated"
    if _digest(file, cursor.head_size) != cursor.head or not _is_line_start(file, cursor.offset):
        return 0, "replaced"
    return cursor.offset, ""


def _is_line_start(file: BinaryIO, offset: int) -> bool:
    return offset == 0 or os.pread(file.fileno(), 1, offset - 1) == b"\n"


def _digest(file: BinaryIO, size: int) -> str:
    return hashlib.sha256(os.pread(file.fileno(), size, 0)).hexdigest()


def _cursor(path: str, file: BinaryIO, offset: int) -> Cursor:
    """Identify the file by bytes that were read: a writer may still change those beyond them."""
    state = os.fstat(file.fileno())
    size = min(offset, HEAD)
    return Cursor(
        path=path,
        device=state.st_dev,
        inode=state.st_ino,
        head=_digest(file, size),
        head_size=size,
        offset=offset,
    )


def _open_to_append(path: str) -> tuple[int, bool]:
    flags = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600), True
    except FileExistsError:
        return os.open(path, flags), False


def _append_line(handle: int, text: bytes) -> None:
    size = os.fstat(handle).st_size
    torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
    line = (b"\n" if torn else b"") + text + b"\n"
    if os.write(handle, line) != len(line):
        raise OSError("only part of the line could be written")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _require_regular(handle: int, path: str) -> None:
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise QueueUnreadable(path, "is no regular file", _HINTS[IsADirectoryError])


_HINTS: Mapping[type[OSError], str] = {
    FileNotFoundError: "create it, or set queue.path; `stem-archiver enqueue ID` creates it in an existing folder",
    PermissionError: "let the user that runs stem-archiver read it, and write it for `enqueue`",
    IsADirectoryError: "set queue.path to a plain file",
    NotADirectoryError: "set queue.path to a plain file in an existing folder",
}


@contextmanager
def _naming_faults(path: str, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        hint = _HINTS.get(type(fault), "look at the disk it is on, and at the system's log")
        raise QueueUnreadable(path, f"cannot {verb} it: {fault.strerror or fault}", hint) from fault
