"""A backup as a file: it stands under its name once it is whole, and takes no other's place."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from archiver.adapters.ownership import give_to_owner_of_folder
from archiver.core.backup import BackupRefused
from archiver.ports.runtime import Checkpoint, unobserved

_PIECE = 256 * 1024


@contextmanager
def new_file(path: Path, checkpoint: Checkpoint = unobserved) -> Iterator[Callable[[bytes], object]]:
    """Yield what writes the file, 0600, as PATH.part, and give it its name at the end; raise BackupRefused.

    Checkpoints: backup.begun, backup.written, backup.synced, backup.named.
    """
    part = path.with_name(f"{path.name}.part")
    _refuse_existing(path)
    try:
        handle = _open(part)
    except OSError as error:
        raise _unwritable(part, error) from error
    try:
        checkpoint("backup.begun")
        yield partial(_write, handle, part)
        checkpoint("backup.written")
        _finish(handle, part, path, checkpoint)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    finally:
        os.close(handle)


def pieces_of(path: Path) -> Callable[[], Iterable[bytes]]:
    """Return what reads the file from its start each time; raises BackupRefused."""

    def pieces() -> Iterator[bytes]:
        try:
            with path.open("rb") as file:
                yield from iter(lambda: file.read(_PIECE), b"")
        except OSError as error:
            raise BackupRefused(
                f"{path} cannot be read: {error.strerror}", "name a file that a backup wrote"
            ) from error

    return pieces


def _open(part: Path) -> int:
    """Open the file of one who died, or a new one, that nobody else writes; raise OSError."""
    handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _refuse_moved(handle, part)
        os.fchmod(handle, 0o600)
        give_to_owner_of_folder(handle, part.parent)
        os.truncate(handle, 0)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _refuse_moved(handle: int, part: Path) -> None:
    if not os.path.samestat(part.stat(), os.fstat(handle)):
        raise BlockingIOError(errno.EAGAIN, "another process has just written it")


def _write(handle: int, part: Path, data: bytes) -> None:
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(handle, left) :]
    except OSError as error:
        raise _unwritable(part, error) from error


def _finish(handle: int, part: Path, path: Path, checkpoint: Checkpoint) -> None:
    try:
        os.fsync(handle)
        checkpoint("backup.synced")
        _refuse_existing(path)
        part.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _unwritable(path, error) from error
    checkpoint("backup.named")


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise BackupRefused(f"{path} exists", "name a new file: a backup takes no other's place")


def _unwritable(path: Path, error: OSError) -> BackupRefused:
    hint = "name a file in a folder that this user may write to, on a disk with room"
    return BackupRefused(f"{path} cannot be written: {error.strerror}", hint)
