"""Writing to the queue file: lines are appended under a lock; rotating it loses none."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from archiver.adapters.ownership import give_to_owner_of_folder
from archiver.adapters.queue_file.faults import require_regular

LOCK_TRIES = 100
"""Times that the lock is taken anew because the file was rotated away meanwhile."""


def append(path: str, lines: Sequence[str]) -> None:
    """Append `lines`, each by one write, and return once they are durable; raise OSError."""
    with _locked(path, os.O_CREAT) as handle:
        for line in lines:
            _append_line(handle, line.encode())
        os.fsync(handle)


def rotate(path: str, now: datetime) -> str:
    """Put a new, empty file in the place of the queue file; return the old one's new path. Raises OSError.

    Nothing is lost whatever is appended meanwhile: `append` looks again once it has the lock, and who reads the
    queue file reads the old one to its end first.
    """
    with _locked(path) as handle:
        state = os.fstat(handle)
        old = Path(f"{path}.{now:%Y%m%dT%H%M%S}")
        if old.exists():
            raise FileExistsError(f"{old} exists already")
        Path(path).rename(old)
        fresh = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, state.st_mode & 0o777)
        try:
            os.fchmod(fresh, state.st_mode & 0o777)
            if os.geteuid() == 0:
                os.fchown(fresh, state.st_uid, state.st_gid)
        finally:
            os.close(fresh)
        _sync_folder(old.parent)
    return str(old)


@contextmanager
def _locked(path: str, create: int = 0) -> Iterator[int]:
    """Open the file, and hold its lock while it stands at `path`: who held it before may have rotated it away."""
    for _ in range(LOCK_TRIES):
        handle, created = _open(path, create)
        try:
            require_regular(handle, path)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(path, handle):
                yield handle
                if created:
                    _sync_folder(Path(path).parent)
                return
        finally:
            os.close(handle)
    raise OSError("it is rotated away again and again")


def _open(path: str, create: int) -> tuple[int, bool]:
    flags = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
    if create:
        try:
            handle = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            give_to_owner_of_folder(handle, Path(path).parent)
            return handle, True
    return os.open(path, flags), False


def _is_at(path: str, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))  # noqa: PTH116  of both, by the same call
    except FileNotFoundError:
        return False


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
