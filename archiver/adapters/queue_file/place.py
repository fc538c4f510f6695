"""Places in queue files: which file a cursor means, and what became of that file."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from archiver.core.intake import Cursor

HEAD = 1024
"""Bytes at the start of the file, and before the place, that identify it."""

SIBLINGS_MAX = 1_000
"""Files beside the queue file that are looked at for one that was rotated away."""

_ROTATED = re.compile(r"[._-][0-9][0-9T:._-]*")
"""The suffix of a file that was rotated away: a number or a date."""


class Handle:
    """An open file that stays readable when it is renamed or removed; closed with its last reference."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)

    @property
    def state(self) -> os.stat_result:
        """The file's state now."""
        return os.fstat(self.descriptor)

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        state = self.state
        return state.st_dev, state.st_ino


def opened(path: str) -> Handle:
    """Open a file to read, without waiting for the other end of a FIFO; raise OSError."""
    return Handle(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))


def place(name: str, file: Handle, offset: int) -> Cursor:
    """Return the cursor at `offset`; it identifies the file by bytes that were read, for others may still change."""
    device, inode = file.identity
    size = min(offset, HEAD)
    return Cursor(name, device, inode, head=_digest(file, size, offset), head_size=size, offset=offset)


def change(file: Handle, cursor: Cursor) -> str:
    """Return `replaced` or `truncated` where the file is no longer the one that the cursor means, else nothing."""
    if file.identity != (cursor.device, cursor.inode):
        return "replaced"
    if file.state.st_size < cursor.offset:
        return "truncated"
    return "" if holds(file, cursor) else "replaced"


def holds(file: Handle, cursor: Cursor) -> bool:
    """Return whether the file has the bytes that were read up to the cursor: it, or a copy of it."""
    if file.state.st_size < cursor.offset:
        return False
    if cursor.head == _digest(file, cursor.head_size, cursor.offset):
        return True
    # Cursors that 0.1.0 wrote know the file's first bytes alone.
    return cursor.head == _digest(file, cursor.head_size) and _is_line_start(file, cursor.offset)


def _digest(file: Handle, size: int, offset: int = 0) -> str:
    read = os.pread(file.descriptor, size, 0)
    if offset > HEAD:
        read += os.pread(file.descriptor, HEAD, offset - HEAD)
    return hashlib.sha256(read).hexdigest()


def _is_line_start(file: Handle, offset: int) -> bool:
    return offset == 0 or os.pread(file.descriptor, 1, offset - 1) == b"\n"


# ---------------------------------------------------------------------- the file of before


def old_file(path: str, cursor: Cursor, held: Handle | None) -> Handle | None:
    """Return the file that the cursor means, which stands no longer at `path`: renamed, copied or removed.

    `held` is the file that was read last; one that was removed can be read by that alone.
    """
    its = (cursor.device, cursor.inode)
    if held is not None and held.identity == its and holds(held, cursor):
        return held
    copies = []
    for file in _siblings(path):
        if holds(file, cursor):
            if file.identity == its:
                return file
            copies.append(file)
    return max(copies, key=lambda copy: copy.state.st_mtime_ns, default=None) if cursor.offset else None


def following(path: str, old: Handle) -> Handle | None:
    """Return the oldest file that was rotated away after `old`; None where `path` itself comes next."""
    after, current = old.state.st_mtime_ns, _identity_of(path)
    later = [
        file
        for file in _siblings(path, _ROTATED)
        if file.state.st_mtime_ns > after and file.identity not in (old.identity, current)
    ]
    return min(later, key=lambda file: file.state.st_mtime_ns, default=None)


def _identity_of(path: str) -> tuple[int, int] | None:
    with suppress(OSError):
        state = os.stat(path)  # noqa: PTH116  as everywhere here
        return state.st_dev, state.st_ino
    return None


def _siblings(path: str, suffix: re.Pattern[str] | None = None) -> Iterator[Handle]:
    """Yield the plain files beside `path` whose names begin with its name."""
    name = Path(path).name
    with os.scandir(Path(path).parent) as entries:
        rest = [each.name.removeprefix(name) for each in entries if each.name.startswith(name) and each.name != name]
    for each in sorted(rest)[:SIBLINGS_MAX]:
        if suffix is not None and not suffix.fullmatch(each):
            continue
        with suppress(OSError):
            file = opened(path + each)
            if stat.S_ISREG(file.state.st_mode):
                yield file
